"""How the optimisation ran, against the design step: learning, gradient, trust region, failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mode_opt.report.promise_figure import numbers_promises
from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.style import INK, SERIES, dress, new_figure
from mode_opt.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {
    "reconstruction_loss": "reconstruction loss",
    "gradient_norm": "norm of the design gradient",
    "radius": "radius of the trust region",
    "predicted_gain": "predicted gain",
    "actual_gain": "actual gain",
    "surrogate_calibration": "calibration of the surrogate",
    "failed_designs": "designs that failed",
}
"""Columns of the history that are shown, with their words; not every method has every one."""

LOGARITHMIC = ("gradient_norm", "radius")
GAINS = ("predicted_gain", "actual_gain")
GENERAL = ("reconstruction_loss", "gradient_norm", "surrogate_calibration")
"""What remains to be shown where promises have a figure of their own."""
ROW = 3
"""Panels side by side, at most."""


def numbers_diagnostics(run: RunDirectory) -> Table | None:
    """The step and those of the columns that hold a number, gains with their standard errors."""
    if run.history is None:
        return None
    parameters = set(run.result.design)  # one of these may bear such a name
    wanted = [*LABELS, *(f"{name}_standard_error" for name in GAINS)]
    hidden = parameters if numbers_promises(run) is None else {*parameters, *wanted} - set(GENERAL)
    columns = {name: run.history.floats(name) for name in wanted if name not in hidden}
    columns = {name: values for name, values in columns.items() if np.isfinite(values).any()}
    return Table({"step": run.history.floats("step"), **columns}) if columns else None


def figure_diagnostics(run: RunDirectory) -> Figure | None:
    """A panel for each, predicted and actual gain in one; norms and radii on a logarithmic scale."""
    numbers = numbers_diagnostics(run)
    if numbers is None:
        return None
    panels = _panels(numbers)
    rows = -(-len(panels) // ROW)
    figure = new_figure(height=2.7 * rows)
    grid = figure.subplots(rows, min(len(panels), ROW), squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for index, (axes, names) in enumerate(zip(grid.flat, panels, strict=False)):
        for name in names:
            _line(axes, numbers, name, SERIES[(index + names.index(name)) % len(SERIES)].colour)
        if len(names) > 1:
            axes.axhline(0.0, color=INK, linewidth=0.6)
            axes.legend(fontsize="x-small", frameon=False)
        dress(axes, "design step", LABELS[names[0]] if len(names) == 1 else "gain of a step")
    return figure


def _panels(numbers: Table) -> list[list[str]]:
    names = [name for name in LABELS if name in numbers]
    gains = [name for name in names if name in GAINS]
    alone = [[name] for name in names if name not in gains]
    return [*alone, gains] if gains else alone


def _line(axes: Axes, numbers: Table, name: str, colour: str) -> None:
    step, values = numbers.floats("step"), numbers.floats(name)
    known = np.isfinite(values)  # measured in some steps only, perhaps
    marker = "." if known.sum() <= 40 else ""
    axes.plot(step[known], values[known], color=colour, linewidth=1.0, marker=marker, gid=name, label=LABELS[name])
    if f"{name}_standard_error" in numbers:
        error = numbers.floats(f"{name}_standard_error")[known]
        low, high = values[known] - error, values[known] + error
        axes.fill_between(step[known], low, high, color=colour, alpha=0.2, linewidth=0)
    if name in LOGARITHMIC and np.nanmin(values) > 0:
        axes.set_yscale("log")
