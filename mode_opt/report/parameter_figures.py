"""Scalar and categorical design parameters against the design step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.style import FINAL, GREY, INITIAL, INK, MATERIALS, axis_label, dress, new_figure, plain
from mode_opt.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 12  # more scalar parameters than this are drawn as a map


def numbers_parameters(run: RunDirectory) -> Table | None:
    """Series "history" (each step) and "initial" and "final" (as reported, at the first and last step)."""
    if run.history is None or not len(run.history) or not run.scalars():
        return None
    step = run.history.floats("step")
    rows: list[tuple[str | float, ...]] = []
    for name in run.scalars():
        low, high = _bounds(run, name)
        unit = run.result.unit(name)
        for at, value in zip(step, run.history.floats(name), strict=True):
            rows.append((name, unit, "history", float(at), float(value), low, high))
        reported = run.result.design.get(name)
        for series, at in (("initial", step[0]), ("final", step[-1])):
            value = getattr(reported, series, None)
            if isinstance(value, float):
                rows.append((name, unit, series, float(at), value, low, high))
    return Table.of_rows(("parameter", "unit", "series", "step", "value", "lower_bound", "upper_bound"), rows)


def _bounds(run: RunDirectory, name: str) -> tuple[float, float]:
    bounds = run.configuration.bounds(name, run.result.unit(name)) if run.configuration is not None else None
    return bounds or (np.nan, np.nan)


def figure_parameters(run: RunDirectory) -> Figure | None:
    """One panel a scalar parameter; a map of relative changes for more than twelve."""
    numbers = numbers_parameters(run)
    if numbers is None:
        return None
    names = numbers.unique("parameter")
    if len(names) > PANELS:
        return _map(numbers, names)
    columns = 1 if len(names) == 1 else 2 if len(names) <= 4 else 3
    rows = -(-len(names) // columns)
    figure = new_figure(height=0.5 + (2.9 if columns < 3 else 2.2) * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).flat
    for index, axes in enumerate(grid):
        if index >= len(names):
            axes.set_axis_off()
            continue
        _panel(axes, numbers.where("parameter", names[index]))
        axes.tick_params(labelbottom=index + columns >= len(names))
        if index + columns >= len(names):
            axes.set_xlabel("design step", fontsize=10.5)
    return figure


def _panel(axes: Axes, part: Table) -> None:
    history = part.where("series", "history")
    step, values = history.floats("step"), history.floats("value")
    marker = "." if len(step) <= 40 else ""
    axes.plot(step, values, color=INK, linewidth=1.5, marker=marker, gid="history")
    for series, look in (("initial", INITIAL), ("final", FINAL)):
        mark = part.where("series", series)
        if len(mark):
            style = look.points(7)
            del style["capsize"], style["elinewidth"]
            axes.plot(mark.floats("step"), mark.floats("value"), linestyle="none", clip_on=False, zorder=5, **style)
    shown = part.floats("value")[np.isfinite(part.floats("value"))]
    low, high = part.floats("lower_bound")[0], part.floats("upper_bound")[0]
    if len(shown):
        margin = 0.15 * (shown.max() - shown.min()) or 0.05 * abs(shown[0]) or 1.0
        axes.set_ylim(shown.min() - margin, shown.max() + margin)
    name, unit = part.words("parameter")[0], part.words("unit")[0]
    dress(axes, None, axis_label(name, unit))
    if np.isfinite(low) and np.isfinite(high):
        _forbidden(axes, low, high)
        axes.set_title(plain(f"allowed {low:g} to {high:g} {unit}"), fontsize=8.5, color=GREY, loc="right", pad=3)


def _forbidden(axes: Axes, low: float, high: float) -> None:
    bottom, top = axes.get_ylim()
    for start, stop in ((bottom, low), (high, top)):
        if start < stop:
            axes.axhspan(start, stop, facecolor="none", edgecolor="#C0C0C0", hatch="////", linewidth=0, zorder=0)
    axes.set_ylim(bottom, top)


def _map(numbers: Table, names: list[str]) -> Figure:
    """Change of each parameter since the first step over its allowed range (else its first value)."""
    figure = new_figure(height=1.4 + 0.17 * len(names))
    axes = figure.add_subplot()
    changes = []
    for name in names:
        part = numbers.where("parameter", name).where("series", "history")
        values, span = part.floats("value"), part.floats("upper_bound")[0] - part.floats("lower_bound")[0]
        scale = span if np.isfinite(span) and span > 0 else abs(values[0]) or 1.0
        changes.append((values - values[0]) / scale)
    step = numbers.where("parameter", names[0]).where("series", "history").floats("step")
    largest = float(np.nanmax(np.abs(changes))) or 1.0
    mesh = axes.pcolormesh(
        step,
        np.arange(len(names)),
        np.array(changes),
        cmap="PuOr",
        vmin=-largest,
        vmax=largest,
        rasterized=True,
    )
    dress(axes, "design step", None)
    axes.tick_params(which="both", right=False, top=False)
    axes.set_yticks(np.arange(len(names)), [plain(name, 34) for name in names], fontsize=7.5)
    axes.minorticks_off()
    axes.invert_yaxis()
    figure.colorbar(mesh, ax=axes, label="change since the start / allowed range", aspect=40)
    return figure


def numbers_categories(run: RunDirectory) -> Table | None:
    """Probability of each option of each categorical parameter at each step."""
    if run.history is None or not len(run.history):
        return None
    rows: list[tuple[str | float, ...]] = []
    for name, options in run.categories().items():
        for option, column in options.items():
            for at, value in zip(run.history.floats("step"), run.history.floats(column), strict=True):
                rows.append((name, option, float(at), float(value)))
    return Table.of_rows(("parameter", "option", "step", "probability"), rows) if rows else None


def figure_categories(run: RunDirectory) -> Figure | None:
    """Stacked probabilities of the options, one panel a categorical parameter."""
    numbers = numbers_categories(run)
    if numbers is None:
        return None
    names = numbers.unique("parameter")
    figure = new_figure(height=0.5 + 2.7 * len(names))
    for axes, name in zip(figure.subplots(len(names), 1, squeeze=False).flat, names, strict=True):
        part = numbers.where("parameter", name)
        options = part.unique("option")
        step = part.where("option", options[0]).floats("step")
        heights = [np.nan_to_num(part.where("option", option).floats("probability")) for option in options]
        if len(step) == 1:  # an area needs two points
            step, heights = np.array([step[0] - 0.5, step[0] + 0.5]), [np.repeat(h, 2) for h in heights]
        for index, area in enumerate(axes.stackplot(step, heights, labels=[plain(option, 24) for option in options])):
            colour, hatch = MATERIALS[index % len(MATERIALS)]
            area.set(facecolor=colour, hatch=hatch, edgecolor="white" if hatch == "////" else INK, linewidth=0.4)
        axes.set(xlim=(step[0], step[-1]), ylim=(0, 1))
        dress(axes, "design step", f"probability of {axis_label(name)}")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9.5, reverse=True)
    return figure
