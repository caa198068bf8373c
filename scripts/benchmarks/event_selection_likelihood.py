"""Cuts against networks by a likelihood with systematic uncertainties; writes likelihood.md and .png, and a table.

Everything is found on the training half of the showers of ``detectors/event_selection`` and measured on the held-out
half with hard cuts and hard bins; errors and paired differences are from the jackknife.

    python scripts/benchmarks/event_selection_likelihood.py [--steps 100] [--seeds 3] [--output FOLDER]
"""

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from mode_opt.cli import main as command
from mode_opt.cli.compose import composed
from mode_opt.detectors.event_selection import event_selection
from mode_opt.detectors.event_selection.detector import configured
from mode_opt.detectors.event_selection.figures import Selection, behind, counted, figures, objectives
from mode_opt.detectors.event_selection.likelihood import score_of
from mode_opt.detectors.event_selection.measure import objective_of, recorded
from mode_opt.detectors.event_selection.scan import least_limit, scan
from mode_opt.detectors.event_selection.training import Trained, fit_bins, trained
from mode_opt.experiment import Effort, Experiment, Goal, Replicas, VerificationEffort, optimise
from mode_opt.objectives import discovery_significance
from mode_opt.reconstruction import PriorBelief

FOLDER = Path(str(files("mode_opt.detectors.event_selection")))
MARKS = ("<!-- likelihood -->", "<!-- end of likelihood -->")
"""Between these the README holds the table."""
CUTS = ("start", "depth", "width", "front")
REFERENCE = "network, cross-entropy"
UNMEASURED = VerificationEffort(steps=0, replicas=1, events=8000)
GOALS: dict[str, Goal] = {"cross-entropy": "truth", "limit": "objective"}


@dataclass(frozen=True, eq=False)
class Row:
    """One selection, measured on both halves."""

    name: str
    training: Mapping[str, Replicas]
    held_out: Mapping[str, Replicas]
    values: Mapping[str, Any]
    seconds: float


def changes_of(name: str, *overrides: str) -> dict[str, Any]:
    """The entries of a configuration of the detector."""
    found: Any = OmegaConf.to_container(composed([f"detector={name}", *overrides]).detector, resolve=True)
    del found["_target_"]
    return dict(found)


def values_of(design: Any) -> dict[str, Any]:
    return {name: entry["value"] for name, entry in design.concrete().items()}


def measured(name: str, selection: Selection, begin: float) -> Row:
    seconds = time.perf_counter() - begin
    both = [figures(selection, sample) for sample in ("training", "held_out")]
    row = Row(name, *both, selection.values, seconds)
    print(shown(row, None), flush=True)
    return row


def by_gradient(name: str, figure: str, steps: int) -> Row:
    """Cuts alone, by the score function."""
    begin, changes = time.perf_counter(), changes_of("event_selection", f"detector.figure={figure}")
    outcome = optimise(
        Experiment.of(event_selection(**changes)),
        steps=steps,
        effort=Effort(events=8000, warm_up=0, reconstruction_steps=0),
        verification=UNMEASURED,
    )
    found = {name: entry["value"] for name, entry in outcome.final.items()}
    return measured(name, Selection(changes, found), begin)


def by_scan(name: str, figure: Any, systematic: bool) -> Row:
    begin, detector = time.perf_counter(), event_selection()
    cuts = detector.simulator("hard").cuts
    found = scan(objective_of(detector), recorded(detector), cuts, 30, figure=figure, systematic=systematic)
    return measured(name, Selection({}, found.thresholds), begin)


