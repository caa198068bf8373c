"""From which dimension on do local models of the simulator need fewer calls than Bayesian optimisation?

python scripts/benchmarks/dimension.py [--dimensions 1 2 4 8 16 32 64] [--methods regression ...] [--seeds 5]
    [--calls 3e4] [--seconds 300] [--workers 2] [--table]

Each method on `sphere_D` (a rotated ellipsoid whose value and noise at the start are the same in every dimension),
until the exact objective has come from the start to within a tenth of its distance to the optimum. Runs as in
black_box.py (finished ones are skipped); writes dimension.csv, one row a dimension and method, and dimension.png.
"""

import argparse
import csv
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from black_box_parts.figure import OVERVIEW, PIXELS_PER_INCH, WIDTHS
from black_box_parts.methods import METHODS
from black_box_parts.problems import problem_named
from black_box_parts.record import Run, finished, quantile
from black_box_parts.schedule import carry_out
from matplotlib.axes import Axes

from mode_opt.report.style import GREY, INK, dress, legend_above, new_figure

ROOT = Path(__file__).parents[2]
DIMENSIONS = (1, 2, 4, 8, 16, 32, 64)
LOCAL, BAYESIAN = ("regression", "local_mixture"), ("bayesian", "turbo")
SHARE = 0.1
COLUMNS = ("dimension", "method", "runs", "reached", "spent", "lower_quartile", "median", "upper_quartile", "designs")

Row = dict[str, float | str]


def rows(runs: Iterable[Run]) -> list[Row]:
    """Quartiles of the calls, and the median of the designs, to `SHARE` of the gap at the start; infinite if never.

    ``spent``: the fewest calls after which a run had not got there; NaN if all did.
    """
    found: dict[tuple[int, str], list[Run]] = {}
    for run in runs:
        found.setdefault((int(run.problem.removeprefix("sphere_")), run.method), []).append(run)
    return [row(dimension, method, found[dimension, method]) for dimension, method in sorted(found)]


def row(dimension: int, method: str, runs: Sequence[Run]) -> Row:
    """One dimension and method."""
    problem = problem_named(f"sphere_{dimension}")
    goal = problem.optimum + SHARE * (problem.start - problem.optimum)
    calls, designs = ([run.reached(goal, axis) for run in runs] for axis in ("calls", "designs"))
    reached = sum(map(math.isfinite, calls))
    quartiles = [quantile(calls, share) for share in (0.25, 0.5, 0.75)]
    spent = min((run.last("calls") for run in runs if math.isinf(run.reached(goal))), default=math.nan)
    cells = (dimension, method, len(runs), reached, spent, *quartiles, quantile(designs, 0.5))
    return dict(zip(COLUMNS, cells, strict=True))


def best(table: Sequence[Row], methods: Sequence[str]) -> dict[int, float]:
    """By dimension, the lowest median of these methods."""
    found: dict[int, float] = {}
    for entry in table:
        if entry["method"] in methods:
            dimension = int(entry["dimension"])
            found[dimension] = min(found.get(dimension, math.inf), float(entry["median"]))
    return found


def crossing(first: Mapping[int, float], second: Mapping[int, float]) -> float:
    """The dimension from which on ``first`` is lower, linear in the logarithms; NaN if not there.

    A method that did not get there counts as infinitely slow: then the crossing is at the dimension itself.
    """
    common = [d for d in sorted(set(first) & set(second)) if math.isfinite(first[d])]
    ratio = {d: math.log(first[d] / second[d]) if math.isfinite(second[d]) else -math.inf for d in common}
    for before, after in reversed(list(itertools.pairwise(common))):
        if ratio[before] > 0 >= ratio[after]:
            if math.isinf(ratio[after]):
                return float(after)
            share = ratio[before] / (ratio[before] - ratio[after])
            return math.exp(math.log(before) + share * math.log(after / before))
    return float(common[0]) if common and all(value <= 0 for value in ratio.values()) else math.nan


