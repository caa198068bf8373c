"""What a program writes, from description to events."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, final

import numpy as np

from mode_opt.campaigns import Arrays, Failure, JobFailure
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.simulation.programs.files import relative
from mode_opt.simulation.programs.outputs.arrays import NumpyReader
from mode_opt.simulation.programs.outputs.columns import (
    Column,
    Jagged,
    Reader,
    cells,
    counted,
    expanded,
    grouped,
    single,
    stacked,
)
from mode_opt.simulation.programs.outputs.hdf5 import Hdf5Reader
from mode_opt.simulation.programs.outputs.parquet import ParquetReader
from mode_opt.simulation.programs.outputs.pattern import PatternReader
from mode_opt.simulation.programs.outputs.root import RootTreeReader
from mode_opt.simulation.programs.outputs.text import TextReader
from mode_opt.simulation.programs.running import RESERVED, STANDARD_OUTPUT
from mode_opt.units import parse_unit

_READERS: Mapping[str, type[Reader]] = {
    "root": RootTreeReader,
    "parquet": ParquetReader,
    "csv": TextReader,
    "numpy": NumpyReader,
    "hdf5": Hdf5Reader,
    "pattern": PatternReader,
}
_SUFFIXES = {
    **{".root": "root", ".parquet": "parquet", ".csv": "csv", ".npy": "numpy", ".npz": "numpy"},
    **{".h5": "hdf5", ".hdf5": "hdf5"},
}


@final
class Output:
    """Events in what a program wrote.

    Args:
        reader: of its format.
        hits: names of the columns of each of the ``f`` features; several become the cells of an event.
        file: in the run's folder; None: standard output.
        units: of features and weight in the file; field units where none is given.
        weight: column with a weight for each event.
        event: column that says to which event a row belongs: each row is a hit then.
        first_event: number of the first event in that column.
        counts: column with the number of hits of each event.

    Raises:
        ConfigurationError: for what does not fit together.
    """

    def __init__(
        self,
        reader: Reader,
        hits: Mapping[str, str | Sequence[str]],
        file: str | None = None,
        units: Mapping[str, str] | None = None,
        weight: str | None = None,
        event: str | None = None,
        first_event: int = 0,
        counts: str | None = None,
    ) -> None:
        if not isinstance(hits, Mapping) or not hits:
            raise ConfigurationError("program.output.hits", hits, "a mapping from features to columns")
        if event is not None and (weight is not None or counts is not None):
            raise ConfigurationError("program.output.event", event, "null where weight or counts are given")
        if file is not None and relative("program.output.file", file) in RESERVED:
            raise ConfigurationError("program.output.file", file, f"none of {', '.join(RESERVED)}")
        self._reader, self._file = reader, file
        self._hits = {name: _names(f"program.output.hits.{name}", columns) for name, columns in hits.items()}
        self._weight, self._event, self._first, self._counts = weight, event, int(first_event), counts
        self._factors = {}
        for name, unit in (units or {}).items():
            if name not in self._hits:
                raise ConfigurationError(f"program.output.units.{name}", name, f"one of {', '.join(self._hits)}")
            self._factors[name] = parse_unit(unit, f"program.output.units.{name}").factor
        extra = [name for name in (weight, event, counts) if name is not None]
        self._columns = list(dict.fromkeys([*(c for columns in self._hits.values() for c in columns), *extra]))
        if reader.names is not None and (unknown := set(self._columns) - set(reader.names)):
            raise ConfigurationError("program.output", sorted(unknown), f"columns among {', '.join(reader.names)}")

    @property
    def printed(self) -> bool:
        """Whether this is read from standard output."""
        return self._file is None

    def path(self, folder: Path) -> Path:
        """The file in a run's folder."""
        return folder / (self._file or STANDARD_OUTPUT)

    def prepare(self, folder: Path) -> None:
        """Make the folder in which the program writes, if it is one below the run's."""
        if self._file is not None and "/" in self._file:
            self.path(folder).parent.mkdir(parents=True, exist_ok=True)

    def read(self, folder: Path, events: int) -> Arrays:
        """``hits`` n x h x f, ``mask`` n x h, and ``weight`` n if there is a column with it.

        Raises:
            JobFailure: if the file is missing or cannot be read, or rows belong to events that were not asked for.
            ConfigurationError: if what reads the format is not installed.
        """
        path = self.path(folder)
        if not path.is_file():
            others = ", ".join(sorted(each.name for each in folder.iterdir() if each.name not in RESERVED)[:10])
            words = f"no {self._file} after the run; there is {others or 'no file'}"
            raise JobFailure(Failure.MISSING, words)
        try:
            return self._events(self._reader.read(path, self._columns), events)
        except (ConfigurationError, JobFailure, MemoryError):
            raise
        except DataError as error:
            raise JobFailure(Failure.UNREADABLE, f"{path.name}: {_line(error)}".replace(f"{folder}/", "")) from error
        except Exception as error:  # each library fails in ways of its own on damaged files
            words = f"{path.name}: {type(error).__name__}: {_line(error)}".replace(f"{folder}/", "")
            raise JobFailure(Failure.UNREADABLE, words) from error

    def _events(self, columns: Mapping[str, Column], events: int) -> Arrays:
        if self._event is not None:
            columns = self._by_event(dict(columns), self._event, events)
        if self._counts is not None:
            counts = _whole(columns[self._counts], self._counts)
            features = {name: counted(self._feature(columns, name), counts, name) for name in self._hits}
            hits, mask = stacked(features)
        else:
            hits, mask = stacked({name: self._feature(columns, name) for name in self._hits})
        arrays = {"hits": hits, "mask": mask}
        if self._weight is not None:
            weight = columns[self._weight]
            if isinstance(weight, Jagged) or weight.shape != (len(hits),):
                raise DataError(f"{self._weight}: not one weight for each of {len(hits)} events")
            arrays["weight"] = single(weight)
        return arrays

    def _feature(self, columns: Mapping[str, Column], name: str) -> Column:
        column = cells([columns[each] for each in self._hits[name]], name)
        factor = self._factors.get(name, 1.0)
        if isinstance(column, Jagged):
            return Jagged(column.values * factor, column.counts)
        return column * factor

    def _by_event(self, columns: dict[str, Column], name: str, events: int) -> dict[str, Column]:
        event = _whole(columns.pop(name), name) - self._first
        if len(event) and not 0 <= event.min() <= event.max() < events:
            low, high = self._first, self._first + events - 1
            found = f"{event.min() + self._first} to {event.max() + self._first}"
            raise JobFailure(Failure.COUNT, f"rows of events {found}, expected {low} to {high}")
        return {each: grouped(column, event, events, each) for each, column in columns.items()}


