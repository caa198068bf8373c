"""Constrained quantities against the design step, with their limits and multipliers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.style import GREY, INK, SERIES, axis_label, dress, new_figure
from mode_opt.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("constraint", "unit", "sense", "limit", "step", "value", "multiplier")


def numbers_constraints(run: RunDirectory) -> Table | None:
    """Raw value, limit and multiplier of each constraint at each step."""
    if run.history is None or not len(run.history) or not run.constraints():
        return None
    rows: list[tuple[str | float, ...]] = []
    for name in run.constraints():
        entry = run.result.constraints.get(name)
        limit = np.nan if entry is None or entry.limit is None else entry.limit
        unit, allowed = ("" if entry is None else entry.unit), sense(run, name) or "unknown"
        columns = ("step", f"constraint/{name}", f"multiplier/{name}")
        for step, value, multiplier in zip(*(run.history.floats(column) for column in columns), strict=True):
            rows.append((name, unit, allowed, limit, float(step), float(value), float(multiplier)))
    return Table.of_rows(COLUMNS, rows)


def sense(run: RunDirectory, name: str) -> str | None:
    """``"<="`` or ``">="`` from the configuration, else from the side that is called satisfied, else None."""
    written = run.configuration.sense(name) if run.configuration is not None else None
    entry = run.result.constraints.get(name)
    if written is not None or entry is None or None in (entry.value, entry.limit, entry.satisfied):
        return written
    below = float(entry.value or 0.0) - float(entry.limit or 0.0)
    if below == 0:
        return None
    return "<=" if (below < 0) == entry.satisfied else ">="


def figure_constraints(run: RunDirectory) -> Figure | None:
    """A row a constraint: its value, the forbidden side hatched, and its multiplier if it has one."""
    numbers = numbers_constraints(run)
    if numbers is None:
        return None
    names = numbers.unique("constraint")
    multipliers = bool(np.isfinite(numbers.floats("multiplier")).any())
    figure = new_figure(height=0.4 + 2.8 * len(names))
    grid = figure.subplots(len(names), 2 if multipliers else 1, squeeze=False, sharex=True)
    for panels, name in zip(grid, names, strict=True):
        part = numbers.where("constraint", name)
        _value(panels[0], part)
        if multipliers:
            _multiplier(panels[1], part)
    for axes in grid[-1]:
        axes.set_xlabel("design step", fontsize=10.5)
    return figure


def _value(axes: Axes, part: Table) -> None:
    step, value, limit = part.floats("step"), part.floats("value"), part.floats("limit")[0]
    marker = "." if len(step) <= 40 else ""
    axes.plot(
        step,
        value,
        color=SERIES[0].colour,
        linewidth=1.6,
        marker=marker,
        label="value",
        gid="value",
        zorder=3,
    )
    shown = np.append(value, limit)
    shown = shown[np.isfinite(shown)]
    if len(shown):
        margin = 0.12 * (shown.max() - shown.min()) or 0.03 * abs(shown[0]) or 1.0
        bottom, top = float(shown.min() - margin), float(shown.max() + margin)
        axes.set_ylim(bottom, top)
        if np.isfinite(limit):
            _limit(axes, float(limit), part.words("sense")[0], (bottom, top))
    axes.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    dress(axes, None, axis_label(part.words("constraint")[0], part.words("unit")[0]))


def _limit(axes: Axes, limit: float, allowed: str, span: tuple[float, float]) -> None:
    sign = {"<=": "≤ ", ">=": "≥ "}.get(allowed, "")
    axes.axhline(limit, color=SERIES[1].colour, linestyle="--", linewidth=1.5, label=f"limit {sign}{limit:g}", zorder=4)
    if allowed in ("<=", ">="):
        edges = (limit, span[1]) if allowed == "<=" else (span[0], limit)
        axes.axhspan(*edges, facecolor="none", edgecolor="#C0C0C0", hatch="////", linewidth=0, zorder=0)
        axes.set_ylim(*span)


def _multiplier(axes: Axes, part: Table) -> None:
    values = part.floats("multiplier")
    if np.isfinite(values).any():
        axes.plot(part.floats("step"), values, color=INK, linewidth=1.5, linestyle="-.", gid="multiplier")
        dress(axes, None, f"multiplier of {axis_label(part.words('constraint')[0])}")
    else:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no multiplier", ha="center", color=GREY, transform=axes.transAxes)