def frozen(changes: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with cuts that stay where they are, and the bins where they start."""
    made = copy.deepcopy(dict(changes))
    for name, specification in made["design"]["parameters"].items():
        if name in values:
            specification |= {"start": values[name], "free": name not in CUTS}
    return made


def schooled(changes: Mapping[str, Any], goal: Goal, seed: int = 0) -> tuple[Selection, Trained]:
    """A network behind cuts that stay, and the bins that suit it."""
    detector = event_selection(**changes)
    found = trained(detector, goal, seed)
    fit_bins(detector, found.network)
    return Selection(changes, values_of(detector.design), found.network), found


def together(goal: Goal, steps: int) -> dict[str, Any]:
    """Design values of a trigger that is optimised with the network behind it, by the command line.

    Edges are moved with a network that is trained for the truth; one that is trained for the limit adapts to them.
    """
    words = ["detector=event_selection_network", "experiment=event_selection_network", f"reconstruction_goal={goal}"]
    if goal == "objective":
        words += [f"detector.design.parameters.{name}.free=false" for name in ("edge", "steps")]
    cheap = ["verification.steps=1", "verification.replicas=1", "gradient_check=off", "quiet=true"]
    with tempfile.TemporaryDirectory() as folder:
        rest = [f"budget.steps={steps}", "effort.warm_up=100", f"hydra.run.dir={folder}/run"]
        if command(["optimise", *words, *cheap, *rest]):
            raise SystemExit("the optimisation failed")
        result = json.loads((Path(folder) / "run" / "result.json").read_text())
    return {name: entry["final"] for name, entry in result["design"].items()}


def one_cut(selection: Selection, begin: float) -> Row:
    """A single cut on the network's output, by the limit on the training half."""
    settings, detector = configured(**selection.changes), selection.detector("training")
    with torch.no_grad():
        scores = score_of(selection.network(recorded(detector), selection.point())).flatten()  # type: ignore[misc]
    tried = torch.quantile(scores, torch.linspace(0.6, 0.9, 31))
    limit, phi = objectives(settings, None)["limit"], selection.point()
    limits = []
    for threshold in tried.tolist():
        events = behind(selection, "training", threshold)
        limits.append(float(limit(events, PriorBelief.fitting(events, phi)(events, phi), phi)))
    best = float(tried[torch.tensor(limits).argmin()])
    both = [counted(settings, behind(selection, sample, best)) for sample in ("training", "held_out")]
    row = Row("network, cross-entropy, one cut", *both, {"threshold": best}, time.perf_counter() - begin)
    print(shown(row, None), flush=True)
    return row


def value(replicas: Replicas, sign: float = 1.0, digits: int = 3) -> str:
    estimate = replicas.estimate()
    return f"{sign * estimate.value:.{digits}f} ± {estimate.standard_error:.{digits}f}"


def shown(row: Row, reference: Row | None) -> str:
    """A row of the table."""
    held, difference = row.held_out, ""
    if reference is not None and reference is not row:
        difference = value(held["limit"] - reference.held_out["limit"])
        difference = difference if difference.startswith("-") else f"+{difference}"
    cells = [row.name, value(held["plain"], -1, 1), value(held["discovery"], -1, 1)]
    cells += [f"{float(row.training['limit'].value):.3f}", value(held["limit"]), difference]
    cells += [value(held["strength"]), f"{float(held['accepted'].value):.0f}"]
    return f"| {' | '.join(cells)} |"


def table(rows: list[Row]) -> str:
    heads = ["selection", "Z without uncertainties", "Z with", "limit, training half", "limit, held-out half",
             f"minus {REFERENCE}", "σ(μ)", "events accepted"]  # fmt: skip
    reference = next(row for row in rows if row.name == REFERENCE)
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *(shown(row, reference) for row in rows)])


def designs(rows: list[Row]) -> str:
    """What was found."""
    lines = ["| selection | design | seconds |", "|---|---|---|"]
    for row in rows:
        cells = []
        for name, found in row.values.items():
            numbers = found if isinstance(found, list) else [found]
            if name not in CUTS or abs(numbers[0]) < 100:
                cells.append(f"{name} {', '.join(f'{number:.3g}' for number in numbers)}")
        lines.append(f"| {row.name} | {'; '.join(cells)} | {row.seconds:.0f} |")
    return "\n".join(lines)


