"""Reconstruction loss and gradient norm against the design step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.style import SERIES, dress, new_figure
from mode_opt.report.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {"reconstruction_loss": "reconstruction loss", "gradient_norm": "norm of the design gradient"}


def numbers_diagnostics(run: RunDirectory) -> Table | None:
    """The step and those of the two columns that hold a number."""
    if run.history is None:
        return None
    columns = {name: run.history.floats(name) for name in LABELS if np.isfinite(run.history.floats(name)).any()}
    return Table({"step": run.history.floats("step"), **columns}) if columns else None


def figure_diagnostics(run: RunDirectory) -> Figure | None:
    """A panel for each of the two; the gradient norm on a logarithmic scale."""
    numbers = numbers_diagnostics(run)
    if numbers is None:
        return None
    names = [name for name in LABELS if name in numbers]
    figure = new_figure(height=2.7)
    step = numbers.floats("step")
    for index, (axes, name) in enumerate(zip(figure.subplots(1, len(names), squeeze=False).flat, names, strict=True)):
        values = numbers.floats(name)
        marker = "." if len(step) <= 40 else ""
        axes.plot(step, values, color=SERIES[index].colour, linewidth=1.0, marker=marker, gid=name)
        if name == "gradient_norm" and np.nanmin(values) > 0:
            axes.set_yscale("log")
        dress(axes, "design step", LABELS[name])
    return figure
