"""Cuts by gradients against cuts by brute force; writes comparison.md and .png, and the table in the README.

Optimises the thresholds of ``detectors/event_selection`` on the training half with score function, straight-through
and soft cuts, scans all combinations of thresholds by brute force on the same half, and measures every set of hard
cuts on the held-out half, with the bootstrap (the same resampled showers for all).

    python scripts/benchmarks/event_selection.py [--steps 250] [--output FOLDER]
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mode_opt.detectors.event_selection import event_selection
from mode_opt.detectors.event_selection.measure import hard, objective_of, promised, recorded, resampled, significance
from mode_opt.detectors.event_selection.scan import scan
from mode_opt.detectors.event_selection.uproot_cut import uproot_cut
from mode_opt.experiment import Detector, Effort, Experiment, VerificationEffort, optimise
from mode_opt.gradients import GradientEstimator, ScoreFunction
from mode_opt.gradients.relaxed import Relaxed
from mode_opt.gradients.straight_through import StraightThrough
from mode_opt.simulation import stream

FOLDER = Path(str(files("mode_opt.detectors.event_selection")))
EVENTS = 8000
NARROW, WIDE = 0.5, 4.0
"""Factors of the noise of the configuration: its default, and about one standard deviation of each observable."""
WAYS: Mapping[str, tuple[float, GradientEstimator]] = {
    "score function": (NARROW, ScoreFunction()),
    "straight-through": (NARROW, StraightThrough()),
    "soft cuts": (NARROW, Relaxed(noise=False)),
    "soft cuts, wide": (WIDE, Relaxed(noise=False)),
}
FIRST_GAP: dict[str, Any] = {
    "cuts": {
        "start": None,
        "depth": None,
        "width": None,
        "front": None,
        "first": {"observable": "layer", "keep": "below"},
    },
    "design": {"parameters": {"first": {"start": 0.5, "bounds": [0.0, 5.0]}}},
}
MARKS = ("<!-- results -->", "<!-- end of results -->")
"""Between these the README holds the table."""


@dataclass(frozen=True)
class Row:
    """One set of thresholds, measured."""

    name: str
    thresholds: Mapping[str, float]
    promise: float | None
    training: float
    held_out: float
    samples: Tensor
    yields: tuple[float, float]


def row(name: str, thresholds: Mapping[str, float], promise: float | None, **changes: Any) -> Row:
    """Hard cuts on both halves; ``samples`` are bootstrap values of Z on the held-out half."""
    halves = [event_selection(sample=sample, **changes) for sample in ("training", "held_out")]
    events = [hard(half, thresholds) for half in halves]
    objective = objective_of(halves[0])
    s, b, _ = objective.yields(events[1])
    values = [significance(objective, part) for part in events]
    return Row(name, thresholds, promise, *values, resampled(objective, events[1]), (float(s), float(b)))


def optimised(name: str, steps: int) -> tuple[Row, float]:
    """Thresholds after so many design steps on the training half, and the seconds it took."""
    noise, estimator = WAYS[name]
    detector = event_selection(noise=noise)
    begin = time.perf_counter()
    effort = Effort(events=EVENTS, warm_up=0, reconstruction_steps=0)
    outcome = optimise(
        Experiment.of(detector, gradient=estimator),
        steps=steps,
        effort=effort,
        verification=VerificationEffort(steps=0, replicas=1, events=100),
    )
    seconds = time.perf_counter() - begin
    found = {parameter: float(entry["value"]) for parameter, entry in outcome.final.items()}
    return row(name, found, promised(detector, found)), seconds


def gradients(estimator: GradientEstimator, thresholds: Mapping[str, float], batches: int = 60) -> Tensor:
    """Gradient in ψ of independent batches, ``batches x d``; batch k has the same showers for every estimator."""
    detector = event_selection(noise=NARROW)
    detector.design.assign(dict(thresholds))
    objective, simulator, found = objective_of(detector), detector.simulator("noisy"), []
    for batch in range(batches):
        detector.design.zero_grad()
        loss = estimator.loss(
            simulator,
            detector.design,
            detector.primaries.sample(EVENTS, stream("cpu", 0, "showers", batch)),
            lambda events, phi: objective(events, None, phi),  # type: ignore[arg-type]
            stream("cpu", 0, "noise", batch),
        )
        loss.backward()
        found.append(detector.design.psi.grad[0].clone())
    return torch.stack(found)


def noise_table(points: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown table: gradient of each estimator, its scatter between batches and its difference from soft cuts."""
    estimators: Mapping[str, GradientEstimator] = {
        "score function": ScoreFunction(),
        "score function without controls": ScoreFunction(controls=False),
        "straight-through": StraightThrough(),
        "soft cuts": Relaxed(noise=False),
    }
    lines = ["| thresholds | estimator | dJ/dψ of depth | width | noise of depth | noise of width "
             "| difference of depth from soft cuts | of width |", "|" + "---|" * 8]  # fmt: skip
    for where, thresholds in points.items():
        soft = gradients(estimators["soft cuts"], thresholds)
        for name, estimator in estimators.items():
            found = gradients(estimator, thresholds)
            mean, scatter, columns = found.mean(0), found.std(0), (1, 2)
            difference = found - soft
            error = difference.std(0) / len(found) ** 0.5
            cells = [f"{mean[k]:+.4f}" for k in columns] + [f"{scatter[k]:.4f}" for k in columns]
            cells += ["" if name == "soft cuts" else f"{difference.mean(0)[k]:+.4f} ± {error[k]:.4f}" for k in columns]
            lines.append(f"| {where} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def results_table(rows: list[Row], reference: Row) -> str:
    """Markdown table of all sets of cuts; differences from the scan are paired."""
    lines = ["| thresholds by | start | depth | width | front | promised Z, training half | Z of the hard cuts, "
             "training half | held-out half | minus scan, held-out | photons, electrons kept (held-out) |",
             "|" + "---|" * 10]  # fmt: skip
    for one in rows:
        cuts = [f"{one.thresholds[name]:.4g}" for name in ("start", "depth", "width", "front")]
        difference = one.samples - reference.samples
        shown = "" if one is reference else f"{one.held_out - reference.held_out:+.2f} ± {float(difference.std()):.2f}"
        cells = [one.name, *cuts, "" if one.promise is None else f"{one.promise:.2f}", f"{one.training:.2f}"]
        cells += [f"{one.held_out:.2f} ± {float(one.samples.std()):.2f}", shown]
        lines.append(f"| {' | '.join(cells)} | {one.yields[0]:.1f}, {one.yields[1]:.2f} |")
    return "\n".join(lines)


def report(rows: list[Row], reference: Row, combinations: int, seconds: Mapping[str, float], gap: Row) -> str:
    """The page."""
    detector, chosen = event_selection(), rows[1]
    cut = uproot_cut(chosen.thresholds)
    points = {"start design": {k: v["value"] for k, v in detector.design.concrete(detector.design()).items()}}
    points["found by straight-through"] = chosen.thresholds
    times = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    aliases = "\n".join(f"    {name!r}: {value!r}," for name, value in cut.aliases.items())
    return f"""# Photons against electrons: cuts by gradients and by brute force

Written by `python scripts/benchmarks/event_selection.py`. 100 photons and 1000 electrons are expected before the
selection, with 10 % uncertainty of the remaining background. Thresholds were found on the training half of the showers
(8000); errors are from the bootstrap over the 8000 of the held-out half, with the same showers for all rows. Both
halves hold the same energies, so the errors are those of showers at these energies.

{results_table(rows, reference)}

"Promised" is the value of the objective that was optimised, on the training half: each shower counts with its
probability to pass cuts with noise. The noise is {NARROW:g} times that of the configuration's `cuts`, or {WIDE:g} times
("wide", about one standard deviation of each observable). The scan tried {combinations} combinations. Seconds on this
machine: {times}.

A cut on the energy in the first gap alone, below {gap.thresholds["first"]:.3g} MeV (scan), has Z = {gap.held_out:.1f} ±
{float(gap.samples.std()):.1f} on the held-out half, where it keeps {gap.yields[0]:.1f} photons and {gap.yields[1]:.2f}
electrons: an electron ionises from the first layer on, which is why it is not among the default observables.

![Observables, significance against one threshold, and promised against measured significance](comparison.png)

## Noise of the gradients

Standard deviation between batches of {EVENTS} showers, 60 batches; differences are paired, batch by batch.

{noise_table(points)}

## The cut for uproot ({chosen.name})

```python
aliases = {{
{aliases}
}}
cut = {cut.cut!r}
tree.arrays(cut=cut, aliases=aliases)
```
"""


def draw(rows: list[Row], reference: Row, path: Path) -> None:
    """Distributions of two observables, Z against one threshold, and the table as points."""
    import numpy as np

    from mode_opt.report.style import SERIES, new_figure

    figure = new_figure(height=6.4, width=9.0)
    (depth, width), (along, points) = figure.subplots(2, 2)
    events = recorded(event_selection(sample="held_out"))
    photon = events.truth[0, :, 0] > 0.5
    for axes, column, label, low, high in (
        (depth, 1, "depth [layers]", 5.0, 45.0),
        (width, 2, "width [layers]", 2.0, 16.0),
    ):
        for member, name, look in ((photon, "photons", SERIES[0]), (~photon, "electrons", SERIES[1])):
            values = events.hits[0, member, 0, column].numpy()
            axes.hist(values, np.linspace(low, high, 61), density=True, histtype="step", color=look.colour,
                      linestyle=look.line, label=name)  # fmt: skip
        threshold = rows[1].thresholds[("", "depth", "width")[column]]
        axes.axvline(threshold, color="0.3", linewidth=1.0, linestyle=":", label="cut, straight-through")
        axes.set(xlabel=label, ylabel="showers per layer (normalised)")
    width.legend(frameon=False, fontsize=8, loc="upper left")
    _along(along, rows[1].thresholds, SERIES)
    _points(points, rows, reference, SERIES)
    figure.savefig(path, dpi=130)


def _along(axes: Any, thresholds: Mapping[str, float], looks: Any) -> None:
    """Z against the threshold of the depth, the others as found by straight-through."""
    steps = torch.linspace(14.0, 32.0, 64)
    shapes = {
        "hard cuts, training": (event_selection(), None),
        "hard cuts, held-out": (event_selection(sample="held_out"), None),
        "soft cuts, training": (event_selection(noise=NARROW), promised),
        "soft cuts, wide, training": (event_selection(noise=WIDE), promised),
    }
    for look, (name, (detector, soft)) in zip(looks, shapes.items(), strict=False):
        values = []
        for step in steps.tolist():
            at = {**thresholds, "depth": step}
            values.append(soft(detector, at) if soft else _hard_value(detector, at))
        axes.plot(steps, values, color=look.colour, linestyle=look.line, label=name)
    axes.axvline(thresholds["depth"], color="0.3", linewidth=1.0, linestyle=":")
    axes.set(xlabel="threshold of depth [layers], others fixed", ylabel="significance Z", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)


def _hard_value(detector: Detector, thresholds: Mapping[str, float]) -> float:
    return significance(objective_of(detector), hard(detector, thresholds))


def _points(axes: Any, rows: list[Row], reference: Row, looks: Any) -> None:
    for index, one in enumerate(rows):
        height = len(rows) - index
        named = index == 0
        axes.errorbar(one.held_out, height, xerr=float(one.samples.std()), **looks[0].points(),
                      label="hard cuts, held-out" if named else None)  # fmt: skip
        axes.plot(one.training, height + 0.18, linestyle="", color=looks[1].colour, marker=looks[1].marker,
                  fillstyle="none", label="hard cuts, training" if named else None)  # fmt: skip
        if one.promise is not None:
            axes.plot(one.promise, height - 0.18, linestyle="", color=looks[2].colour, marker=looks[2].marker,
                      fillstyle="none", label="promised by the noisy cuts" if named else None)  # fmt: skip
    axes.set_yticks([len(rows) - k for k in range(len(rows))], [one.name for one in rows], fontsize=9)
    axes.set(xlabel="significance Z", ylim=(0.3, len(rows) + 2.2))
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.manual_seed(0)
    rows, seconds = [], {}
    for name in WAYS:
        one, seconds[name] = optimised(name, options.steps)
        rows.append(one)
        print(f"{name}: {dict(one.thresholds)}, held-out Z {one.held_out:.3f}", flush=True)
    training, begin = event_selection(), time.perf_counter()
    found = scan(objective_of(training), recorded(training), training.simulator("hard").cuts)
    seconds["scan"] = time.perf_counter() - begin
    rows.append(row("brute-force scan", found.thresholds, None))
    first = event_selection(**FIRST_GAP)
    gap = scan(objective_of(first), recorded(first), first.simulator("hard").cuts, points=400)
    gap_row = row("first gap", gap.thresholds, None, **FIRST_GAP)
    options.output.mkdir(parents=True, exist_ok=True)
    draw(rows, rows[-1], options.output / "comparison.png")
    page = report(rows, rows[-1], found.combinations, seconds, gap_row)
    (options.output / "comparison.md").write_text(page)
    readme = options.output / "README.md"
    if readme.exists():
        head, _, tail = readme.read_text().partition(MARKS[0])
        end = tail.partition(MARKS[1])[2]
        readme.write_text(f"{head}{MARKS[0]}\n{results_table(rows, rows[-1])}\n{MARKS[1]}{end}")
    print(page)


if __name__ == "__main__":
    main()