def _whole(column: Column, name: str) -> np.ndarray:
    """A column of whole numbers that count something.

    Raises:
        DataError: if it is none.
    """
    if isinstance(column, Jagged) or column.ndim != 1 or (column != np.rint(column)).any():
        raise DataError(f"{name}: not one whole number a row")
    if np.abs(column).max(initial=0) > 2**53:
        raise DataError(f"{name}: numbers too large to count")
    return column.astype(np.int64)


def _names(key: str, given: Any) -> list[str]:
    """Names of columns, from a name or a list of them, with ranges written out."""
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list | tuple) or not listed or not all(isinstance(n, str) and n for n in listed):
        raise ConfigurationError(key, given, "the name of a column, or a list of names")
    names = [name for each in listed for name in expanded(each)]
    if not names:
        raise ConfigurationError(key, given, "a range that rises, such as {0..9}")
    return names


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def output_of(given: Mapping[str, Any]) -> Output:
    """What the description says of the output.

    Raises:
        ConfigurationError: for an unknown format, keys that it does not have, or what does not fit together.
    """
    if not isinstance(given, Mapping):
        raise ConfigurationError("program.output", given, "a mapping with file, hits, ...")
    fields = dict(given)
    file, chosen = fields.get("file"), fields.pop("format", None)
    if file is not None and not isinstance(file, str):
        raise ConfigurationError("program.output.file", file, "the name of a file, or null for standard output")
    by_suffix = _SUFFIXES.get(PurePath(file).suffix.lower()) if file else None
    name = str(chosen or ("pattern" if "pattern" in fields else by_suffix))
    if name not in _READERS:
        raise ConfigurationError("program.output.format", name, f"one of {', '.join(_READERS)}")
    own = ("hits", "file", "units", "weight", "event", "first_event", "counts")
    options = {key: fields.pop(key) for key in list(fields) if key not in own}
    if "hits" not in fields:
        raise ConfigurationError("program.output", sorted(given), "a mapping with the key hits")
    try:
        reader = _READERS[name](**options)
    except TypeError as error:
        words = f"keys of the format {name} ({error})"
        raise ConfigurationError("program.output", sorted(options), words) from error
    return Output(reader, **fields)
