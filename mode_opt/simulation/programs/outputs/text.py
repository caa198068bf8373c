"""Tables of numbers in text files: CSV and its relatives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np

from mode_opt.errors import ConfigurationError, DataError
from mode_opt.simulation.programs.outputs.columns import Column, Reader, there


@final
class TextReader(Reader):
    """A table with one row a line.

    Args:
        separator: between columns; a blank means any white space.
        comment: lines that begin with it are skipped; empty: none are.
        columns: names, if the file has no line of them.

    Raises:
        ConfigurationError: for a separator of several characters.
    """

    def __init__(self, separator: str = ",", comment: str = "#", columns: Sequence[str] | None = None) -> None:
        if not isinstance(separator, str) or len(separator) != 1:
            raise ConfigurationError("program.output.separator", separator, "one character")
        if isinstance(columns, str):
            raise ConfigurationError("program.output.columns", columns, "a list of names")
        self.separator, self.comment, self.columns = separator, comment, None if columns is None else list(columns)

    @property
    def names(self) -> Sequence[str] | None:
        return self.columns

    def read(self, path: Path, names: Sequence[str]) -> Mapping[str, Column]:
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise DataError("the last line has no end: the program did not finish writing" if text else "empty")
        lines = [line for line in text.split("\n") if line and not (self.comment and line.startswith(self.comment))]
        header = self.columns
        if header is None:
            if not lines:
                raise DataError("no line with the names of the columns")
            header = [name.strip().strip('"') for name in self._split(lines.pop(0))]
        wanted = [self._place(header, name) for name in names]
        table = self._table(lines, wanted, len(header))
        return {name: table[:, k] for k, name in enumerate(names)}

    def _split(self, line: str) -> list[str]:
        return line.split() if self.separator == " " else line.split(self.separator)

    def _place(self, header: Sequence[str], name: str) -> int:
        if name not in header:
            raise DataError(f"no column {name!r}; {there(header)}")
        return header.index(name)

    def _table(self, lines: list[str], wanted: list[int], columns: int) -> np.ndarray:
        if not lines:
            return np.zeros((0, len(wanted)))
        if self.separator != " ":
            found = {line.count(self.separator) for line in lines} - {columns - 1}
            if found:
                raise DataError(f"lines with {found.pop() + 1} columns, expected {columns}")
        elif len(lines[-1].split()) != columns:
            raise DataError(f"the last line has {len(lines[-1].split())} columns, expected {columns}")
        delimiter = None if self.separator == " " else self.separator
        return np.loadtxt(lines, np.float64, comments=None, delimiter=delimiter, usecols=wanted, ndmin=2)