def draw(table: Sequence[Row], path: Path) -> None:
    """Medians and quartiles against the dimension; an arrow where the median run did not get there in its budget."""
    figure = new_figure(height=4.4)
    axes = figure.subplots()
    for name in (method for method in OVERVIEW if any(entry["method"] == method for entry in table)):
        _curve(axes, name, [entry for entry in table if entry["method"] == name])
    where = crossing(best(table, LOCAL), best(table, BAYESIAN))
    if math.isfinite(where):
        axes.axvline(where, color=GREY, linewidth=1.0, linestyle=(0, (5, 3)), zorder=0)
        left = where > 6  # few calls in few dimensions: the upper left is free
        place, side = (0.97 * where, "right") if left else (1.03 * where, "left")
        style = {"color": INK, "fontsize": 9.5, "va": "top", "ha": side, "transform": axes.get_xaxis_transform()}
        axes.text(place, 0.96, f"local models need fewer from d = {where:.2g}", **style)
    dimensions = sorted({int(entry["dimension"]) for entry in table})
    axes.set(xscale="log", yscale="log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, 2.5 * high)  # room for the arrows
    dress(axes, "number of design parameters", f"simulator calls to {100 * SHARE:.0f} % of the gap at the start")
    axes.set_xticks(dimensions, [str(d) for d in dimensions], minor=False)
    axes.set_xticks([], minor=True)
    legend_above(figure)
    figure.savefig(path, dpi=PIXELS_PER_INCH, metadata={"Software": None})


def _curve(axes: Axes, name: str, entries: Sequence[Row]) -> None:
    look = OVERVIEW[name]
    known = [{key: float(e[key]) for key in COLUMNS if key != "method"} for e in entries]
    there = [e for e in known if math.isfinite(e["median"])]
    below = [e["median"] - e["lower_quartile"] for e in there]
    # What the upper quartile is not known to be, is at least what was spent in vain.
    above = [_known_upper(e) - e["median"] for e in there]
    x, y = [e["dimension"] for e in there], [e["median"] for e in there]
    style = {"linestyle": look.line, "linewidth": WIDTHS[METHODS[name].group], **look.points(5.0)}
    axes.errorbar(x, y, yerr=[below, above], label=METHODS[name].label, **style)
    for e in known:
        if not math.isfinite(e["median"]):
            arrow = {"arrowstyle": "-|>", "color": look.colour, "linewidth": 1.2}
            axes.plot(e["dimension"], e["spent"], look.marker, color=look.colour, markersize=5, fillstyle="none")
            axes.annotate("", (e["dimension"], 2 * e["spent"]), (e["dimension"], e["spent"]), arrowprops=arrow)


def _known_upper(entry: Mapping[str, float]) -> float:
    upper = entry["upper_quartile"]
    return upper if math.isfinite(upper) else max(entry["spent"], entry["median"])


def write(table: Sequence[Row], path: Path) -> None:
    """As CSV; a cell is empty where the goal was not reached."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for entry in table:
            cells = [entry[name] for name in COLUMNS]
            writer.writerow([c if isinstance(c, str) else f"{c:.6g}" if math.isfinite(c) else "" for c in cells])


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", nargs="+", type=int, default=list(DIMENSIONS))
    parser.add_argument("--methods", nargs="+", default=[*LOCAL, *BAYESIAN], choices=list(OVERVIEW), metavar="METHOD")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--calls", type=float, default=3e4)
    parser.add_argument("--seconds", type=float, default=300.0, help="CPU time of a run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "dimension")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument("--retry", action="store_true", help="repeat runs that failed")
    parser.add_argument("--table", action="store_true", help="only make the table and the figure")
    options = parser.parse_args(words)
    options.problems = [f"sphere_{dimension}" for dimension in options.dimensions]
    return options


def main(words: Sequence[str] | None = None) -> None:
    options = parsed(words)
    if not options.table:
        carry_out(options, SHARE)
    table = rows(finished(options.runs))
    options.output.mkdir(parents=True, exist_ok=True)
    write(table, options.output / "dimension.csv")
    draw(table, options.output / "dimension.png")
    print(options.output / "dimension.csv", options.output / "dimension.png")


if __name__ == "__main__":
    main()
