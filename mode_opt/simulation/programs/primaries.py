"""How a program is told which particles enter."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from mode_opt.campaigns import Job
from mode_opt.errors import ConfigurationError
from mode_opt.simulation.programs.files import relative
from mode_opt.simulation.programs.running import RESERVED
from mode_opt.units import Unit, parse_unit

_SUFFIXES = (".csv", ".npy", ".npz", ".json")


class Primaries(ABC):
    """The primaries of a job on their way to the program."""

    uniform: bool = False
    """Whether one value is told for all events."""

    @property
    def file(self) -> str | None:
        """Name of the file that is written in the run's folder."""
        return None

    @abstractmethod
    def write(self, job: Job, folder: Path) -> None:
        """Write the file, if there is one."""

    @abstractmethod
    def context(self, job: Job) -> Mapping[str, float]:
        """Values for templates by name."""


@final
class Own(Primaries):
    """The program makes its primaries itself."""

    def write(self, job: Job, folder: Path) -> None:
        """There is none."""

    def context(self, job: Job) -> Mapping[str, float]:
        return {}


@final
class Uniform(Primaries):
    """The program is told one value for the whole run."""

    uniform = True

    def write(self, job: Job, folder: Path) -> None:
        """There is none."""

    def context(self, job: Job) -> Mapping[str, float]:
        for name, column in job.primaries.items():
            if column.ndim != 1 or (column != column[0]).any():
                words = "the same single value in all events of a job, since primaries.uniform is true"
                raise ConfigurationError(f"primaries.{name}", f"{column.ravel()[:5]}...", words)
        return {name: float(column[0]) for name, column in job.primaries.items()}


@final
class Filed(Primaries):
    """A file with one row an event.

    Args:
        file: its name; the suffix says what is written.
        columns: features by the file's names, or a list of features; None: all, in alphabetical order.
        units: by the file's names; field units where none is given.

    Raises:
        ConfigurationError: for other suffixes, reserved names, unknown units.
    """

    def __init__(
        self,
        file: str,
        columns: Mapping[str, str] | Sequence[str] | None = None,
        units: Mapping[str, str] | None = None,
    ) -> None:
        self._file = relative("program.primaries.file", file)
        if Path(file).suffix not in _SUFFIXES or file in RESERVED:
            raise ConfigurationError("program.primaries.file", file, f"a name that ends with {', '.join(_SUFFIXES)}")
        if isinstance(columns, str):
            raise ConfigurationError("program.primaries.columns", columns, "a mapping or a list of names")
        listed = columns is None or isinstance(columns, Mapping)
        self._columns = columns if listed else {name: name for name in columns or ()}
        self._units: dict[str, Unit] = {}
        for name, unit in (units or {}).items():
            self._units[name] = parse_unit(unit, f"program.primaries.units.{name}")

    @property
    def file(self) -> str:
        return self._file

    def context(self, job: Job) -> Mapping[str, float]:
        return {}

    def write(self, job: Job, folder: Path) -> None:
        path, table = folder / self.file, self._table(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npz":
            np.savez(path, **table)  # type: ignore[arg-type]  # numpy's stub takes the names for its options
        elif path.suffix == ".json":
            path.write_text(json.dumps({name: column.tolist() for name, column in table.items()}))
        else:
            names, rows = _flat(table)
            if path.suffix == ".npy":
                np.save(path, rows)
            else:
                lines = [",".join(map(repr, row)) for row in rows.tolist()]
                path.write_text("\n".join([",".join(names), *lines, ""]))

    def _table(self, job: Job) -> dict[str, np.ndarray]:
        columns: Any = self._columns or {name: name for name in sorted(job.primaries)}
        if unknown := self._units.keys() - columns.keys():
            words = f"units of columns that are written: {', '.join(columns)}"
            raise ConfigurationError("program.primaries.units", sorted(unknown), words)
        table = {}
        for name, feature in columns.items():
            if feature not in job.primaries:
                there = f"one of {', '.join(job.primaries) or 'none: the job has no primaries'}"
                raise ConfigurationError(f"program.primaries.columns.{name}", feature, there)
            unit = self._units.get(name)
            values = np.asarray(job.primaries[feature], np.float64)
            table[name] = values if unit is None else values / unit.factor
        return table


def _flat(table: Mapping[str, np.ndarray]) -> tuple[list[str], np.ndarray]:
    """Names and numbers of a table with one axis of columns."""
    names: list[str] = []
    for name, column in table.items():
        names += [name] if column.ndim == 1 else [f"{name}_{k}" for k in range(column.shape[1])]
    return names, np.column_stack(list(table.values()))


def primaries_of(given: Mapping[str, Any] | None) -> Primaries:
    """What the description says of primaries.

    Raises:
        ConfigurationError: if it is neither null, a file, nor ``uniform: true``.
    """
    if given is None or given == {"uniform": False}:
        return Own()
    if given == {"uniform": True}:
        return Uniform()
    if isinstance(given, Mapping) and "file" in given and set(given) <= {"file", "columns", "units"}:
        return Filed(**given)
    words = "null, {uniform: true}, or {file: NAME, columns: ..., units: ...}"
    raise ConfigurationError("program.primaries", given, words)
