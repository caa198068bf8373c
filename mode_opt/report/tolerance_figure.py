"""The objective along each parameter and each direction around the final design, with the loss that is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.style import BAND, GREY, INK, SERIES, axis_label, dress, legend_above, new_figure, plain
from mode_opt.report.table import Table
from mode_opt.report.tolerance import Line, ToleranceReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("kind", "name", "unit", "series", "at", "change_percent", "error_percent")
PARAMETERS, DIRECTIONS = 6, 3
"""Panels of each at most: the parameters with the smallest deviations for their range, the stiffest directions."""
ACROSS, COMPONENTS = 3, 2


def shown_lines(report: ToleranceReport) -> list[Line]:
    """Those that get a panel."""

    def reach(line: Line) -> float:
        span = line.model[-1][0] - line.model[0][0]
        change = max(abs(line.model[0][1]), abs(line.model[-1][1]))
        return span / change if change > 0 else np.inf

    parameters = [line for line in report.lines if line.kind == "parameter"]
    if len(parameters) > PARAMETERS:
        kept = {line.name for line in sorted(parameters, key=reach)[:PARAMETERS]}
        parameters = [line for line in parameters if line.name in kept]
    directions = [line for line in report.lines if line.kind == "direction"] if len(report.parameters) > 1 else []
    return parameters + directions[:DIRECTIONS]


def numbers_tolerance(run: RunDirectory) -> Table | None:
    """Change of J in percent along each line, by the model and as measured."""
    report = run.tolerance
    if report is None or not report.lines or report.objective.value == 0:
        return None
    unit, rows = abs(report.objective.value) / 100, []
    for line in shown_lines(report):
        for series, points in (("model", line.model), ("measured", line.measured)):
            named = (line.kind, line.name, line.unit, series)
            rows += [(*named, at, change / unit, error / unit) for at, change, error in points]
    return Table.of_rows(COLUMNS, rows)


def figure_tolerance(run: RunDirectory) -> Figure | None:
    """A panel each: model and its error, measured designs, allowed loss and deviations, forbidden sides hatched."""
    numbers, report = numbers_tolerance(run), run.tolerance
    if numbers is None or report is None:
        return None
    lines = shown_lines(report)
    down = -(-len(lines) // ACROSS)
    figure = new_figure(height=0.6 + 2.5 * down)
    grid = list(figure.subplots(down, min(len(lines), ACROSS), squeeze=False).flat)
    for axes, line in zip(grid, lines, strict=False):
        part = numbers.where("kind", line.kind).where("name", line.name)
        _panel(axes, line, part, report.loss_percent)
        _label(axes, line, report)
    for axes in grid[len(lines) :]:
        axes.set_axis_off()
    legend_above(figure, 4)
    return figure


def _panel(axes: Axes, line: Line, part: Table, loss: float) -> None:
    model, measured = part.where("series", "model"), part.where("series", "measured")
    at, change, error = (model.floats(name) for name in ("at", "change_percent", "error_percent"))
    axes.fill_between(at, change - error, change + error, color=BAND, linewidth=0, label="standard error", zorder=1)
    axes.plot(at, change, color=SERIES[0].colour, linewidth=1.5, label="quadratic model", gid="model", zorder=3)
    if len(measured):
        style = SERIES[1].points(3.5)
        x, y, e = (measured.floats(name) for name in ("at", "change_percent", "error_percent"))
        axes.errorbar(x, y, e, linestyle="none", label="simulated", gid="measured", zorder=4, **style)
    axes.axhline(0.0, color=GREY, linewidth=0.6, zorder=0)
    axes.axhline(loss, color=SERIES[2].colour, linestyle="--", linewidth=1.2, label="allowed loss", gid="loss")
    low, high = axes.get_xlim()
    for place in (line.origin - line.below, line.origin + line.above):
        if low < place < high:
            axes.axvline(place, color=SERIES[2].colour, linestyle=":", linewidth=1.2)
    for sign, room, edge in ((-1, line.room_below, low), (1, line.room_above, high)):
        place = line.origin + sign * room
        if low < place < high:
            span = (min(place, edge), max(place, edge))
            axes.axvspan(*span, facecolor="none", edgecolor="#C0C0C0", hatch="////", linewidth=0, zorder=0)
    axes.set_xlim(low, high)
    axes.plot([line.origin], [0.0], color=INK, marker="o", markersize=4, linestyle="none", label="design", zorder=5)
    seen = np.concatenate([change, measured.floats("change_percent"), [0.0, loss]])
    low, high = max(seen.min(), -6 * loss), min(seen.max(), 6 * loss)
    axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))


def _label(axes: Axes, line: Line, report: ToleranceReport) -> None:
    if line.kind == "parameter":
        horizontal = axis_label(line.name, line.unit)
    else:
        direction = report.directions[int(line.name) - 1]
        kind = f"held by {direction.held}" if direction.held else direction.kind
        shown = [f"{value:+.2f} {name.replace('_', ' ')}" for name, value in direction.components[:COMPONENTS]]
        words = [plain(text.replace("-", "\N{MINUS SIGN}"), 28) for text in shown]
        axes.set_title("\n".join(words), fontsize=7.5)
        horizontal = plain(f"direction {line.name}, {kind} [half ranges]", 44)
    dress(axes, horizontal, "change of J [%]")
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(8.5)
    axes.yaxis.label.set_fontsize(8.5)