def scatter(limits: Mapping[str, list[float]]) -> str:
    lines = ["| network trained for | limits on the held-out half | mean |", "|---|---|---|"]
    for name, found in limits.items():
        mean = sum(found) / len(found)
        lines.append(f"| {name} | {', '.join(f'{one:.3f}' for one in found)} | {mean:.3f} |")
    return "\n".join(lines)


def page(rows: list[Row], limits: Mapping[str, list[float]], schools: Mapping[str, Trained], seeds: int) -> str:
    settings = configured()
    ends = "; ".join(
        f"{name}: step {found.step} of {found.curve[-1][0]}, "
        f"{_at(found)[1]:.4f} for what it learns from, {_at(found)[2]:.4f} for the rest"
        for name, found in schools.items()
    )
    return f"""# Cuts and networks by a likelihood with uncertainties

Written by `python scripts/benchmarks/event_selection_likelihood.py`. {settings["signal"]:g} photons over
{settings["background"]:g} electrons before any selection. Uncertainties: {settings["uncertainty"]:.0%} of the
electrons, a response that is tilted along the depth by ±{settings["tilt"]:.0%} (which goes through observables, cuts
and network), ±{settings["spectral_index"]:g} in the spectral index of the electrons, and the number of recorded
showers. Designs and networks were found on the training half (8000 showers); all columns but one are the held-out half,
with hard cuts and hard bins; errors and paired differences from the delete-a-group jackknife over its showers.

{table(rows)}

The limit is the signal strength that is expected to be excluded at 95 % (CLs) if there is none; smaller is better.
Rows of cuts count the events behind them; networks are histograms in five bins of the output, whose lowest bins measure
the background, unless one cut is said. "10 % alone": found with no other uncertainty than that of the electrons. The
trigger is thresholds that accept at most 300 events; "together": optimised with the network behind it (100 steps of
`mode-opt optimise`), after which a network is trained anew for these thresholds as for the other rows.

![Output of the network, limits of the rows, and training](likelihood.png)

## Seeds

{seeds} trainings of each kind, without cuts in front, bins fitted to each:

{scatter(limits)}

## Training

A quarter of the training half decides when to stop (losses at that step: {ends}).

## Designs

{designs(rows)}
"""


def _at(found: Trained) -> tuple[int, float, float]:
    return next(entry for entry in found.curve if entry[0] == found.step)


