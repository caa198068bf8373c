"""Twenty gap thicknesses found twice, with two unbiased gradient estimators: docs/gallery/branching_calorimeter.md.

python scripts/gallery/branching_calorimeter.py [--steps 100] [--seeds 4] [--output docs/gallery]

Runs every estimator with every seed from the same start (about a quarter of an hour on one core; a run that is in
OUTPUT/branching_calorimeter.json already is not repeated), simulates the designs found with fresh seeds, and writes
figure and page.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from scipy.stats import f as f_distribution

from mode_opt.cli.build import detector_of
from mode_opt.cli.compose import composed
from mode_opt.experiment import Alternation, Detector, Effort, Experiment
from mode_opt.experiment.alternation import Optimisers
from mode_opt.gradients import GradientEstimator, LineageCredit, ScoreFunction
from mode_opt.objectives.uncertainty import jackknife
from mode_opt.simulation import stream

matplotlib.use("Agg")

ESTIMATORS: dict[str, GradientEstimator] = {"score_function": ScoreFunction(), "lineage_credit": LineageCredit()}
NAME, PARAMETER, EVENTS, FRESH = "branching_calorimeter", "gap_thickness", 256, 8192
COLOURS = {"score_function": "#0072B2", "lineage_credit": "#D55E00"}


def calorimeter() -> Detector:
    """The detector, as ``mode-opt optimise detector=branching_shower_uniform`` has it."""
    return detector_of(composed(["detector=branching_shower_uniform"]))


def optimised(estimator: GradientEstimator, seed: int, steps: int) -> dict[str, Any]:
    """One optimisation with Adam: thicknesses found, and the objective of every step."""
    experiment = Experiment.of(calorimeter(), gradient=estimator)
    alternation = Alternation(experiment, Effort(events=EVENTS), seed)
    networks = torch.optim.Adam(experiment.reconstruction.parameters(), lr=1e-3)
    optimisers = Optimisers(networks, torch.optim.Adam([experiment.design.psi], lr=0.1))
    records = [alternation.step(optimisers) for _ in range(steps)]
    return {
        "thickness": alternation.design[PARAMETER][0].tolist(),
        "objective": [record.objective.value for record in records],
        "calls": [record.columns["simulator_calls"] for record in records],
    }


def measured(thickness: list[float]) -> dict[str, Any]:
    """Objective with its error, and mean signal of each layer, on fresh events (the same primaries for all)."""
    experiment = Experiment.of(calorimeter())
    experiment.design.assign({PARAMETER: thickness})
    phi = experiment.design().detach()
    events = experiment.simulate(phi, FRESH, stream("cpu", 1, "fresh"))
    estimate = jackknife(experiment.objective, events, experiment.reconstruction(events, phi), phi).estimate()
    return {"objective": estimate.as_dict(), "signal": events.hits[0, :, :, 0].mean(0).tolist()}


def agreement(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Rms relative difference of the means, what the scatter over seeds lets expect, and the p-value.

    The statistic ``Σ_j Δ_j² / Σ_j (s_j² + s'_j²)/n`` of the logarithms follows about an F law with 20 and
    40 (n − 1) degrees of freedom if the two estimators find the same design.
    """
    a, b = np.log(first), np.log(second)
    difference = ((a.mean(0) - b.mean(0)) ** 2).mean()
    expected = ((a.var(0, ddof=1) + b.var(0, ddof=1)) / len(a)).mean()
    freedom = a.shape[1]
    chance = f_distribution.sf(difference / expected, freedom, 2 * freedom * (len(a) - 1))
    return float(difference**0.5), float(expected**0.5), float(chance)


