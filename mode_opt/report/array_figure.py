"""Array design parameters: all elements against the step, and their first and last profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.style import FINAL, INITIAL, Look, axis_label, dress, new_figure
from mode_opt.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
STEPS = 300  # a map shows no more steps than it has pixels


def numbers_arrays(run: RunDirectory) -> Table | None:
    """Value of each element at each step (evenly thinned to 300 steps, first and last kept)."""
    if run.history is None or not len(run.history) or not run.arrays():
        return None
    kept = np.unique(np.linspace(0, len(run.history) - 1, min(STEPS, len(run.history))).round().astype(np.intp))
    history = run.history.rows(kept)
    step = history.floats("step")
    rows: list[tuple[str | float, ...]] = []
    for name, columns in run.arrays().items():
        unit = run.result.unit(name)
        for index, column in enumerate(columns):
            for at, value in zip(step, history.floats(column), strict=True):
                rows.append((name, unit, float(index), float(at), float(value)))
    return Table.of_rows(("parameter", "unit", "index", "step", "value"), rows)


def figure_arrays(run: RunDirectory) -> Figure | None:
    """For each array a map of the elements against the step and the profiles of the first and last step."""
    numbers = numbers_arrays(run)
    if numbers is None:
        return None
    names = numbers.unique("parameter")
    figure = new_figure(height=0.5 + 3.3 * len(names))
    grid = figure.subplots(len(names), 2, squeeze=False, width_ratios=(1.25, 1))
    for (left, right), name in zip(grid, names, strict=True):
        part = numbers.where("parameter", name)
        step = np.unique(part.floats("step"))
        values = part.floats("value").reshape(-1, len(step))
        label = axis_label(name, part.words("unit")[0])
        index = np.arange(len(values), dtype=np.float64)
        _heat_map(left, step, index, values, label)
        for look, column, series in ((INITIAL, 0, "first step"), (FINAL, -1, "last step")):
            _profile(right, index, values[:, column], look, series)
        right.legend(frameon=False, fontsize=9)
        dress(right, "index", label)
    return figure


def _heat_map(axes: Axes, step: Floats, index: Floats, values: Floats, label: str) -> None:
    if len(step) == 1:  # a cell needs a width
        step, values = np.array([step[0] - 0.25, step[0] + 0.25]), np.repeat(values, 2, axis=1)
    mesh = axes.pcolormesh(step, index, values, cmap="cividis", rasterized=True, gid="map")
    dress(axes, "design step", "index")
    axes.set_title(label, fontsize=10.5)
    axes.figure.colorbar(mesh, ax=axes)


def _profile(axes: Axes, index: Floats, values: Floats, look: Look, series: str) -> None:
    style = look.points(3.5)
    del style["capsize"], style["elinewidth"]
    style["markeredgewidth"] = 0.9
    axes.plot(index, values, linestyle=look.line, linewidth=1.1, label=series, gid=series, **style)
