"""Tables of numbers and words, read from CSV files and written to them."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mode_opt.errors import DataError

Column = NDArray[np.float64] | NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length: floats (NaN where a cell is empty) or words.

    Attributes:
        columns: name of each column and its cells, in the order of the file.
    """

    columns: Mapping[str, Column]

    @classmethod
    def of_rows(cls, names: Sequence[str], rows: Iterable[Sequence[float | str]]) -> Self:
        """A table from rows; a column is one of words if its first cell is a string."""
        cells = list(zip(*rows, strict=True)) or [()] * len(names)
        return cls({name: _column(column) for name, column in zip(names, cells, strict=True)})

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def floats(self, name: str) -> NDArray[np.float64]:
        """A column of numbers; NaN everywhere if there is no such column."""
        if name not in self.columns:
            return np.full(len(self), np.nan)
        return self.columns[name].astype(np.float64)

    def words(self, name: str) -> list[str]:
        """A column of words."""
        return [str(cell) for cell in self.columns[name]]

    def unique(self, name: str) -> list[str]:
        """The different words of a column, in the order of their first appearance."""
        return list(dict.fromkeys(self.words(name)))

    def where(self, name: str, word: str) -> Self:
        """The rows whose column ``name`` holds ``word``."""
        return self.rows(np.array([cell == word for cell in self.words(name)], dtype=bool))

    def rows(self, selection: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """The rows of a mask or of indices."""
        return type(self)({name: cells[selection] for name, cells in self.columns.items()})

    def write(self, path: Path) -> None:
        """Write a CSV file that gives back the same numbers; NaN becomes an empty cell."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.columns)
            for row in zip(*self.columns.values(), strict=True):
                writer.writerow([_cell(value) for value in row])


def _column(cells: Sequence[float | str]) -> Column:
    if cells and isinstance(cells[0], str):
        return np.array(cells, dtype=object)
    return np.array(cells, dtype=np.float64)


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    number = float(value)
    return "" if np.isnan(number) else repr(number)


def read_table(path: Path, required: Sequence[str], words: Sequence[str] = (), partial: bool = False) -> Table:
    """Read a CSV file with a header.

    Args:
        path: the file.
        required: columns that must be there.
        words: columns that hold words; all others hold numbers or nothing.
        partial: the writer may have been stopped within a line: a last line that is not complete is dropped.

    Raises:
        DataError: file missing, empty or not text; a required column missing; a column named twice; a line
            with too few or too many cells; a cell that is not a number.
    """
    text = read_text(path)
    lines = [(number, row) for number, row in enumerate(csv.reader(io.StringIO(text)), start=1) if row]
    if not lines:
        raise DataError(f"{path}: the file is empty, expected a header with {', '.join(required)}")
    (_, header), *body = lines
    missing = [name for name in required if name not in header]
    if missing:
        raise DataError(f"{path}: missing column {', '.join(missing)}; the header has {', '.join(header)}")
    if len(set(header)) < len(header):
        raise DataError(f"{path}: column {next(n for n in header if header.count(n) > 1)} is there twice")
    if partial and body and (len(body[-1][1]) < len(header) or not text.endswith("\n")):
        body.pop()
    for number, row in body:
        if len(row) != len(header):
            cells = f"{len(row)} of {len(header)} cells"
            raise DataError(f"{path}: line {number} has {cells}; the file is truncated or corrupt")
    return Table({name: _parse(path, name, body, i, name in words) for i, name in enumerate(header)})


def _parse(path: Path, name: str, body: list[tuple[int, list[str]]], index: int, words: bool) -> Column:
    if words:
        return np.array([row[index] for _, row in body], dtype=object)
    values = np.full(len(body), np.nan)
    for position, (number, row) in enumerate(body):
        try:
            values[position] = float(row[index]) if row[index].strip() else np.nan
        except ValueError:
            message = f"{path}: line {number}, column {name}: got {row[index]!r}, expected a number"
            raise DataError(message) from None
    return values


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        DataError: if it is not there, cannot be read or is not text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: the file is missing") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file (byte {error.start} is not UTF-8); it is corrupt") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if "\0" in text:
        raise DataError(f"{path}: contains zero bytes; it is corrupt")
    return text
