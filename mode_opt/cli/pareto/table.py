"""The points of a front as table: front.csv, front.json, front.root, and what is printed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table as Grid
from torch import Tensor

from mode_opt.cli.pareto.runs import Settings
from mode_opt.cli.series import estimate_text, wide_console
from mode_opt.data import write_table
from mode_opt.design import Design, DesignPoint
from mode_opt.objectives import Estimate
from mode_opt.search import Front, non_dominated
from mode_opt.training.run_directory import write_json, write_rows

Row = dict[str, Any]


@dataclass(eq=False)
class Record:
    """A design that may be on the front.

    Attributes:
        role: ``start``, ``anchor``, ``level`` or ``search``.
        status: of its run; ``infeasible`` if no design keeps its limits.
        directory: of its run, relative.
        message: what a user should know.
        minimised: name of the goal that was.
        limits: by goal; None: no limit.
        values: verified, by goal.
        design: value and unit of each parameter.
        calls: simulator calls of its run.
        met: whether its limits hold, within errors.
        multipliers: what relaxing each limit by one unit buys.
        slopes: the same from neighbouring points.
        on_front: whether no other point is better in all goals.
        certainty: fraction of resamplings within the errors in which that is so.
    """

    role: str
    status: str
    directory: str = ""
    message: str = ""
    minimised: str = ""
    limits: Mapping[str, float | None] = field(default_factory=dict)
    values: Mapping[str, Estimate] = field(default_factory=dict)
    design: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    calls: float = math.nan
    met: bool = True
    multipliers: dict[str, Estimate] = field(default_factory=dict)
    slopes: dict[str, Estimate] = field(default_factory=dict)
    on_front: bool = False
    certainty: float = math.nan

    def row(self, number: int, settings: Settings) -> Row:
        """Of ``front.csv``; what is not known is empty."""
        row: Row = {"point": number, "role": self.role, "minimised": self.minimised, "status": self.status}
        for goal in settings.goals:
            row |= _columns(goal.name, self.values.get(goal.name))
        row |= {"on_front": int(self.on_front), "certainty": _known(self.certainty), "met": int(self.met)}
        for goal in settings.goals[1:]:
            limit = self.limits.get(goal.name)
            row[f"limit_{goal.name}"] = "" if limit is None else limit
            row |= _columns(f"multiplier_{goal.name}", self.multipliers.get(goal.name))
            row |= _columns(f"slope_{goal.name}", self.slopes.get(goal.name))
        return row | self.parameters() | self._rest()

    def _rest(self) -> Row:
        return {"simulator_calls": _known(self.calls), "directory": self.directory, "message": self.message}

    def parameters(self) -> Row:
        """Columns ``design_NAME``, of arrays ``design_NAME_INDEX``."""
        row: Row = {}
        for name, entry in self.design.items():
            value = entry["value"]
            items = {f"_{k}": item for k, item in enumerate(value)} if isinstance(value, list) else {"": value}
            row |= {f"design_{name}{suffix}": "" if item is None else item for suffix, item in items.items()}
        return row


def _known(value: float) -> float | str:
    return value if math.isfinite(value) else ""


def _columns(name: str, estimate: Estimate | None) -> Row:
    value, error = (math.nan, math.nan) if estimate is None else (estimate.value, estimate.standard_error)
    return {name: _known(value), f"{name}_standard_error": _known(error)}


def judge(records: Sequence[Record], settings: Settings, design: Design) -> tuple[Front, Tensor] | None:
    """Enter which points are on the front; all measured points, and the reference point of their hypervolume."""
    names = [goal.name for goal in settings.goals]
    known = [record for record in records if all(name in record.values for name in names)]
    if not known:
        return None
    points = []
    for record in known:
        design.assign({name: entry["value"] for name, entry in record.design.items()})
        points.append(design.buildable().values)
    phi = DesignPoint(torch.cat(points), design.buildable().layout)
    pairs = [[(r.values[n].value, r.values[n].standard_error) for n in names] for r in known]
    table = torch.tensor(pairs, dtype=torch.float64)
    front = Front(tuple(names), tuple(goal.unit for goal in settings.goals), table[:, :, 0], table[:, :, 1], phi)
    flags = non_dominated(front.values)
    for record, flag, certainty in zip(known, flags.tolist(), front.certainty().tolist(), strict=True):
        record.on_front, record.certainty = flag, certainty
    given = settings.reference
    at = front.reference_point() if given is None else torch.tensor([given[n] for n in names], dtype=torch.float64)
    return front, at


def write(directory: Path, records: Sequence[Record], settings: Settings, design: Design) -> None:
    """Write ``front.csv``, ``front.json`` and, of what was measured, ``front.root``."""
    found = judge(records, settings, design)
    rows = [record.row(number, settings) for number, record in enumerate(records)]
    names = dict.fromkeys(key for row in rows for key in row)
    rows = [{name: row.get(name, "") for name in names} for row in rows]
    write_rows(directory / "front.csv", rows)
    content: dict[str, Any] = {
        "method": settings.method,
        "goals": [{"name": goal.name, "unit": goal.unit, "quantity": goal.quantity} for goal in settings.goals],
        "parameters": {name: entry["unit"] for record in records for name, entry in record.design.items()},
    }
    if found is not None:
        front, at = found
        volume = front.hypervolume(at)
        content["reference"] = dict(zip(front.goals, at.tolist(), strict=True))
        content["hypervolume"] = {key: _finite(value) for key, value in volume.as_dict().items()}
        _write_root(directory / "front.root", rows, content)
    write_json(directory / "front.json", content | {"points": [_plain(row) for row in rows]})


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(row: Row) -> Row:
    return {key: None if value == "" else value for key, value in row.items()}


def _write_root(path: Path, rows: Sequence[Row], content: Mapping[str, Any]) -> None:
    """A TTree ``front``, one entry a point: every column of numbers, NaN where one is empty; words in the metadata."""
    columns: dict[str, np.ndarray] = {}
    words: dict[str, list[str]] = {}
    for name in rows[0]:
        cells = [row[name] for row in rows]
        if any(isinstance(cell, str) and cell for cell in cells) or all(cell == "" for cell in cells):
            words[name] = [str(cell) for cell in cells]
        elif all(isinstance(cell, int) for cell in cells):
            columns[name] = np.array(cells, dtype=np.int32)
        else:
            columns[name] = np.array([math.nan if cell == "" else float(cell) for cell in cells])
    write_table(path, columns, "front", {**content, "words": words})


def show(records: Sequence[Record], settings: Settings) -> None:
    """Print a line for each point."""
    limited = settings.goals[1:] if settings.method == "sweep" else ()
    first = settings.goals[0]
    heads = [f"{goal.name}{f' [{goal.unit}]' if goal.unit else ''}" for goal in settings.goals]
    prices = [f"{first.name} per {goal.unit or goal.name}" for goal in limited]
    grid = Grid("", *heads, *prices, "front", "status", box=None, padding=(0, 2, 0, 0))
    for number, record in enumerate(records):
        values = [_text(record.values.get(goal.name)) for goal in settings.goals]
        rates = [_text(record.multipliers.get(goal.name)) for goal in limited]
        words = f"{record.status}: {record.message}" if record.message else record.status
        front = "yes" if record.on_front else "no" if record.values else ""
        grid.add_row(f"{number} {record.role}", *values, *rates, front, words)
    wide_console().print(grid)


def _text(estimate: Estimate | None) -> str:
    if estimate is None or not math.isfinite(estimate.value):
        return ""
    if not estimate.standard_error:
        return f"{estimate.value:.5g}"
    return estimate_text(estimate.value, estimate.standard_error)
