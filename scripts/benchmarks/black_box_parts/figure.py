"""Figures: objective against simulator calls, one panel a problem, median and quartiles of the seeds of each method."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from mode_opt.report.style import GREY, SERIES, Look, dress, new_figure

from .methods import FAMILIES, METHODS
from .original import original_runs
from .problems import Problem, listed, problem_named
from .record import Run

PIXELS_PER_INCH = 170
POINTS_PER_DECADE = 24
FIRST = 100.0
"""Simulator calls at the left edge of the figures."""

OVERVIEW: Mapping[str, Look] = {  # the last colours are of P. Tol, for colour-blind readers too
    "regression": Look("#0072B2", "s", "-"),
    "local_mixture": Look("#D55E00", "o", "-"),
    "bayesian": Look("#009E73", "D", "--"),
    "turbo": Look("#56B4E9", "P", "--"),
    "cma": Look("#CC79A7", "^", "--"),
    "finite_differences": Look("#222222", "X", ":"),
    "simultaneous_perturbation": Look("#E69F00", "v", ":"),
    "evolution_strategies": Look("#882255", "*", ":"),
    "random": Look("#999933", "h", "-."),
}
FAMILY_LOOKS: Mapping[str, Look] = {
    "regression": Look("#0072B2", "s", "--"),
    **{f"local_{name}": replace(look, line="-") for name, look in zip(FAMILIES, SERIES[1:], strict=False)},
}
WIDTHS = {"ours": 2.2, "baseline": 1.4, "reference": 1.2}

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Band:
    """Median and quartiles of the objective at numbers of calls."""

    calls: Values
    median: Values
    low: Values
    high: Values


def draw(runs: Sequence[Run], folder: Path, name: str = "black_box") -> list[Path]:
    """The overview and, where more than one family has run, the figure of the families; as PNG."""
    paths = []
    begun = [run for run in runs if run.columns["calls"]]  # the others failed before they could be measured
    families = [run for run in begun if run.method in FAMILY_LOOKS]
    overview = [run for run in begun if run.method in OVERVIEW]
    if overview:
        paths.append(_save(figure(overview, OVERVIEW), folder / f"{name}.png"))
    if len({run.method for run in families}) > 2:
        paths.append(_save(figure(families, FAMILY_LOOKS), folder / f"{name}_families.png"))
    return paths


def _save(picture: Figure, path: Path) -> Path:
    picture.savefig(path, dpi=PIXELS_PER_INCH, metadata={"Software": None})
    return path


def figure(runs: Sequence[Run], looks: Mapping[str, Look]) -> Figure:
    """A panel a problem, and the legend in a cell of its own."""
    names = listed(runs)
    columns = min(3, len(names) + 1)
    lines = math.ceil((len(names) + 1) / columns)
    picture = new_figure(height=3.3 * lines, width=max(3.9 * columns, 7.5))
    cells = list(picture.subplots(lines, columns, squeeze=False).flat)
    for axes, name in zip(cells, names, strict=False):
        panel(axes, problem_named(name), [run for run in runs if run.problem == name], looks)
    for axes in cells[len(names) :]:
        axes.set_axis_off()
    _legend(cells[len(names)], runs, looks, any(run.problem in names for run in original_runs()))
    return picture


def panel(axes: Axes, problem: Problem, runs: Sequence[Run], looks: Mapping[str, Look]) -> None:
    """The gap to the lowest known objective on logarithmic axes."""
    scale = problem.start - problem.optimum
    floor = 1e-3 * scale
    for threshold in problem.thresholds:
        axes.axhline(threshold - problem.optimum, color=GREY, linewidth=0.5, linestyle=(0, (1, 3)), zorder=0)
    _original(axes, problem, floor)
    shown = [name for name in looks if any(run.method == name for run in runs)]
    for index, name in enumerate(shown):
        band = banded([run for run in runs if run.method == name])
        _line(axes, band, problem.optimum, floor, name, looks[name], index / len(shown))
    axes.set(xscale="log", yscale="log", xlim=(FIRST, _right(problem, runs)), ylim=(0.7 * floor, 2.5 * scale))
    axes.set_title(f"{problem.name.replace('_', ' ')} (optimum {_signed(problem.optimum)})", fontsize=10.5)
    dress(axes, "simulator calls", "objective above the optimum")


def _signed(value: float) -> str:
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _right(problem: Problem, runs: Sequence[Run]) -> float:
    """A little beyond the last call, the original's included, so that the ends of lines are seen."""
    everything = [*runs, *(run for run in original_runs() if run.problem == problem.name)]
    return 1.3 * max(*(run.last("calls") for run in everything), 10 * FIRST)