def draw(found: dict[str, Any], path: Path) -> None:
    """Thicknesses, signals and the way there."""
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12.5, 3.8), layout="constrained")
    start, layers = found["start"], np.arange(1, len(found["start"]["thickness"]) + 1)
    left.step(layers, start["thickness"], where="mid", color="0.5", linestyle="--", label="start")
    middle.step(layers, start["signal"], where="mid", color="0.5", linestyle="--", label="start")
    for shift, name in ((-0.15, "score_function"), (0.15, "lineage_credit")):
        runs = list(found["runs"][name].values())
        thickness = np.array([run["thickness"] for run in runs])
        error = thickness.std(0, ddof=1) / len(runs) ** 0.5
        style = {"color": COLOURS[name], "fmt": "o", "markersize": 3.5, "label": name.replace("_", " ")}
        left.errorbar(layers + shift, thickness.mean(0), error, **style)
        middle.errorbar(layers + shift, found["final"][name]["signal"], **style)
        curves = np.array([run["objective"] for run in runs])
        calls = np.array(runs[0]["calls"]) / 1000
        right.plot(calls, np.median(curves, 0), color=COLOURS[name], label=name.replace("_", " "))
        right.fill_between(calls, curves.min(0), curves.max(0), color=COLOURS[name], alpha=0.2, linewidth=0)
    middle.axhline(2.0, color="k", linewidth=0.8, label="target")
    middle.set_ylim(bottom=0)
    left.set(xlabel="layer", ylabel="gap thickness (mm)", title=f"mean of {len(runs)} seeds, standard errors")
    middle.set(xlabel="layer", ylabel="mean signal (MeV)", title=f"{FRESH} fresh events")
    right.set(xlabel="simulated events (thousands)", ylabel="objective of a step", yscale="log", title="range of seeds")
    for axes in (left, middle, right):
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def page(found: dict[str, Any], arguments: argparse.Namespace) -> str:
    """The page in Markdown."""
    thickness = {name: np.array([run["thickness"] for run in runs.values()]) for name, runs in found["runs"].items()}
    difference, expected, chance = agreement(*(thickness[name] for name in ESTIMATORS))
    rows = [("start", found["start"]["objective"], 0.0)]
    for name in ESTIMATORS:
        scatter = float(np.log(thickness[name]).std(0, ddof=1).mean())
        rows.append((f"`{name}`", found["final"][name]["objective"], scatter))
    table = "\n".join(
        f"| {name} | {value['value']:.5f} ± {value['standard_error']:.5f} | "
        f"{'' if scatter == 0 else f'{100 * scatter:.1f} %'} |"
        for name, value, scatter in rows
    )
    return f"""# Twenty layers that see the same

Electrons of 150 to 250 MeV enter twenty layers of 2.5 mm lead tungstate and liquid argon; showers branch particle by
particle ([branching_shower](../../detectors/branching_shower/README.md)). Which twenty gap thicknesses give the same
mean signal, 2 MeV, in every layer? The objective is `⟨(signal/target − 1)²⟩` over the layers. No derivative passes the
simulator as such: it draws integers. Two unbiased estimators find the answer: the score function with its whole-event
weights, and credit along lineages.

![Thickness, signal, objective](branching_calorimeter.png)

| design | objective on {FRESH} fresh events | scatter of a thickness over seeds |
|---|---|---|
{table}

The mean designs of {arguments.seeds} seeds each differ by {100 * difference:.2f} % (rms over the 20 thicknesses); their
scatter lets expect {100 * expected:.2f} %, p = {chance:.2f}. {arguments.steps} steps of Adam with {EVENTS} events each,
design averaged over the last steps.

Reproduce with `python scripts/gallery/branching_calorimeter.py`, or see one run with its report:
`mode-opt optimise detector=branching_shower_uniform gradient=lineage_credit effort.events=256 budget.steps=100`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[2] / "docs" / "gallery")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    store = arguments.output / f"{NAME}.json"
    found: dict[str, Any] = json.loads(store.read_text()) if store.exists() else {"runs": {}}
    for name, estimator in ESTIMATORS.items():
        runs = found["runs"].setdefault(name, {})
        for seed in range(arguments.seeds):
            if len(runs.get(str(seed), {}).get("objective", [])) != arguments.steps:
                print(f"{name}, seed {seed} ...", flush=True)
                runs[str(seed)] = optimised(estimator, seed, arguments.steps)
                store.write_text(json.dumps(found))
    start = calorimeter().design()[PARAMETER][0].tolist()
    found["start"] = {"thickness": start, **measured(start)}
    means = {name: np.mean([run["thickness"] for run in runs.values()], 0) for name, runs in found["runs"].items()}
    found["final"] = {name: measured(mean.tolist()) for name, mean in means.items()}
    store.write_text(json.dumps(found))
    draw(found, arguments.output / f"{NAME}.png")
    text = page(found, arguments)
    (arguments.output / f"{NAME}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
