"""The front of two or three goals: what each costs in terms of the others."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mode_opt.errors import DataError
from mode_opt.report.formatting import number
from mode_opt.report.result import read_json
from mode_opt.report.style import GREY, INITIAL, SERIES, THIN, Look, axis_label, dress, legend_above, new_figure
from mode_opt.report.table import Table, read_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORDS = ("role", "minimised", "status", "directory", "message")
NEEDED = ("point", "role", "status", "on_front", "met")
PIXELS_PER_INCH = 170
TANGENT = 0.07
"""Half length of a tangent, in widths of the panel."""
FAR = 1.5
"""How far from the other points the start is still drawn, in their range."""
LONG = 40
"""Letters of a label of the legend beside which few others have room."""
BEST, BEATEN, BEYOND, START = "not dominated", "dominated", "beyond its limit", "start design"
LOOKS = {
    BEST: Look(SERIES[0].colour, "s", "-"),
    BEATEN: Look(SERIES[0].colour, "s", "-", filled=False),
    BEYOND: Look(SERIES[3].colour, "^", ":", filled=False),
    START: INITIAL,
}


@dataclass(frozen=True)
class Axis:
    """A goal: its name, which is that of its column, and the label of its axis."""

    name: str
    label: str


def write_front(directory: Path) -> Path | None:
    """Draw ``front.csv`` into ``figures/front.png``, ``.pdf`` and ``.csv``; nothing if no point has been measured.

    Raises:
        DataError: if a table is missing or corrupt.
    """
    directory = Path(directory)
    goals = axes_of(read_json(directory / "front.json"), directory / "front.json")
    numbers = numbers_front(read_front(directory), goals)
    if not len(numbers):
        return None
    folder = directory / "figures"
    folder.mkdir(exist_ok=True)
    figure, picture = figure_front(numbers, goals), folder / "front.png"
    figure.savefig(picture, dpi=PIXELS_PER_INCH, metadata={"Software": None})
    figure.savefig(picture.with_suffix(".pdf"), metadata={"CreationDate": None})
    numbers.write(folder / "front.csv")
    return picture


def read_front(directory: Path) -> Table:
    """``front.csv``; columns of the design that hold words are left out."""
    path = directory / "front.csv"
    header = path.read_text(encoding="utf-8").partition("\n")[0].split(",") if path.is_file() else []
    design = tuple(name.strip() for name in header if name.startswith("design_"))
    return read_table(path, NEEDED, (*WORDS, *design))


def axes_of(content: Mapping[str, Any], path: Path) -> list[Axis]:
    """The goals in ``front.json``."""
    try:
        goals = [(str(goal["name"]), str(goal.get("unit") or "")) for goal in content["goals"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no goals ({error!r})") from error
    return [Axis(name, axis_label(name, unit)) for name, unit in goals]


def numbers_front(points: Table, goals: Sequence[Axis]) -> Table:
    """The measured points: what they are, values, errors, and multipliers where the run has one."""
    values = np.stack([points.floats(goal.name) for goal in goals])
    part = points.rows(np.flatnonzero(np.isfinite(values).all(0)))
    columns: dict[str, Any] = {"point": part.floats("point"), "kind": np.array(_kinds(part), dtype=object)}
    for goal in goals:
        for name in (goal.name, f"{goal.name}_standard_error", f"multiplier_{goal.name}"):
            if name in part:
                columns[name] = part.floats(name)
    return Table(columns)


def _kinds(part: Table) -> list[str]:
    flags = zip(part.words("role"), part.floats("met"), part.floats("on_front"), strict=True)
    return [START if r == "start" else BEYOND if not m else BEST if f else BEATEN for r, m, f in flags]


def figure_front(numbers: Table, goals: Sequence[Axis]) -> Figure:
    """Two goals: one panel, with a line through the points that are not dominated; three goals: three projections.

    Short lines are tangents by the multipliers: what the first goal gains if the limit is relaxed.
    """
    pairs = [(b, a) for a, b in itertools.combinations(goals, 2)]
    figure = new_figure(height=4.6, width=7.5 if len(pairs) == 1 else 11.0)
    for axes, (horizontal, vertical) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        _points(axes, numbers, horizontal, vertical)
        if len(goals) == 2:
            _line(axes, numbers, horizontal, vertical)
        if vertical is goals[0]:
            _tangents(axes, numbers, horizontal, vertical)
        dress(axes, horizontal.label, vertical.label)
    labels = [label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]]
    legend_above(figure, 5 if max(map(len, labels)) < LONG else 2)
    return figure


def _points(axes: Axes, numbers: Table, horizontal: Axis, vertical: Axis) -> None:
    for kind, look in LOOKS.items():
        part = numbers.where("kind", kind)
        if not len(part):
            continue
        x, y = part.floats(horizontal.name), part.floats(vertical.name)
        if kind == START and any(_far(numbers, goal) for goal in (horizontal, vertical)):
            label = f"start design: {_place(numbers, horizontal)}, {_place(numbers, vertical)}, not shown"
            axes.plot([], [], linestyle="none", label=label, color=look.colour, marker=look.marker, fillstyle="none")
            continue
        style: dict[str, Any] = {"xerr": _bars(part, horizontal), "yerr": _bars(part, vertical), **look.points(5.5)}
        axes.errorbar(x, y, linestyle="none", label=kind, gid=kind, zorder=4 if kind == BEST else 3, **style)


def _far(numbers: Table, goal: Axis) -> bool:
    """Whether the start is so far from the other points that they would be squeezed together."""
    starts = np.array([kind == START for kind in numbers.words("kind")], dtype=bool)
    start, rest = numbers.floats(goal.name)[starts], numbers.floats(goal.name)[~starts]
    if len(rest) < 2:
        return False
    reach = FAR * float(rest.max() - rest.min())
    return bool((start > rest.max() + reach).any() or (start < rest.min() - reach).any())


def _place(numbers: Table, goal: Axis) -> str:
    return f"{goal.name.replace('_', ' ')} {number(float(numbers.where('kind', START).floats(goal.name)[0]), 3)}"


def _bars(part: Table, goal: Axis) -> NDArray[np.float64] | None:
    errors = np.nan_to_num(part.floats(f"{goal.name}_standard_error"))
    return errors if errors.any() else None


def _line(axes: Axes, numbers: Table, horizontal: Axis, vertical: Axis) -> None:
    best = np.array([kind == BEST for kind in numbers.words("kind")], dtype=bool)
    x, y = numbers.floats(horizontal.name)[best], numbers.floats(vertical.name)[best]
    order = np.argsort(x, kind="stable")
    axes.plot(x[order], y[order], color=THIN, linewidth=1.2, zorder=2, gid="front")


def _tangents(axes: Axes, numbers: Table, horizontal: Axis, vertical: Axis) -> None:
    rates = numbers.floats(f"multiplier_{horizontal.name}")
    x, y = numbers.floats(horizontal.name), numbers.floats(vertical.name)
    known = np.isfinite(rates)
    if not known.any():
        return
    axes.autoscale_view()
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for at, value, rate in zip(x[known], y[known], rates[known], strict=True):
        # Of equal length on the page, whatever the slope.
        across, up = 1 / (right - left), rate / (top - bottom)
        half = TANGENT / float(np.hypot(across, up))
        ends = np.array([-half, half])
        axes.plot(
            at + ends, value - rate * ends, color=GREY, linewidth=1.0, linestyle=(0, (3, 2)), zorder=1, gid="tangent"
        )
    axes.plot([], [], color=GREY, linewidth=1.0, linestyle=(0, (3, 2)), label="slope by the multiplier")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
