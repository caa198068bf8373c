"""Table, text and figure of the runs that are there."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter

from mode_opt.objectives import Estimate
from mode_opt.objectives.uncertainty import Replicas
from mode_opt.report.style import GREY, SERIES, Look, dress, legend_above, new_figure

from .runs import Run, replicas
from .setting import CASES, METHODS

NAME = "black_box_calorimeter"
REFERENCE = "pathwise"
COLUMNS = (
    *("case", "method", "seed", "calls", "absorber_mm", "gap_mm", "objective", "objective_standard_error"),
    *("excess", "excess_standard_error", "seconds", "message"),
)
Measured = list[Replicas]


@dataclass(frozen=True)
class Row:
    """A design on the way of a run.

    Attributes:
        run: which.
        calls: simulated events at most; for the reference, those it took.
        design: mean absorber and mean gap thickness, mm.
        objective: J.
        excess: J less the mean of the reference's J, the same primaries; of the events and the training of the
            reconstructions that measure, not of the seed of the optimisation.
    """

    run: Run
    calls: float
    design: tuple[float, float]
    objective: Estimate
    excess: Estimate | None


def combined(parts: Measured) -> Estimate:
    """Mean over fresh reconstructions, with the errors of events and of their training."""
    estimates = [part.estimate() for part in parts]
    values = [estimate.value for estimate in estimates]
    variance = mean(estimate.standard_error**2 for estimate in estimates)
    variance += stdev(values) ** 2 / len(values) if len(values) > 1 else 0.0
    return Estimate(mean(values), math.sqrt(variance))


def averaged(many: Sequence[Measured]) -> Measured:
    """The mean of several designs, reconstruction by reconstruction."""
    return [
        Replicas(
            sum((p.value for p in parts[1:]), parts[0].value) / len(parts),
            sum((p.left_out for p in parts[1:]), parts[0].left_out) / len(parts),
        )
        for parts in zip(*many, strict=True)
    ]


def rows(runs: Sequence[Run]) -> list[Row]:
    """All measured designs."""
    found = []
    for run in runs:
        known = [r for r in runs if r.case == run.case and r.method == REFERENCE and r.measured]
        reference = averaged([replicas(next(iter(r.measured.values()))) for r in known]) if known else None
        for calls, values in run.measured.items():
            design, parts = run.at(float(calls)), replicas(values)
            half = len(design) // 2
            excess = None
            if reference is not None and len(reference) == len(parts):
                excess = combined([a - b for a, b in zip(parts, reference, strict=True)])
            thicknesses = mean(design[:half]), mean(design[half:])
            found.append(Row(run, float(calls), thicknesses, combined(parts), excess))
    return found


def write(runs: Sequence[Run], folder: Path) -> list[Path]:
    """CSV, Markdown and PNG; their paths."""
    measured = rows(runs)
    paths = [folder / f"{NAME}.{ending}" for ending in ("csv", "md", "png")]
    if not measured:
        return []
    _csv(measured, paths[0])
    paths[1].write_text(_text(measured), encoding="utf-8")
    figure(measured).savefig(paths[2], dpi=170, metadata={"Software": None})
    return paths


def _csv(measured: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in measured:
            run, excess = row.run, row.excess or Estimate(math.nan, math.nan)
            numbers = [*row.design, row.objective.value, row.objective.standard_error, *vars(excess).values()]
            texts = [f"{number:.6g}" for number in numbers]
            head = [run.case, run.method, run.seed, f"{row.calls:.0f}"]
            writer.writerow([*head, *texts, f"{run.seconds[-1]:.0f}", run.message])


def of_seeds(values: Sequence[float]) -> Estimate:
    """Mean over the seeds and its standard error; NaN for one seed."""
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Estimate(mean(values), error)


def groups(measured: Iterable[Row]) -> dict[tuple[str, str, float], list[Row]]:
    """Rows of all seeds by case, method and calls, in the order of the settings; the reference's have calls 0."""
    found: dict[tuple[str, str, float], list[Row]] = {}
    for row in measured:
        calls = 0.0 if row.run.method == REFERENCE else row.calls
        found.setdefault((row.run.case, row.run.method, calls), []).append(row)
    order = {name: k for k, name in enumerate([*CASES, *METHODS])}
    return dict(sorted(found.items(), key=lambda item: (order[item[0][0]], order[item[0][1]], item[0][2])))


def _text(measured: Sequence[Row]) -> str:
    lines = [
        "# The sampling calorimeter as a black box",
        "",
        "Made by `python scripts/benchmarks/black_box_calorimeter.py`, which says how; J and its excess over the mean",
        "of the pathwise results in units of 10⁻⁴. Errors are standard errors of the mean over the seeds (none of one",
        "seed); the last column is the error of one paired measurement (events and training of what measures).",
        "",
        "| case | method | simulated events | seeds | absorber, gap (mm) | J | excess | of one measurement |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (case, method, _), same in groups(measured).items():
        excess = [row.excess for row in same if row.excess is not None]
        first, second = (mean(row.design[k] for row in same) for k in (0, 1))
        cells = [CASES[case].label, METHODS[method].label, f"{mean(row.calls for row in same):,.0f}", str(len(same))]
        cells += [f"{first:.2f}, {second:.2f}", _cell(of_seeds([row.objective.value for row in same]))]
        cells += [_cell(of_seeds([e.value for e in excess])) if excess else ""]
        cells += [f"{1e4 * mean(e.standard_error for e in excess):.1f}" if excess else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(estimate: Estimate) -> str:
    error = f" ± {1e4 * estimate.standard_error:.1f}" if math.isfinite(estimate.standard_error) else ""
    return f"{1e4 * estimate.value:.1f}{error}"


def figure(measured: Sequence[Row]) -> Figure:
    """J against simulated events, a panel a case: every seed as a point, their mean as a line."""
    cases = list(dict.fromkeys(key[0] for key in groups(measured)))
    picture = new_figure(height=3.9, width=max(7.5, 4.2 * len(cases)))
    looks = dict(zip([name for name in METHODS if name != REFERENCE], SERIES, strict=False))
    for axes, case in zip(picture.subplots(1, len(cases), squeeze=False)[0], cases, strict=True):
        _panel(axes, [row for row in measured if row.run.case == case], looks)
        axes.set_title(CASES[case].label, fontsize=10)
    legend_above(picture, columns=2)
    return picture


def _panel(axes: Axes, measured: Sequence[Row], looks: Mapping[str, Look]) -> None:
    reference = [row.objective.value for row in measured if row.run.method == REFERENCE]
    if reference:
        label = METHODS[REFERENCE].label
        axes.axhline(mean(reference), color=GREY, linestyle="--", linewidth=1.4, label=label)
        axes.axhspan(min(reference), max(reference), color=GREY, alpha=0.25, linewidth=0)
    by_method: dict[str, list[tuple[float, list[float]]]] = {}
    for (_, method, calls), same in groups(measured).items():
        by_method.setdefault(method, []).append((calls, [row.objective.value for row in same]))
    for method, look in looks.items():
        points = by_method.get(method, [])
        if not points:
            continue
        calls = [calls for calls, _ in points]
        means = [mean(values) for _, values in points]
        axes.plot(calls, means, color=look.colour, linestyle=look.line, linewidth=1.6, label=METHODS[method].label)
        for number, values in points:
            axes.plot([number] * len(values), values, look.marker, color=look.colour, markersize=4.5, alpha=0.7)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([2e4, 5e4, 1e5, 2e5]))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    dress(axes, "simulated events", "J, measured anew")
