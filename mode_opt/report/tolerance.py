"""The content of ``tolerance.json``, checked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mode_opt.errors import DataError
from mode_opt.report.result import Estimate, read_json


@dataclass(frozen=True)
class Sides:
    """Deviations that the loss allows and the room to the next limit, in one unit; infinite where there is none."""

    below: Estimate
    above: Estimate
    room_below: float
    room_above: float
    limit_below: str
    limit_above: str


@dataclass(frozen=True)
class ToleranceRow:
    """A parameter: its value, what it may deviate alone, and if all do."""

    name: str
    unit: str
    value: float
    sides: Sides
    spread: Estimate
    held: tuple[str, ...]


@dataclass(frozen=True)
class LimitRow:
    """A bound or constraint, and what relaxing it buys a unit and a percent."""

    words: str
    unit: str
    kind: str
    state: str
    value: float
    gain: Estimate
    gain_per_percent: Estimate
    unique: bool


@dataclass(frozen=True)
class DirectionRow:
    """A direction in half ranges: its largest components first."""

    kind: str
    held: str
    components: tuple[tuple[str, float], ...]
    curvature: Estimate
    sides: Sides


@dataclass(frozen=True)
class Line:
    """The model along a parameter or direction: ``(at, change, error)`` of J, and of designs that were measured."""

    kind: str
    name: str
    unit: str
    origin: float
    below: float
    above: float
    room_below: float
    room_above: float
    model: tuple[tuple[float, float, float], ...]
    measured: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class ToleranceReport:
    """What a run's final design tolerates."""

    method: str
    loss_percent: float
    objective: Estimate
    p_value: float | None
    adequate: bool
    designs: int
    parameters: tuple[ToleranceRow, ...]
    limits: tuple[LimitRow, ...]
    directions: tuple[DirectionRow, ...]
    lines: tuple[Line, ...]


def read_tolerance(path: Path) -> ToleranceReport:
    """Read and check ``tolerance.json``.

    Raises:
        DataError: not JSON, or something missing or of a wrong kind.
    """
    tree = read_json(path)
    try:
        fit = tree["fit"] or {"adequate": True, "designs": 0}
        p_value = tree["optimality"]["p_value"]
        return ToleranceReport(
            str(tree["method"]),
            float(tree["loss_percent"]),
            _estimate(tree["objective"]),
            None if p_value is None else float(p_value),
            bool(fit["adequate"]),
            int(fit["designs"]),
            tuple(_parameter(entry) for entry in tree["parameters"]),
            tuple(_limit(entry) for entry in tree["limits"]),
            tuple(_direction(entry) for entry in tree["directions"]),
            tuple(_line(entry) for entry in tree["profiles"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: {error!r}, expected what mode-opt tolerance writes") from None


def _infinite(value: Any) -> float:
    return math.inf if value is None else float(value)


def _estimate(entry: Mapping[str, Any]) -> Estimate:
    error = entry["standard_error"]
    return Estimate(_infinite(entry["value"]), None if error is None else float(error))


def _sides(entry: Mapping[str, Any]) -> Sides:
    below, above = entry["below"], entry["above"]
    rooms = (_infinite(below["room"]), _infinite(above["room"]))
    return Sides(
        _estimate(below["deviation"]), _estimate(above["deviation"]), *rooms, str(below["limit"]), str(above["limit"])
    )


def _parameter(entry: Mapping[str, Any]) -> ToleranceRow:
    held = tuple(str(name) for name in entry["held"])
    named = (str(entry["name"]), str(entry["unit"]), float(entry["value"]))
    return ToleranceRow(*named, _sides(entry), _estimate(entry["spread"]), held)


def _limit(entry: Mapping[str, Any]) -> LimitRow:
    words, unit, kind, state = (str(entry[key]) for key in ("words", "unit", "kind", "state"))
    gain, percent = (_estimate(entry[key]) for key in ("gain", "gain_per_percent"))
    return LimitRow(words, unit, kind, state, float(entry["value"]["value"]), gain, percent, bool(entry["unique"]))


def _direction(entry: Mapping[str, Any]) -> DirectionRow:
    components = sorted(entry["components"].items(), key=lambda item: -abs(float(item[1])))
    named = tuple((str(name), float(value)) for name, value in components)
    return DirectionRow(str(entry["kind"]), str(entry["held"]), named, _estimate(entry["curvature"]), _sides(entry))


def _line(entry: Mapping[str, Any]) -> Line:
    model = tuple(zip(*(map(float, entry[key]) for key in ("at", "change", "error")), strict=True))
    below, above, room_below, room_above = (
        _infinite(entry[key]) for key in ("below", "above", "room_below", "room_above")
    )
    measured = tuple((float(x), float(y), float(e)) for x, y, e in entry["measured"])
    kind, name, unit = (str(entry[key]) for key in ("kind", "name", "unit"))
    origin = float(entry["origin"])
    return Line(kind, name, unit, origin, below, above, room_below, room_above, model, measured)
