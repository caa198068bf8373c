"""Resolution and bias of the reconstruction in bins of the truth, start against final design."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.style import DESIGNS, GREY, INK, axis_label, dress, legend_above, new_figure, percent
from mode_opt.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 2  # quantities side by side
NAMES = {"initial": "start design", "final": "final design"}


def numbers_resolution(run: RunDirectory) -> Table | None:
    """Resolution of both designs and, where both were measured in a bin, final/initial as design "ratio".

    The ratio's standard error is ``r sqrt((σ_i/R_i)² + (σ_f/R_f)²)``, the two taken as independent.
    """
    numbers = _numbers(run, "resolution")
    return None if numbers is None else _with_ratio(numbers)


def numbers_bias(run: RunDirectory) -> Table | None:
    """Mean relative residual of both designs."""
    return _numbers(run, "bias")


def relative(evaluation: Table, quantity: str) -> bool:
    """Whether residuals are predicted/true - 1 rather than predicted - true.

    A column ``residual`` (relative or absolute) says so; without it residuals are relative where the truth is
    positive everywhere, the rule by which runs are evaluated.
    """
    part = evaluation.where("quantity", quantity)
    if "residual" in part:
        return part.words("residual")[0] == "relative"
    return bool((part.floats("low") > 0).all())


def _axis(run: RunDirectory, part: Table, what: str) -> tuple[str, bool]:
    quantity, unit = part.words("quantity")[0], part.words("unit")[0]
    if run.evaluation is not None and not relative(run.evaluation, quantity):
        return axis_label(f"{quantity} {what}", unit), False
    return f"relative {axis_label(quantity)} {what} [%]", True


def _numbers(run: RunDirectory, what: str) -> Table | None:
    table = run.evaluation
    if table is None or what not in table:
        return None
    table = table.rows(np.isfinite(table.floats(what)) & np.isfinite(table.floats("mean")))
    if not len(table):
        return None
    names = ("design", "quantity", "unit")
    numeric = ("low", "high", "mean", what, f"{what}_standard_error", "events")
    columns: dict[str, NDArray[np.float64] | NDArray[np.object_]] = {name: table.columns[name] for name in names}
    return Table({**columns, **{name: table.floats(name) for name in numeric}})


def _with_ratio(table: Table) -> Table:
    cells: dict[str, dict[tuple[str, float, float], tuple[float, ...]]] = {"initial": {}, "final": {}}
    numeric = ("low", "high", "mean", "resolution", "resolution_standard_error", "events")
    rows: list[tuple[str | float, ...]] = []
    columns = [table.words("design"), table.words("quantity"), table.words("unit")]
    for design, quantity, unit, *numbers in zip(*columns, *(table.floats(n).tolist() for n in numeric), strict=True):
        rows.append((design, quantity, unit, *numbers))
        cells[design][quantity, numbers[0], numbers[1]] = (*numbers,)
    units = dict(zip(columns[1], columns[2], strict=True))
    for key in cells["initial"].keys() & cells["final"].keys():
        (_, _, mean, first, first_error, events), last, last_error = (
            cells["initial"][key],
            cells["final"][key][3],
            cells["final"][key][4],
        )
        if first > 0 and last > 0:
            error = last / first * float(np.hypot(first_error / first, last_error / last))
            rows.append(("ratio", key[0], units[key[0]], *key[1:], mean, last / first, error, events))
    return Table.of_rows(tuple(table.columns), sorted(rows, key=lambda row: (row[1], row[0], row[3])))


def figure_resolution(run: RunDirectory) -> Figure | None:
    """Upper panels: resolution; lower panels: ratio of the final to the start design; one pair a quantity."""
    numbers = numbers_resolution(run)
    if numbers is None:
        return None
    quantities = numbers.unique("quantity")
    figure, stacks = _stacks(len(quantities), 4.9, (2.4, 1.0))
    for (upper, lower), quantity in zip(stacks, quantities, strict=True):
        _pair(run, upper, lower, numbers.where("quantity", quantity))
    legend_above(figure, 2)
    return figure


def _stacks(count: int, height: float, ratios: tuple[float, ...]) -> tuple[Figure, list[list[Axes]]]:
    """A figure with ``count`` stacks of panels of these relative heights, `COLUMNS` side by side."""
    columns = min(count, COLUMNS)
    rows, deep = -(-count // columns), len(ratios)
    figure = new_figure(height=0.3 + height * rows)
    grid = figure.subplots(deep * rows, columns, squeeze=False, height_ratios=ratios * rows)
    stacks = [list(grid[deep * row : deep * (row + 1), i]) for row in range(rows) for i in range(columns)]
    for axes in chain.from_iterable(stacks[count:]):
        axes.set_visible(False)
    return figure, stacks[:count]


def _pair(run: RunDirectory, upper: Axes, lower: Axes, part: Table) -> None:
    label, in_percent = _axis(run, part, "resolution")
    lower.sharex(upper)
    _draw(upper, part, "resolution", in_percent)
    upper.set_ylim(bottom=0.0)
    dress(upper, None, label)
    _ratio(lower, part.where("design", "ratio"))
    dress(lower, axis_label(f"true {part.words('quantity')[0]}", part.words("unit")[0]), "final / start")
    _horizontal_scale(lower, part)
    upper.tick_params(which="both", labelbottom=False)


def figure_bias(run: RunDirectory) -> Figure | None:
    """Mean residual against the truth; one panel a quantity."""
    numbers = numbers_bias(run)
    if numbers is None:
        return None
    quantities = numbers.unique("quantity")
    figure, stacks = _stacks(len(quantities), 3.1, (1.0,))
    for (axes,), quantity in zip(stacks, quantities, strict=True):
        part = numbers.where("quantity", quantity)
        label, in_percent = _axis(run, part, "bias")
        axes.axhline(0, color=GREY, linewidth=0.9)
        _draw(axes, part, "bias", in_percent)
        dress(axes, axis_label(f"true {quantity}", part.words("unit")[0]), label)
        _horizontal_scale(axes, part)
    legend_above(figure, 2)
    return figure


def _draw(axes: Axes, part: Table, what: str, in_percent: bool) -> None:
    for design, look in DESIGNS.items():
        points = part.where("design", design)
        if not len(points):
            continue
        mean, values = points.floats("mean"), points.floats(what)
        width = [
            np.clip(mean - points.floats("low"), 0, None),
            np.clip(points.floats("high") - mean, 0, None),
        ]
        bins: dict[str, Any] = {"linestyle": "none", "color": look.colour, "elinewidth": 0.9, "alpha": 0.75}
        axes.errorbar(mean, values, xerr=width, **bins)
        errors = points.floats(f"{what}_standard_error")
        axes.errorbar(mean, values, errors, linestyle="none", label=NAMES[design], **look.points(6))
    if in_percent:
        percent(axes)


def _ratio(axes: Axes, points: Table) -> None:
    axes.axhline(1, color=GREY, linewidth=0.9)
    if not len(points):
        axes.text(
            0.5,
            0.5,
            "no bin with both designs",
            ha="center",
            va="center",
            transform=axes.transAxes,
            color=GREY,
        )
        return
    errors = points.floats("resolution_standard_error")
    values = points.floats("resolution")
    axes.errorbar(
        points.floats("mean"),
        values,
        errors,
        linestyle="none",
        marker="o",
        color=INK,
        capsize=2.5,
        markersize=4.5,
    )
    reach = np.concatenate([values - np.nan_to_num(errors), values + np.nan_to_num(errors), [1.0]])
    margin = 0.12 * (reach.max() - reach.min()) or 0.1
    axes.set_ylim(max(0.0, reach.min() - margin), reach.max() + margin)


def _horizontal_scale(axes: Axes, part: Table) -> None:
    """Logarithmic if the truth spans a decade; ticks at 1, 2, 5 with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ends = np.concatenate([part.floats(name) for name in ("low", "high", "mean")])
    low, high = np.nanmin(ends), np.nanmax(ends)
    if not (low > 0 and high >= 10 * low):
        return
    axes.set_xscale("log")
    axes.set_xlim(0.85 * low, 1.15 * high)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
