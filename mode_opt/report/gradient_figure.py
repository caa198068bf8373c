"""Gradient estimators against the reference, and how efficient each is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mode_opt.report.style import BAND, GREY, INK, SERIES, Look, axis_label, dress, new_figure, plain
from mode_opt.report.table import Table, read_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORDS = ("estimator", "verdict", "parameter", "unit", "heavy_tails", "words")
NEEDED = ("estimator", "verdict", "parameter", "gradient", "standard_error", "reference", "efficiency")
PANELS = 5
"""Parameters with a panel of their own; of more, the deviations from the reference are drawn in one panel."""
PIXELS_PER_INCH = 170


def write_gradients(directory: Path) -> list[Path]:
    """Draw ``gradients.csv`` of a directory into ``figures/gradients.png`` and ``.pdf``; nothing if it has no numbers.

    Raises:
        DataError: if the table is missing or corrupt.
    """
    table = read_table(Path(directory) / "gradients.csv", NEEDED, WORDS)
    figure, folder = figure_gradients(table), Path(directory) / "figures"
    if figure is None:
        return []
    folder.mkdir(exist_ok=True)
    paths = [folder / "gradients.png", folder / "gradients.pdf"]
    figure.savefig(paths[0], dpi=PIXELS_PER_INCH, metadata={"Software": None})
    figure.savefig(paths[1], metadata={"CreationDate": None})
    return paths


def figure_gradients(table: Table) -> Figure | None:
    """A panel for each parameter, means with standard errors against the band of the reference; then efficiencies.

    With more than `PANELS` parameters: the deviation from the reference in combined errors, for each parameter.
    Estimators without numbers (refused, failed) are left out; None if there are no others.
    """
    measured = table.rows(np.isfinite(table.floats("gradient")))
    estimators, parameters = measured.unique("estimator"), measured.unique("parameter")
    if not estimators:
        return None
    rows = len(estimators)
    if len(parameters) > PANELS:
        figure = new_figure(height=5.6 + 0.26 * rows)
        top, bottom = figure.subplots(2, 1, height_ratios=(3.4, 0.6 + 0.26 * rows))
        _pulls(top, measured, estimators, parameters)
        _efficiencies(bottom, measured, estimators)
        return figure
    columns = min(len(parameters) + 1, 3)
    lines = -(-(len(parameters) + 1) // columns)
    figure = new_figure(height=lines * (1.3 + 0.3 * rows), width=1.6 + 3.1 * columns)
    grid = list(figure.subplots(lines, columns, squeeze=False, sharey=True).flat)
    for axes, parameter in zip(grid, parameters, strict=False):
        _parameter(axes, measured.where("parameter", parameter), estimators)
    _efficiencies(grid[len(parameters)], measured, estimators)
    for axes in grid[len(parameters) + 1 :]:
        axes.set_visible(False)
    return figure


def _look(index: int) -> Look:
    return SERIES[index % len(SERIES)]


def _label(table: Table, estimator: str) -> str:
    part = table.where("estimator", estimator)
    mark = {"biased": " (biased)", "cannot tell": " (?)"}.get(part.words("verdict")[0], "")
    tails = " (heavy tails)" if "heavy_tails" in part and part.words("heavy_tails")[0] == "yes" else ""
    return plain(estimator.replace("_", " "), 34) + mark + tails


def _names(axes: Axes, table: Table, estimators: list[str]) -> None:
    axes.set_yticks(range(len(estimators)), [_label(table, name) for name in estimators])
    axes.set_ylim(len(estimators) - 0.4, -0.6)
    axes.tick_params(axis="y", which="minor", left=False, right=False)


def _parameter(axes: Axes, table: Table, estimators: list[str]) -> None:
    reference = float(table.floats("reference")[0])
    error = float(np.nan_to_num(table.floats("reference_standard_error")[0]))
    axes.axvspan(reference - error, reference + error, color=BAND, zorder=0, gid="band")
    axes.axvline(reference, color=GREY, linewidth=1.0, zorder=1, gid="reference")
    for index, name in enumerate(estimators):
        row = table.where("estimator", name)
        if len(row):
            look = _look(index)
            biased = row.words("verdict")[0] == "biased"
            points = look.points() | ({"markerfacecolor": "white"} if biased else {})
            value, bar = row.floats("gradient"), row.floats("standard_error")
            axes.errorbar(value, [index], xerr=bar, linestyle="none", label=name, **points)
    unit = table.words("unit")[0] if "unit" in table else ""
    name = axis_label(table.words("parameter")[0])
    dress(axes, f"dJ/d({name})" + (f" [per {plain(unit)}]" if unit and unit != "1" else ""))
    _names(axes, table, estimators)


def _pulls(axes: Axes, table: Table, estimators: list[str], parameters: list[str]) -> None:
    axes.axhspan(-1, 1, color=BAND, zorder=0)
    axes.axhline(0.0, color=GREY, linewidth=1.0, zorder=1)
    place = {name: index for index, name in enumerate(parameters)}
    for index, name in enumerate(estimators):
        rows, look = table.where("estimator", name), _look(index)
        positions = [place[parameter] for parameter in rows.words("parameter")]
        style: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": "none", "markersize": 4}
        axes.plot(positions, rows.floats("pull"), label=_label(table, name), gid=name, **style)
    dress(axes, None, "deviation from reference [σ]")
    if len(parameters) <= 24:
        axes.set_xticks(range(len(parameters)), [axis_label(p) for p in parameters], rotation=90, fontsize=8)
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    else:
        axes.set_xlabel("number of the parameter, in the order of gradients.csv")
    axes.legend(frameon=False, fontsize=8.5, ncols=2)


def _efficiencies(axes: Axes, table: Table, estimators: list[str]) -> None:
    first = [table.where("estimator", name) for name in estimators]
    values = np.array([part.floats("efficiency")[0] for part in first])
    calls = np.array([part.floats("efficiency_calls")[0] for part in first])
    for index, value in enumerate(values):
        if np.isfinite(value):
            axes.barh(index, value, height=0.55, color=_look(index).colour, alpha=0.75)
    known = np.isfinite(calls)
    style: dict[str, Any] = {"color": INK, "marker": "|", "markersize": 14, "markeredgewidth": 2, "linestyle": "none"}
    axes.plot(calls[known], np.flatnonzero(known), gid="calls", label="per simulator call", **style)
    positive = np.concatenate([values, calls])
    positive = positive[np.isfinite(positive) & (positive > 0)]
    if len(positive):
        axes.set_xscale("log")
        axes.set_xlim(max(positive.min() / 3, 1e-8), 2.0)
    dress(axes, "efficiency 1/(variance × time)\nrelative to the best; line: 1/(variance × calls)")
    _names(axes, table, estimators)