def draw(rows: list[Row], selection: Selection, schools: Mapping[str, Trained], path: Path) -> None:
    """Output of the cross-entropy network, the table as points, and the curves of training."""
    import numpy as np

    from mode_opt.report.style import SERIES, new_figure

    figure = new_figure(height=7.4, width=9.6)
    grid = figure.add_gridspec(2, 2, height_ratios=(1.0, 1.1))
    output, curves, points = (figure.add_subplot(part) for part in (grid[0, 0], grid[0, 1], grid[1, :]))
    detector = selection.detector("held_out")
    with torch.no_grad():
        scores = score_of(selection.network(recorded(detector), selection.point()))[0, :, 0]  # type: ignore[misc]
    photon = recorded(detector).truth[0, :, 0] > 0.5
    for member, name, look in ((photon, "photons", SERIES[0]), (~photon, "electrons", SERIES[1])):
        output.hist(scores[member].clamp(-4, 8).numpy(), np.linspace(-4, 8, 61), histtype="step",
                    color=look.colour, linestyle=look.line, label=name)  # fmt: skip
    edge = selection.values["edge"]
    for k, place in enumerate([edge, *(edge + torch.tensor(selection.values["steps"]).cumsum(0)).tolist()]):
        output.axvline(place, color="0.3", linewidth=0.8, linestyle=":", label="edges found" if k == 0 else None)
    output.set(
        xlabel="logit of the probability of a photon (last bin: and above)",
        ylabel="held-out showers per bin",
        yscale="log",
    )
    output.legend(frameon=False, fontsize=8)
    for look, (name, found) in zip((SERIES[0], SERIES[1]), schools.items(), strict=True):
        first = found.curve[0]
        steps = [entry[0] / found.curve[-1][0] for entry in found.curve]
        for column, style, which in ((1, "-", "learnt from"), (2, ":", "kept aside")):
            losses = [entry[column] / first[column] for entry in found.curve]
            curves.plot(steps, losses, color=look.colour, linestyle=style, label=f"{name}, {which}")
    curves.set(xlabel="part of the training", ylabel="loss / loss at the first look", yscale="log")
    curves.legend(frameon=False, fontsize=8)
    for index, row in enumerate(rows):
        height, estimate = len(rows) - index, row.held_out["limit"].estimate()
        points.errorbar(estimate.value, height, xerr=estimate.standard_error, **SERIES[0].points(),
                        label="held-out half" if index == 0 else None)  # fmt: skip
        points.plot(float(row.training["limit"].value), height, linestyle="", color=SERIES[1].colour,
                    marker=SERIES[1].marker, fillstyle="none",
                    label="training half" if index == 0 else None)  # fmt: skip
    points.set_yticks([len(rows) - k for k in range(len(rows))], [row.name for row in rows], fontsize=8)
    points.set(xlabel="expected upper limit on the signal strength", ylim=(0.3, len(rows) + 0.7), xlim=(0, None))
    points.legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = [
        by_gradient("cuts for Z, 10 % alone", "significance", options.steps),
        by_gradient("cuts for Z", "discovery", options.steps),
        by_gradient("cuts for the limit", "limit", options.steps),
        by_scan("scan for Z, 10 % alone", discovery_significance, False),
        by_scan("scan for the limit", least_limit, True),
    ]
    behind_best = rows[2].values
    limits: dict[str, list[float]] = {}
    schools: dict[str, Trained] = {}
    shown_selection = None
    for inputs in ("observables", "shares"):
        for word, goal in list(GOALS.items())[: 1 if inputs == "observables" else 2]:
            changes = changes_of("event_selection_bins", f"detector.network.inputs={inputs}")
            name = f"network, {word}" + (" (observables)" if inputs == "observables" else "")
            begin = time.perf_counter()
            selection, school = schooled(changes, goal)
            rows.append(measured(name, selection, begin))
            if inputs == "shares":
                schools[word], limits[word] = school, [float(rows[-1].held_out["limit"].value)]
                for seed in range(1, options.seeds):
                    again, _ = schooled(changes, goal, seed)
                    limits[word].append(float(figures(again, "held_out")["limit"].value))
                if goal == "truth":
                    shown_selection = selection
                    rows.append(one_cut(selection, time.perf_counter()))
    network = changes_of("event_selection_network")
    begin = time.perf_counter()
    selection, _ = schooled(frozen(network, behind_best), "truth")
    rows.append(measured("cuts for the limit, then a network", selection, begin))
    for word, goal in GOALS.items():
        begin = time.perf_counter()
        selection, _ = schooled(frozen(network, together(goal, options.steps)), goal)
        rows.append(measured(f"trigger and network together, {word}", selection, begin))
    assert shown_selection is not None
    options.output.mkdir(parents=True, exist_ok=True)
    draw(rows, shown_selection, schools, options.output / "likelihood.png")
    (options.output / "likelihood.md").write_text(page(rows, limits, schools, options.seeds))
    readme = options.output / "README.md"
    if readme.exists() and MARKS[0] in readme.read_text():
        head, _, tail = readme.read_text().partition(MARKS[0])
        end = tail.partition(MARKS[1])[2]
        readme.write_text(f"{head}{MARKS[0]}\n{table(rows)}\n{MARKS[1]}{end}")
    print(page(rows, limits, schools, options.seeds))


if __name__ == "__main__":
    main()
