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
NEEDED = ("estimator", "verdict", "parameter", "gradient", "standard_error", "reference", "scale", "efficiency")
PANELS = 5
"""Parameters with a panel of their own; of more, each estimator has a panel with all of them."""
BANDS = "line and band: reference and its standard error"
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

    With more than `PANELS` parameters: a panel for each estimator, its gradient over the number of the parameter.
    Estimators without numbers (refused, failed) are left out; None if there are no others.
    """
    measured = table.rows(np.isfinite(table.floats("gradient")))
    estimators, parameters = measured.unique("estimator"), measured.unique("parameter")
    if not estimators:
        return None
    if len(parameters) > PANELS:
        return _profiles(measured, estimators, parameters)
    rows, columns = len(estimators), min(len(parameters) + 1, 3)
    lines = -(-(len(parameters) + 1) // columns)
    figure = new_figure(height=lines * (1.3 + 0.3 * rows), width=1.9 + 3.1 * columns)
    grid = list(figure.subplots(lines, columns, squeeze=False, sharey=True).flat)
    for axes, parameter in zip(grid, parameters, strict=False):
        _parameter(axes, measured.where("parameter", parameter), estimators)
        _names(axes, measured, estimators)
    _efficiencies(grid[len(parameters)], measured, estimators)
    for axes in grid[len(parameters) + 1 :]:
        axes.set_visible(False)
    figure.suptitle(f"points: mean of the batches, standard error; {BANDS}", fontsize=9.5, color=INK)
    return figure


def _profiles(table: Table, estimators: list[str], parameters: list[str]) -> Figure:
    """For each estimator a panel with the gradient over the parameters, all on one scale; then the efficiencies."""
    count = len(estimators)
    lines = -(-count // 2)
    below = 0.6 + 0.24 * count
    figure = new_figure(height=1.2 + 1.3 * lines + below, width=9.5)
    places = figure.add_gridspec(lines + 1, 2, height_ratios=[1.3] * lines + [below])
    units = set(table.words("unit"))
    limits = _range(table.where("estimator", estimators[0]), len(units) == 1)
    for index, name in enumerate(estimators):
        axes = figure.add_subplot(places[index // 2, index % 2])
        _profile(axes, table.where("estimator", name), parameters, _look(index), len(units) == 1)
        axes.set(ylim=limits, xlim=(-0.8, len(parameters) - 0.2))
        axes.set_title(_label(table, name), fontsize=9.5, loc="left", pad=3)
        axes.tick_params(labelbottom=index >= count - 2, labelleft=index % 2 == 0)
        if index >= count - 2:
            axes.set_xlabel("number of the parameter (from 0)", fontsize=10)
    unit = next(iter(units))
    per = f" [per {plain(unit)}]" if unit not in ("", "1") else ""
    what = f"gradient{per}" if len(units) == 1 else "gradient / its typical size"
    words = f"{what}. Points: mean of the batches, standard error; {BANDS};\ntriangles: outside the frame"
    figure.suptitle(words, fontsize=9.5, color=INK)
    _efficiencies(figure.add_subplot(places[lines, :]), table, estimators)
    return figure


def _profile(axes: Axes, rows: Table, parameters: list[str], look: Look, alike: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    place = np.array([parameters.index(parameter) for parameter in rows.words("parameter")])
    size = np.ones(len(rows)) if alike else rows.floats("scale")
    reference, error = rows.floats("reference") / size, rows.floats("reference_standard_error") / size
    error = np.nan_to_num(error)
    axes.bar(place, 2 * error, bottom=reference - error, width=1.0, color=BAND, zorder=0, gid="band")
    axes.hlines(reference, place - 0.5, place + 0.5, color=GREY, linewidth=1.2, zorder=1)
    value, bar = rows.floats("gradient") / size, rows.floats("standard_error") / size
    style = look.points(3.5) | {"capsize": 1.5, "elinewidth": 1.0, "markeredgewidth": 1.0}
    axes.errorbar(place, value, yerr=bar, linestyle="none", label="gradient", gid="gradient", **style)
    dress(axes)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    low, high = _range(rows, alike)
    for beyond, edge, marker in ((value > high, high, "^"), (value < low, low, "v")):
        if beyond.any():
            where = np.full(int(beyond.sum()), edge)
            axes.plot(place[beyond], where, marker, color=look.colour, markersize=6, clip_on=False, gid="beyond")


def _range(rows: Table, alike: bool) -> tuple[float, float]:
    """The frame of all panels: twice the spread of the reference around its middle, zero included."""
    reference = rows.floats("reference") / (1.0 if alike else rows.floats("scale"))
    low, high = min(float(reference.min()), 0.0), max(float(reference.max()), 0.0)
    margin = 0.6 * (high - low or 1.0)
    return low - margin, high + margin


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
    from matplotlib.ticker import MaxNLocator

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
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))


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
    dress(axes, "efficiency relative to the best\nbar: 1/(variance × time)\nline: 1/(variance × calls)")
    _names(axes, table, estimators)
