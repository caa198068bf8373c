"""A surrogate against the simulator that it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.style import GREY, axis_label, dress, legend_above, new_figure, percent, plain
from mode_opt.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("quantity", "bin", "relative_difference", "standard_error", "limit", "within_limit")


def numbers_surrogate(run: RunDirectory) -> Table | None:
    """Relative differences; their standard error is ``σ_reference / |reference| · |1 + difference|``.

    It holds the statistical error of the reference only. Rows without a measured difference are left out.
    """
    if run.surrogate is None:
        return None
    rows: list[tuple[str | float, ...]] = []
    for row in run.surrogate.rows:
        difference, error = row.relative_difference, np.nan
        if difference is None:
            continue
        if row.reference and row.reference_standard_error is not None:
            error = row.reference_standard_error / abs(row.reference) * abs(1 + difference)
        within = "" if row.limit is None else "yes" if abs(difference) <= row.limit else "no"
        limit = np.nan if row.limit is None else row.limit
        rows.append((row.quantity, row.bin, difference, error, limit, within))
    return Table.of_rows(COLUMNS, rows) if rows else None


def figure_surrogate(run: RunDirectory) -> Figure | None:
    """One panel a quantity: relative difference in each bin against its limit; crosses lie beyond it."""
    numbers = numbers_surrogate(run)
    if numbers is None:
        return None
    quantities = numbers.unique("quantity")
    crowded = max(len(numbers.where("quantity", quantity)) for quantity in quantities) > 6
    figure = new_figure(height=0.7 + (3.0 if crowded else 2.6) * len(quantities))
    grid = figure.subplots(len(quantities), 1, squeeze=False).flat
    for axes, quantity in zip(grid, quantities, strict=True):
        _panel(axes, numbers.where("quantity", quantity))
        dress(axes, None, f"{axis_label(quantity)}:\nsurrogate / reference − 1 [%]")
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    legend_above(figure, 3)
    return figure


def _panel(axes: Axes, part: Table) -> None:
    position, limit = np.arange(len(part), dtype=float), part.floats("limit")
    difference, error = part.floats("relative_difference"), part.floats("standard_error")
    outside = np.array([word == "no" for word in part.words("within_limit")], dtype=bool)
    axes.axhline(0, color=GREY, linewidth=0.9)
    first = True
    for centre, reach in zip(position, limit, strict=True):
        if np.isfinite(reach):
            label = "allowed" if first else None
            axes.fill_between([centre - 0.5, centre + 0.5], -reach, reach, color="#DCE9E4", linewidth=0, label=label)
            axes.hlines([-reach, reach], centre - 0.5, centre + 0.5, color="#009E73", linestyle="--", linewidth=1)
            first = False
    looks = (
        (~outside, "o", "#0072B2", "difference ± 1 σ of the reference"),
        (outside, "X", "#D55E00", "beyond the limit"),
    )
    for chosen, marker, colour, label in looks:
        if chosen.any():
            style: dict[str, Any] = {"linestyle": "none", "marker": marker, "color": colour, "markersize": 6}
            axes.errorbar(position[chosen], difference[chosen], error[chosen], label=label, capsize=2.5, **style)
    axes.set_xlim(-0.6, len(part) - 0.4)
    percent(axes)
    labels = [plain(word, 26) for word in part.words("bin")]
    turned = len(labels) * max(map(len, labels)) > 75
    axes.set_xticks(position, labels, rotation=35 if turned else 0, ha="right" if turned else "center", fontsize=9)
