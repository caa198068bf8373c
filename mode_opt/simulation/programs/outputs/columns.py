"""Columns of a file, and how they become hits."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, final

import numpy as np

from mode_opt.errors import DataError

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_INDEXED = re.compile(r"(.+)\[(\d+)\]")


@final
@dataclass(frozen=True, eq=False)
class Jagged:
    """``n`` lists of different length.

    Attributes:
        values: ``m``, all items, one list after the other.
        counts: ``n``, length of each list.
    """

    values: np.ndarray
    counts: np.ndarray

    def pad(self) -> tuple[np.ndarray, np.ndarray]:
        """``n x h``, padded with zeros, and the mask ``n x h``; ``h`` is the longest list, at least 1."""
        mask = np.arange(max(1, int(self.counts.max(initial=0)))) < self.counts[:, None]
        padded = np.zeros(mask.shape)
        padded[mask] = self.values
        return padded, mask


Column: TypeAlias = np.ndarray | Jagged
"""``n`` numbers, ``n x k``, or ``n`` lists."""


class Reader(ABC):
    """Reads columns from files of one format. Can be pickled."""

    @abstractmethod
    def read(self, path: Path, names: Sequence[str]) -> Mapping[str, Column]:
        """The columns with these names.

        Raises:
            DataError: if the file holds no such columns; whatever else is raised counts as a damaged file.
        """

    @property
    def names(self) -> Sequence[str] | None:
        """Names of all columns that a file can have, if that is known without one."""
        return None


def expanded(name: str) -> list[str]:
    """``layer_{0..2}`` is layer_0, layer_1, layer_2."""
    match = _RANGE.search(name)
    if match is None:
        return [name]
    numbers = range(int(match[1]), int(match[2]) + 1)
    return [rest for k in numbers for rest in expanded(f"{name[: match.start()]}{k}{name[match.end() :]}")]


def indexed(name: str) -> tuple[str, int | None]:
    """``hits[3]`` is entry 3 of the last axis of ``hits``."""
    match = _INDEXED.fullmatch(name)
    return (match[1], int(match[2])) if match else (name, None)


def entry(array: np.ndarray, index: int | None, name: str) -> np.ndarray:
    """Entry of the last axis.

    Raises:
        DataError: if there is no such entry.
    """
    if index is None:
        return array
    if array.ndim < 2 or index >= array.shape[-1]:
        raise DataError(f"{name}: the array has shape {array.shape}")
    return np.asarray(array[..., index])


def numbers(values: object, name: str) -> np.ndarray:
    """An array of numbers, as doubles.

    Raises:
        DataError: if it holds anything else, or has more than two axes.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {array.dtype} values, not numbers")
    if not 1 <= array.ndim <= 2:
        raise DataError(f"{name} has shape {array.shape}, expected events, or events x hits")
    return array.astype(np.float64, copy=False)


def grouped(column: Column, event: np.ndarray, events: int, name: str) -> Jagged:
    """Hits in any order, one a row, as a list for each event; the order within an event is kept.

    Args:
        column: a number for each row.
        event: of each row, from 0.
        events: how many there are.
        name: of the column, for messages.

    Raises:
        DataError: if the column is not one number a row.
    """
    if isinstance(column, Jagged) or column.shape != event.shape:
        raise DataError(f"{name}: not one number for each of {len(event)} rows")
    return Jagged(column[np.argsort(event, kind="stable")], np.bincount(event, minlength=events))


def counted(column: Column, counts: np.ndarray, name: str) -> Jagged:
    """The first so many of each event, or, of a column with one axis, so many for each event in turn.

    Raises:
        DataError: if there are not so many.
    """
    if isinstance(column, Jagged):
        raise DataError(f"{name} is jagged already; it needs no counts")
    if counts.min(initial=0) < 0:
        raise DataError(f"a count of {counts.min()} hits")
    if column.ndim == 1:
        if counts.sum() != len(column):
            raise DataError(f"{name} has {len(column)} hits, the counts add up to {counts.sum()}")
        return Jagged(column, counts)
    if len(counts) != len(column) or counts.max(initial=0) > column.shape[1]:
        raise DataError(f"{name} has shape {column.shape}, which does not hold the counts")
    return Jagged(column[np.arange(column.shape[1]) < counts[:, None]], counts)


def cells(columns: Sequence[Column], name: str) -> Column:
    """Side by side, if there are several.

    Raises:
        DataError: if they do not fit.
    """
    if len(columns) == 1:
        return columns[0]
    if any(isinstance(column, Jagged) for column in columns):
        raise DataError(f"{name}: jagged columns cannot stand side by side")
    if len({len(column) for column in columns if not isinstance(column, Jagged)}) != 1:
        raise DataError(f"{name}: columns of different length")
    return np.column_stack([column for column in columns if not isinstance(column, Jagged)])


def stacked(features: Mapping[str, Column]) -> tuple[np.ndarray, np.ndarray]:
    """``n x h x f`` and mask ``n x h``.

    Raises:
        DataError: if features have different hits.
    """
    padded = {name: _padded(column) for name, column in features.items()}
    first, (_, mask) = next(iter(padded.items()))
    for name, (_, other) in padded.items():
        if other.shape != mask.shape or (other != mask).any():
            raise DataError(f"{name} has other hits than {first} ({_hits(other)} against {_hits(mask)})")
    return single(np.stack([values for values, _ in padded.values()], axis=2)), mask


def single(values: np.ndarray) -> np.ndarray:
    """In single precision; what is too large for it becomes infinite, which the campaign finds."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _padded(column: Column) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(column, Jagged):
        return column.pad()
    values = column[:, None] if column.ndim == 1 else column
    return values, np.ones(values.shape, np.bool_)


def _hits(mask: np.ndarray) -> str:
    return f"{int(mask.sum())} in {len(mask)} events"


def there(names: Iterable[str]) -> str:
    """What a file holds, for messages."""
    listed = list(names)
    return f"there are {', '.join(listed[:30])}{', ...' if len(listed) > 30 else ''}" if listed else "there is nothing"
