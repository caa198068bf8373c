"""The content of ``drawing.json`` and ``surrogate.json``, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mode_opt.errors import DataError
from mode_opt.report.result import read_json


@dataclass(frozen=True)
class Box:
    """A rectangle in the plane of the drawing: ``x`` along the beam, ``y`` across it."""

    x: tuple[float, float]
    y: tuple[float, float]
    material: str
    label: str


@dataclass(frozen=True)
class Drawing:
    """The detector before and after.

    Attributes:
        unit: of all coordinates.
        designs: boxes of "initial" and "final"; a design that is not drawn is absent.
    """

    unit: str
    designs: Mapping[str, tuple[Box, ...]]


@dataclass(frozen=True)
class SurrogateRow:
    """One quantity in one bin, None where not measured; ``surrogate/reference - 1`` is the difference."""

    quantity: str
    bin: str
    reference: float | None
    reference_standard_error: float | None
    surrogate: float | None
    relative_difference: float | None
    limit: float | None


@dataclass(frozen=True)
class SurrogateValidation:
    """How well a surrogate reproduces its simulator."""

    title: str
    rows: tuple[SurrogateRow, ...]
    notes: tuple[str, ...]


def read_drawing(path: Path) -> Drawing:
    """Read and check ``drawing.json``.

    Raises:
        DataError: not JSON, a shape of unknown kind, or coordinates that are not two ascending numbers.
    """
    tree = read_json(path)
    designs = {}
    for name in ("initial", "final"):
        shapes = tree.get(name) or []
        if not isinstance(shapes, list):
            raise DataError(f"{path}: {name} is {shapes!r}, expected a list of shapes")
        if shapes:
            designs[name] = tuple(_box(path, f"{name}[{index}]", shape) for index, shape in enumerate(shapes))
    return Drawing(str(tree.get("unit", "mm")), designs)


def _box(path: Path, where: str, shape: Any) -> Box:
    if not isinstance(shape, Mapping) or shape.get("kind") != "box":
        kind = shape.get("kind") if isinstance(shape, Mapping) else shape
        raise DataError(f"{path}: {where} has kind {kind!r}, expected 'box'")
    material = str(shape.get("material", "unknown material"))
    return Box(
        _interval(path, f"{where}.x", shape.get("x")),
        _interval(path, f"{where}.y", shape.get("y")),
        material,
        str(shape.get("label", "")),
    )


def _interval(path: Path, where: str, pair: Any) -> tuple[float, float]:
    numbers = [v for v in pair if _number(v) is not None] if isinstance(pair, list) else []
    if len(numbers) != 2 or len(pair) != 2 or not numbers[0] <= numbers[1]:
        raise DataError(f"{path}: {where} is {pair!r}, expected two ascending numbers")
    return float(numbers[0]), float(numbers[1])


def read_surrogate(path: Path) -> SurrogateValidation:
    """Read and check ``surrogate.json``.

    Raises:
        DataError: not JSON, or rows that are not mappings with a quantity.
    """
    tree = read_json(path)
    rows = tree.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) and "quantity" in row for row in rows):
        raise DataError(f"{path}: rows is {str(rows)[:80]!r}, expected a list of mappings with a quantity")
    notes = tree.get("notes") or []
    return SurrogateValidation(
        str(tree.get("title", "Surrogate against simulator")),
        tuple(_row(row) for row in rows),
        tuple(str(note) for note in ([notes] if isinstance(notes, str) else notes)),
    )


def _row(row: Mapping[str, Any]) -> SurrogateRow:
    names = ("reference", "reference_standard_error", "surrogate", "relative_difference", "limit")
    return SurrogateRow(str(row["quantity"]), str(row.get("bin", "all")), **{n: _number(row.get(n)) for n in names})


def _number(value: Any) -> float | None:
    finite = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    return float(value) if finite else None
