"""The content of ``result.json``, checked."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mode_opt.errors import DataError
from mode_opt.report.table import read_text

Value = float | str | list[float] | list[str]


@dataclass(frozen=True)
class Estimate:
    """A measured number and its standard error (None if that was not measured)."""

    value: float
    standard_error: float | None = None


@dataclass(frozen=True)
class ParameterResult:
    """First and last value of a design parameter; None where there is none."""

    initial: Value | None
    final: Value | None
    unit: str


@dataclass(frozen=True)
class ConstraintResult:
    """Value of a constrained quantity at the final design."""

    value: float | None
    limit: float | None
    unit: str
    satisfied: bool | None


@dataclass(frozen=True)
class Note:
    """What a run had to tell in words, and how often."""

    text: str
    count: int = 1


@dataclass(frozen=True)
class Result:
    """What a run found; None and empty mappings stand for what it did not measure.

    Attributes:
        improvement: paired difference of the objective, initial - final (positive: the final one is better).
        parts: estimates ``initial``, ``final`` and ``improvement`` of each objective that it is made of, by name.
        message: why a run failed, if it says so.
        gradient_warning: what a check of the gradient estimator found, if that is alarming.
        gradient_reason: why the method was chosen, if that was left to mode_opt.
        notes: what the run had to tell, each once.
    """

    detector: str
    status: str
    gradient: str | None = None
    seed: int | None = None
    simulator_calls: float | None = None
    wall_seconds: float | None = None
    objective: str | None = None
    initial: Estimate | None = None
    final: Estimate | None = None
    improvement: Estimate | None = None
    parts: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    design: Mapping[str, ParameterResult] = field(default_factory=dict)
    constraints: Mapping[str, ConstraintResult] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    message: str | None = None
    gradient_warning: str | None = None
    gradient_reason: str | None = None
    notes: tuple[Note, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.status == "finished"

    def unit(self, parameter: str) -> str:
        """Unit of a parameter, empty if it is not known."""
        return self.design[parameter].unit if parameter in self.design else ""


class _Reader:
    """Takes values of the expected kind out of nested mappings; a None, a NaN or a missing key is absent."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, key: str, value: object, expected: str) -> DataError:
        return DataError(f"{self.path}: {key} is {value!r}, expected {expected}")

    def mapping(self, tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        value = tree.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.fail(key, value, "a mapping")
        return value

    def number(self, tree: Mapping[str, Any], key: str, where: str = "") -> float | None:
        value = tree.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail(where + key, value, "a number")
        return float(value) if math.isfinite(value) else None

    def word(self, tree: Mapping[str, Any], key: str) -> str | None:
        value = tree.get(key)
        return None if value is None else str(value)

    def estimate(self, tree: Mapping[str, Any], key: str) -> Estimate | None:
        branch = self.mapping(tree, key)
        value = self.number(branch, "value", f"objective.{key}.")
        error = self.number(branch, "standard_error", f"objective.{key}.")
        return None if value is None else Estimate(value, error)

    def value(self, tree: Mapping[str, Any], key: str, where: str) -> Value | None:
        value = tree.get(key)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            if all(isinstance(item, str) for item in value):
                return value
            return [math.nan if (x := self.number({where + key: v}, where + key)) is None else x for v in value]
        return self.number(tree, key, where)


def read_result(path: Path) -> Result:
    """Read and check ``result.json``.

    Raises:
        DataError: file missing, not JSON (truncated or corrupt), without detector or status, or with a
            value of the wrong kind.
    """
    tree, reader = read_json(path), _Reader(path)
    for key in ("detector", "status"):
        if not isinstance(tree.get(key), str):
            raise reader.fail(key, tree.get(key), "a word (every run writes it)")
    seed, objective = reader.number(tree, "seed"), reader.mapping(tree, "objective")
    return Result(
        detector=tree["detector"],
        status=tree["status"],
        gradient=reader.word(tree, "gradient"),
        seed=None if seed is None else int(seed),
        simulator_calls=reader.number(tree, "simulator_calls"),
        wall_seconds=reader.number(tree, "wall_seconds"),
        objective=reader.word(objective, "name"),
        initial=reader.estimate(objective, "initial"),
        final=reader.estimate(objective, "final"),
        improvement=reader.estimate(objective, "improvement"),
        parts=_parts(reader, reader.mapping(objective, "parts")),
        design=_design(reader, reader.mapping(tree, "design")),
        constraints=_constraints(reader, reader.mapping(tree, "constraints")),
        versions={str(k): str(v) for k, v in reader.mapping(tree, "versions").items()},
        message=next((str(tree[key]) for key in ("message", "error", "reason") if tree.get(key)), None),
        gradient_warning=_gradient_warning(reader, reader.mapping(tree, "gradient_check")),
        gradient_reason=reader.word(tree, "gradient_reason"),
        notes=_notes(reader, tree.get("notes")),
    )


def _parts(reader: _Reader, tree: Mapping[str, Any]) -> dict[str, dict[str, Estimate]]:
    found = {}
    for name in tree:
        branch = reader.mapping(tree, name)
        estimates = {key: reader.estimate(branch, key) for key in ("initial", "final", "improvement")}
        found[str(name)] = {key: estimate for key, estimate in estimates.items() if estimate is not None}
    return found


def _notes(reader: _Reader, entries: Any) -> tuple[Note, ...]:
    if entries is None:
        return ()
    if not isinstance(entries, list) or not all(isinstance(e, Mapping) and "text" in e for e in entries):
        raise reader.fail("notes", entries, "a list of {text, count}")
    counts = [reader.number(entry, "count", "notes.") for entry in entries]
    return tuple(Note(str(e["text"]), 1 if n is None else int(n)) for e, n in zip(entries, counts, strict=True))


def _gradient_warning(reader: _Reader, tree: Mapping[str, Any]) -> str | None:
    return reader.word(tree, "words") if tree.get("alarming") is True else None


def _design(reader: _Reader, tree: Mapping[str, Any]) -> dict[str, ParameterResult]:
    found = {}
    for name in tree:
        entry, where = reader.mapping(tree, name), f"design.{name}."
        first, last = reader.value(entry, "initial", where), reader.value(entry, "final", where)
        found[name] = ParameterResult(first, last, reader.word(entry, "unit") or "")
    return found


def _constraints(reader: _Reader, tree: Mapping[str, Any]) -> dict[str, ConstraintResult]:
    found = {}
    for name in tree:
        entry, where = reader.mapping(tree, name), f"constraints.{name}."
        value, limit = reader.number(entry, "value", where), reader.number(entry, "limit", where)
        satisfied = entry.get("satisfied")
        if not (satisfied is None or isinstance(satisfied, bool)):
            raise reader.fail(f"{where}satisfied", satisfied, "true or false")
        found[name] = ConstraintResult(value, limit, reader.word(entry, "unit") or "", satisfied)
    return found


def read_json(path: Path) -> Mapping[str, Any]:
    """The mapping in a JSON file.

    Raises:
        DataError: file missing, not JSON or not a mapping.
    """
    text = read_text(path)
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: not valid JSON (line {error.lineno}, column {error.colno}: {error.msg}); "
            "the file is truncated or corrupt"
        ) from None
    if not isinstance(tree, Mapping):
        raise DataError(f"{path}: holds a {type(tree).__name__}, expected a mapping")
    return tree
