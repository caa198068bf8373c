"""Objective against simulator calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.style import (
    BAND,
    FINAL,
    INITIAL,
    INK,
    THIN,
    VALIDATION,
    Look,
    axis_label,
    dress,
    legend_above,
    new_figure,
)
from mode_opt.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("series", "step", "simulator_calls", "objective", "standard_error")


def running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean over ``window`` neighbours, NaN left out.

    Towards the ends the window shrinks on both sides alike, so that a straight line stays a straight line.
    """
    count = len(values)
    means = np.full(count, np.nan)
    for index in range(count):
        half = min(window // 2, index, count - 1 - index)
        part = values[index - half : index + half + 1]
        if np.isfinite(part).any():
            means[index] = np.nanmean(part)
    return means


def smoothing_window(rows: int) -> int:
    """An odd number of steps, a twentieth of the run; 1 (no smoothing) for fewer than 12 steps."""
    return 1 if rows < 12 else 2 * max(1, rows // 40) + 1


def numbers_objective(run: RunDirectory) -> Table | None:
    """The plotted numbers.

    Series "training" (one estimate a step), "running mean" (its error is the root mean square of the errors
    of single steps in the window), "validation", and "initial" and "final", measured on fresh events.
    """
    rows = _history_rows(run) + _verified_rows(run)
    return Table.of_rows(COLUMNS, rows) if rows else None


def _history_rows(run: RunDirectory) -> list[tuple[str | float, ...]]:
    if run.history is None or not len(run.history):
        return []
    names = ("step", "simulator_calls", "objective", "objective_standard_error")
    step, calls, objective, error = (run.history.floats(name) for name in names)
    rows: list[tuple[str | float, ...]] = []
    series = [("training", objective, error)]
    window = smoothing_window(len(step))
    if window > 1:
        spread = np.sqrt(running_mean(error**2, window))
        series.append(("running mean", running_mean(objective, window), spread))
    series.append(("validation", run.history.floats("validation"), run.history.floats("validation_standard_error")))
    for name, values, errors in series:
        for row in zip(step, calls, values, errors, strict=True):
            if np.isfinite(row[2]):
                rows.append((name, *(float(cell) for cell in row)))
    return rows


def _verified_rows(run: RunDirectory) -> list[tuple[str | float, ...]]:
    calls = np.array([]) if run.history is None else run.history.floats("simulator_calls")
    last = np.nanmax(calls) if np.isfinite(calls).any() else run.result.simulator_calls
    rows: list[tuple[str | float, ...]] = []
    for name, estimate, position in (("initial", run.result.initial, 0.0), ("final", run.result.final, last)):
        if estimate is not None:
            error = np.nan if estimate.standard_error is None else estimate.standard_error
            rows.append((name, np.nan, 1.0 if position is None else float(position), estimate.value, error))
    return rows


def figure_objective(run: RunDirectory) -> Figure | None:
    """Training estimates with their error band, validation, and the verified start and final design."""
    numbers = numbers_objective(run)
    if numbers is None:
        return None
    figure = new_figure()
    axes = figure.add_subplot()
    window = smoothing_window(run.steps)
    _training(axes, numbers, window)
    calls, checks, errors = _points(numbers, "validation")
    if len(calls):
        axes.errorbar(calls, checks, errors, label="validation", linestyle="none", **VALIDATION.points(5))
    for name, look in (("initial", INITIAL), ("final", FINAL)):
        _verified(axes, numbers, name, look)
    _limits(axes, numbers)
    dress(axes, "simulator calls (simulated events)", axis_label(run.result.objective or "objective"))
    axes.ticklabel_format(axis="x", style="sci", scilimits=(-3, 5), useMathText=True)
    legend_above(figure, 3)
    return figure


def _points(numbers: Table, series: str) -> tuple[NDArray[np.float64], ...]:
    part = numbers.where("series", series)
    return part.floats("simulator_calls"), part.floats("objective"), part.floats("standard_error")


def _training(axes: Axes, numbers: Table, window: int) -> None:
    calls, values, errors = _points(numbers, "training")
    if not len(calls):
        return
    marker = "." if len(calls) <= 40 else ""
    axes.plot(calls, values, color=THIN, linewidth=0.7, marker=marker, label="training, each step", gid="training")
    smooth_calls, smooth, spread = _points(numbers, "running mean")
    if len(smooth_calls):
        axes.plot(
            smooth_calls,
            smooth,
            color=INK,
            linewidth=1.6,
            label=f"training, mean of {window} steps",
            gid="mean",
        )
    else:
        smooth_calls, smooth, spread = calls, values, errors
    if np.isfinite(spread).any():
        low, high = smooth - spread, smooth + spread
        axes.fill_between(smooth_calls, low, high, color=BAND, linewidth=0, zorder=0.5, label="±1 σ of one step")


def _verified(axes: Axes, numbers: Table, name: str, look: Look) -> None:
    calls, values, errors = _points(numbers, name)
    if len(calls):
        axes.axhline(values[0], color=look.colour, linestyle=look.line, linewidth=0.9, alpha=0.7, zorder=1)
        label = "start, fresh events" if name == "initial" else "final, fresh events"
        if np.isfinite(errors[0]):
            axes.axhspan(
                values[0] - errors[0],
                values[0] + errors[0],
                color=look.colour,
                alpha=0.2,
                linewidth=0,
                zorder=1,
            )
        style = look.points(6) | {"capsize": 5, "elinewidth": 1.6}
        axes.errorbar(calls, values, errors, label=label, linestyle="none", zorder=5, clip_on=False, **style)


def _limits(axes: Axes, numbers: Table) -> None:
    """Leave single wild training steps out of the range, nothing else; logarithmic over 1.5 decades."""
    training = numbers.where("series", "training").floats("objective")
    few = len(training) < 50
    others = numbers.rows(np.array([few or name != "training" for name in numbers.words("series")], dtype=bool))
    error = np.nan_to_num(others.floats("standard_error"))
    shown = np.concatenate([others.floats("objective") - error, others.floats("objective") + error])
    if not few:
        shown = np.concatenate([shown, np.quantile(training, [0.01, 0.99])])
    low, high = float(shown.min()), float(shown.max())
    if low > 0 and high > 30 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
    elif high > low:
        axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))


def outside(numbers: Table, axes_limits: tuple[float, float]) -> int:
    """Number of training steps beyond the vertical range."""
    values = numbers.where("series", "training").floats("objective")
    return int(((values < axes_limits[0]) | (values > axes_limits[1])).sum())