def banded(runs: Sequence[Run]) -> Band:
    """Over the seeds, up to where the longest of them ends; one that ended earlier keeps its last value."""
    end = max(run.last("calls") for run in runs)
    count = max(2, round(POINTS_PER_DECADE * math.log10(max(end / FIRST, 1.1))))
    calls = np.geomspace(FIRST, max(end, 1.1 * FIRST), count)
    values = np.stack([_sampled(run, calls) for run in runs])
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    return Band(calls, median, low, high)


def _sampled(run: Run, calls: Values) -> Values:
    """Objective of the answer at these calls (`Run.carried`); what is not finite is far above everything."""
    places = np.searchsorted(np.array(run.columns["calls"]), calls * (1 + 1e-9), side="right") - 1
    found = np.array(run.columns["objective"], dtype=np.float64)[np.maximum(places, 0)]
    return np.where(np.isfinite(found), found, 1e30)


def _line(axes: Axes, band: Band, optimum: float, floor: float, name: str, look: Look, offset: float) -> None:
    def gap(values: Values) -> Values:
        return np.maximum(values - optimum, floor)

    style = {"color": look.colour, "linestyle": look.line, "linewidth": WIDTHS[METHODS[name].group]}
    every = POINTS_PER_DECADE // 2
    marks = {"marker": look.marker, "markersize": 4.5, "markevery": (round(offset * every), every)}
    top = METHODS[name].group == "ours"
    axes.plot(band.calls, gap(band.median), drawstyle="steps-post", zorder=4 if top else 3, gid=name, **style, **marks)
    edges = {"step": "post", "color": look.colour, "alpha": 0.15, "linewidth": 0}
    axes.fill_between(band.calls, gap(band.low), gap(band.high), zorder=2, **edges)


def _original(axes: Axes, problem: Problem, floor: float) -> None:
    for run in original_runs():
        if run.problem == problem.name:
            gap = np.maximum(np.array(run.columns["objective"][1:]) - problem.optimum, floor)
            axes.plot(run.columns["calls"][1:], gap, ".", color="#A0A0A0", markersize=2.6, zorder=1)


def _legend(axes: Axes, runs: Sequence[Run], looks: Mapping[str, Look], original: bool) -> None:
    handles: list[Line2D | Patch] = []
    for name, look in looks.items():
        seeds = {run.seed for run in runs if run.method == name}
        if seeds:
            label = f"{METHODS[name].label} ({len(seeds)} seed{'s' if len(seeds) > 1 else ''})"
            width, colour = WIDTHS[METHODS[name].group], look.colour
            style = {"color": colour, "linestyle": look.line, "marker": look.marker}
            handles.append(Line2D([], [], linewidth=width, markersize=4.5, label=label, **style))
    if original:
        label = "the original's code (Shirobokov et al.)"
        handles.append(Line2D([], [], linestyle="none", marker=".", color="#A0A0A0", label=label))
    handles.append(Patch(color=GREY, alpha=0.25, linewidth=0, label="quartiles of the seeds"))
    handles.append(Line2D([], [], color=GREY, linewidth=0.8, linestyle=(0, (1, 3)), label="thresholds of the table"))
    axes.legend(handles=handles, loc="center left", frameon=False, fontsize=9.5, handlelength=3.2)
