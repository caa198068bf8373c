"""Objective against simulator calls and seconds, for several estimators and searches with several seeds each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mode_opt.errors import DataError
from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.style import SERIES, Look, axis_label, dress, legend_above, new_figure, plain
from mode_opt.report.table import Table, read_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDED = ("gradient", "seed", "status", "directory", "simulator_calls", "seconds", "final", "final_standard_error")
WORDS = ("gradient", "status", "directory", "message")
COLUMNS = ("gradient", "against", "position", "median", "lowest", "highest", "runs", "quantity")
AXES = {"simulator_calls": "simulator calls (simulated events)", "seconds": "wall time of the optimisation [s]"}
OWN = "own estimate"
GRID = 200
ENOUGH = 5  # validations that make a curve
PIXELS_PER_INCH = 170

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def write_comparison(directory: Path) -> Path | None:
    """Draw ``compare.csv`` and the histories of its runs into ``figures/compare.png``, ``.pdf`` and ``.csv``.

    Raises:
        DataError: if a table is missing or corrupt.
    """
    directory = Path(directory)
    runs = read_table(directory / "compare.csv", NEEDED, WORDS)
    numbers = numbers_comparison(directory, runs)
    if numbers is None:
        return None
    folder = directory / "figures"
    folder.mkdir(exist_ok=True)
    figure, picture = figure_comparison(numbers, runs, _objective(directory, runs)), folder / "compare.png"
    figure.savefig(picture, dpi=PIXELS_PER_INCH, metadata={"Software": None})
    figure.savefig(picture.with_suffix(".pdf"), metadata={"CreationDate": None})
    numbers.write(folder / "compare.csv")
    return picture


def numbers_comparison(directory: Path, runs: Table) -> Table | None:
    """Median, lowest and highest objective over the seeds of each method, at common positions.

    The objective is that of the validations if every run has at least `ENOUGH`, else that of the single design steps.
    A search steps from candidate to candidate, and what counts is its answer: of runs without a gradient it is the
    validations; where they are fewer, the search's own estimate of its answer (``best_value``, or the objective of a
    local model), if it makes one; and the verified final design alone if there is neither. Between its points a run is
    interpolated; one that stopped keeps its last value from there on. The positions begin where the last of the seeds
    begins.
    """
    found = {name: _histories(directory, runs.where("gradient", name)) for name in runs.unique("gradient")}
    every = [history for histories in found.values() for history in histories]
    if not every:
        return None
    descents = [history for history in every if not _searched(history)]
    enough = all(np.isfinite(history.floats("validation")).sum() >= ENOUGH for history in descents)
    rows: list[tuple[str | float, ...]] = []
    for name, histories in found.items():
        column, shown = _quantity(histories, enough)
        for against in AXES:
            curves = [_curve(history, against, column) for history in histories]
            rows += [(name, against, *row, shown) for row in _band([curve for curve in curves if len(curve[0])])]
    return Table.of_rows(COLUMNS, rows) if rows or np.isfinite(runs.floats("final")).any() else None


def _histories(directory: Path, runs: Table) -> list[Table]:
    found = []
    for name in runs.words("directory"):
        try:
            history = RunDirectory(directory / name).history
        except DataError:  # a run that failed before it wrote anything; the table names it
            continue
        if history is not None and len(history):
            found.append(history)
    return found


def _quantity(histories: list[Table], enough: bool) -> tuple[str, str]:
    """The column of the histories of one method that is shown, and what it is."""
    if not all(_searched(history) for history in histories):
        return ("validation", "validation") if enough else ("objective", "each step")
    if any(np.isfinite(history.floats("validation")).sum() < ENOUGH for history in histories):
        own = {"best_value": "best_value", "predicted_gain": "objective"}  # a local model makes promises
        for column, value in own.items():
            if all(column in history for history in histories):
                return value, OWN
    return "validation", "validation"


def _searched(history: Table) -> bool:
    """Whether no gradient moved the design."""
    return not np.isfinite(history.floats("gradient_norm")).any()


def _curve(history: Table, against: str, column: str) -> Curve:
    position, value = history.floats(against), history.floats(column)
    known = np.isfinite(position) & np.isfinite(value)
    return position[known], value[known]


def _band(curves: list[Curve]) -> list[tuple[float, ...]]:
    if not curves:
        return []
    begin, end = max(float(x[0]) for x, _ in curves), max(float(x[-1]) for x, _ in curves)
    grid = np.linspace(begin, max(begin, end), GRID)
    values = np.stack([np.interp(grid, x, y) for x, y in curves])
    columns = (grid, np.median(values, 0), values.min(0), values.max(0), np.full(GRID, len(curves)))
    return [tuple(float(cell) for cell in row) for row in zip(*columns, strict=True)]


def figure_comparison(numbers: Table, runs: Table, objective: str = "objective") -> Figure:
    """Left against simulator calls, right against seconds: median line, band over all seeds.

    The points at the end are the verified objectives of the final designs of the runs, on fresh events.
    """
    figure = new_figure(height=4.2, width=9.5)
    for axes, (against, label) in zip(figure.subplots(1, 2, sharey=True), AXES.items(), strict=True):
        for index, name in enumerate(runs.unique("gradient")):
            look = SERIES[index % len(SERIES)]
            drawn = _line(axes, numbers.where("gradient", name).where("against", against), name, look)
            _final(axes, runs.where("gradient", name), against, look, None if drawn else _label(name))
        dress(axes, label, axis_label(objective) if against == "simulator_calls" else None)
    figure.axes[0].ticklabel_format(axis="x", style="sci", scilimits=(-3, 5), useMathText=True)
    legend_above(figure, 3)
    if len(numbers) and OWN in numbers.unique("quantity"):
        for legend in figure.legends:
            legend.set_title(f"* {OWN} of the search; points at the end are verified")
            legend.get_title().set_fontsize(9.5)
    return figure


def _label(name: str) -> str:
    return plain(name.replace("_", " "), 34)


def _line(axes: Axes, part: Table, name: str, look: Look) -> bool:
    """Whether there was anything to draw."""
    if not len(part):
        return False
    position = part.floats("position")
    runs = int(part.floats("runs")[0])
    own = "*" if part.words("quantity")[0] == OWN else ""
    label = f"{_label(name)} ({runs} seed{'s' if runs > 1 else ''}){own}"
    axes.plot(position, part.floats("median"), color=look.colour, linestyle=look.line, label=label, gid=name)
    low, high = part.floats("lowest"), part.floats("highest")
    axes.fill_between(position, low, high, color=look.colour, alpha=0.2, linewidth=0)
    return True


def _final(axes: Axes, runs: Table, against: str, look: Look, label: str | None) -> None:
    known = np.isfinite(runs.floats("final"))
    if known.any():
        part = runs.rows(known)
        values, errors = part.floats("final"), part.floats("final_standard_error")
        axes.errorbar(part.floats(against), values, errors, linestyle="none", label=label, **look.points(4.5))


def _objective(directory: Path, runs: Table) -> str:
    for name in runs.words("directory"):
        try:
            return RunDirectory(directory / name).result.objective or "objective"
        except DataError:
            continue
    return "objective"
