"""The detector drawn to scale, start design above final design."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mode_opt.report.drawing import Box, Drawing
from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.style import GREY, INK, MATERIALS, WIDTH, new_figure, plain
from mode_opt.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {"initial": "start design", "final": "final design"}
THIN = 0.02  # boxes thinner than this part of the length are also shown enlarged
ENLARGED = 8  # this many boxes
FLATTEST = 0.22  # height/width of a panel below which the transverse scale is stretched
TALLEST = 1.25


def numbers_detector(run: RunDirectory) -> Table | None:
    """The drawn boxes: two coordinates along the beam, two across it."""
    if run.drawing is None or not run.drawing.designs:
        return None
    rows = [
        (design, box.label, box.material, *box.x, *box.y)
        for design, boxes in run.drawing.designs.items()
        for box in boxes
    ]
    return Table.of_rows(("design", "label", "material", "x_low", "x_high", "y_low", "y_high"), rows)


def figure_detector(run: RunDirectory) -> Figure | None:
    """Both designs at the same scale, with an enlarged view of the first boxes where they are thin."""
    drawing = run.drawing
    if drawing is None or not drawing.designs:
        return None
    boxes = [box for shapes in drawing.designs.values() for box in shapes]
    left, right = min(b.x[0] for b in boxes), max(b.x[1] for b in boxes)
    bottom, top = min(b.y[0] for b in boxes), max(b.y[1] for b in boxes)
    length, breadth = max(right - left, 1e-9), max(top - bottom, 1e-9)
    thin = float(np.median([b.x[1] - b.x[0] for b in boxes])) < THIN * length
    to_scale = FLATTEST <= breadth / length <= TALLEST
    shape = (1.06 / 1.17) * (breadth / length if to_scale else float(np.clip(breadth / length, FLATTEST, TALLEST)))
    figure, grid = _panels(len(drawing.designs), shape, thin)
    looks = _looks(drawing)
    window, frame = _window(drawing), (bottom - 0.03 * breadth, top + 0.03 * breadth)
    for panels, (design, shapes) in zip(grid, drawing.designs.items(), strict=True):
        _view(panels[0], shapes, looks, edge=0.15 if thin else 0.8)
        panels[0].set(xlim=(left - 0.13 * length, right + 0.04 * length), ylim=frame)
        _annotate(panels[0], drawing.unit, design, (left, shapes), (bottom, top), length)
        if thin:
            _view(panels[1], shapes, looks, edge=0.6)
            panels[1].set(xlim=window, ylim=frame, yticks=[])
            panels[1].set_title(_front(shapes, drawing.unit), fontsize=9, color=GREY)
    _labels(grid, drawing.unit, to_scale)
    _legend(figure, drawing, looks)
    return figure


def _panels(rows: int, shape: float, thin: bool) -> tuple[Figure, NDArray[np.object_]]:
    """A panel of height/width ``shape`` a design; beside it one as high for the enlarged view."""
    ratio = 1.6 if shape > 0.6 else 2.3
    width = 0.87 * WIDTH * (ratio / (1 + ratio) if thin else 1)
    figure = new_figure(height=0.95 + rows * (width * shape + 0.42))
    ratios = (ratio, 1) if thin else (1,)
    grid = figure.subplots(rows, len(ratios), squeeze=False, sharex="col", width_ratios=ratios)
    for panels in grid:
        for axes, factor in zip(panels, (1.0, ratio), strict=False):
            axes.set_box_aspect(shape * factor)
    return figure, grid


def _looks(drawing: Drawing) -> dict[str, tuple[str, str]]:
    materials = dict.fromkeys(box.material for shapes in drawing.designs.values() for box in shapes)
    return {material: MATERIALS[index % len(MATERIALS)] for index, material in enumerate(materials)}


def _window(drawing: Drawing) -> tuple[float, float]:
    """The first boxes of the design in which they reach further."""
    ends = []
    for shapes in drawing.designs.values():
        ordered = sorted(shapes, key=lambda box: box.x)
        ends.append((ordered[0].x[0], ordered[min(ENLARGED, len(ordered)) - 1].x[1]))
    return min(start for start, _ in ends), max(stop for _, stop in ends)


def _front(shapes: tuple[Box, ...], unit: str) -> str:
    """Thickness of the first volumes, up to the second of a kind."""
    seen: list[str] = []
    widths = []
    for box in sorted(shapes, key=lambda box: box.x):
        if box.material in seen or len(seen) == 3:
            break
        seen.append(box.material)
        widths.append(f"{box.x[1] - box.x[0]:.3g}")
    return f"front: {' + '.join(widths)} {plain(unit)}"


def _view(axes: Axes, shapes: tuple[Box, ...], looks: dict[str, tuple[str, str]], edge: float) -> None:
    from matplotlib.patches import Rectangle

    for box in shapes:
        colour, hatch = looks[box.material]
        corner, width, height = (box.x[0], box.y[0]), box.x[1] - box.x[0], box.y[1] - box.y[0]
        # Hatching would drown thin boxes: it is left to the enlarged view and the legend.
        pattern = hatch if edge > 0.2 else ""
        patch = Rectangle(corner, width, height, facecolor=colour, edgecolor=INK, linewidth=edge, hatch=pattern)
        axes.add_patch(patch)
    axes.tick_params(labelsize=9, direction="out")
    axes.spines[["top", "right"]].set_visible(False)


def _annotate(
    axes: Axes,
    unit: str,
    design: str,
    front: tuple[float, tuple[Box, ...]],
    vertical: tuple[float, float],
    length: float,
) -> None:
    left, shapes = front
    middle, reach = sum(vertical) / 2, max(box.x[1] for box in shapes) - min(box.x[0] for box in shapes)
    head = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.8, "mutation_scale": 14}
    axes.annotate("", (left - 0.005 * length, middle), (left - 0.12 * length, middle), arrowprops=head)
    offset = 0.035 * (vertical[1] - vertical[0])
    axes.text(left - 0.065 * length, middle + offset, "beam", ha="center", va="bottom", fontsize=9)
    title = f"{NAMES[design]}: {len(shapes)} volumes, length {reach:.4g} {plain(unit)}"
    axes.set_title(title, fontsize=10, loc="left")


def _labels(grid: NDArray[np.object_], unit: str, to_scale: bool) -> None:
    across = f"across [{plain(unit)}]" + ("" if to_scale else "\n(not to scale)")
    for row, panels in enumerate(grid):
        panels[0].set_ylabel(across, fontsize=9.5)
        for axes in panels:
            axes.tick_params(labelbottom=row == len(grid) - 1)
    for axes in grid[-1]:
        axes.set_xlabel(f"along the beam [{plain(unit)}]", fontsize=9.5)


def _legend(figure: Figure, drawing: Drawing, looks: dict[str, tuple[str, str]]) -> None:
    from matplotlib.patches import Patch

    handles = []
    for material, (colour, hatch) in looks.items():
        names = dict.fromkeys(
            re.sub(r"[\s_\[\]#]*\d+\]?$", "", box.label)
            for shapes in drawing.designs.values()
            for box in shapes
            if box.material == material
        )
        names.pop("", None)
        label = f"{material} ({', '.join(names)})" if 0 < len(names) <= 3 else material
        handles.append(Patch(facecolor=colour, edgecolor=INK, hatch=hatch, linewidth=0.6, label=plain(label)))
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=min(len(handles), 4),
        frameon=False,
        fontsize=9.5,
        handlelength=2.6,
        handleheight=1.3,
    )
