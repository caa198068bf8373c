"""Which entries a reader reads: a range, a side of a split by hash, the first of each repeated entry."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mode_opt.data.expressions import Expression

Array: TypeAlias = npt.NDArray[np.generic]


@dataclass(frozen=True)
class HashSide:
    """Entries whose keys hash into ``[low, high)`` of the unit interval: equal keys, equal side.

    Attributes:
        keys: expressions over the branches.
        low: edge below.
        high: edge above.
        salt: another one gives an independent split.
    """

    keys: tuple[Expression, ...]
    low: float
    high: float
    salt: int

    def keeps(self, keys: Sequence[Array]) -> npt.NDArray[np.bool_]:
        """Which rows of the evaluated keys (``n`` each) are on this side."""
        uniform = unit_hash(keys, self.salt)
        return (uniform >= self.low) & (uniform < self.high)


@dataclass(frozen=True, eq=False)
class Selection:
    """What is read of all entries, counted over all files.

    Attributes:
        start: first entry.
        stop: last entry plus one; None for all.
        sides: splits by hash, all of which an entry must be on the right side of.
        keep: one bool per entry of all files, or None for all.
        part: whether this is a share of a reader, which may have no entry at all.
    """

    start: int = 0
    stop: int | None = None
    sides: tuple[HashSide, ...] = field(default=())
    keep: npt.NDArray[np.bool_] | None = None
    part: bool = False

    def bounds(self, entries: int) -> tuple[int, int]:
        """Start and stop among ``entries``."""
        return self.start, entries if self.stop is None else self.stop

    def share(self, index: int, of: int, entries: int) -> "Selection":
        """The ``index``-th of ``of`` contiguous shares: they do not overlap and leave nothing out."""
        start, stop = self.bounds(entries)
        first, last = (start + (stop - start) * each // of for each in (index, index + 1))
        return replace(self, start=first, stop=last, part=True)

    def divide(self, test: float, entries: int) -> tuple["Selection", "Selection"]:
        """The first entries for training and the last fraction ``test`` for testing."""
        start, stop = self.bounds(entries)
        border = stop - round((stop - start) * test)
        return replace(self, stop=border), replace(self, start=border, stop=stop)

    def divide_by(self, keys: tuple[Expression, ...], test: float, seed: int) -> tuple["Selection", "Selection"]:
        """Training and testing side by the hash of keys; a split of a split is independent of the first."""
        salt = seed * 1009 + len(self.sides)
        train, held_out = HashSide(keys, test, 1.0, salt), HashSide(keys, 0.0, test, salt)
        return replace(self, sides=(*self.sides, train)), replace(self, sides=(*self.sides, held_out))


def key_bits(column: Array) -> npt.NDArray[np.uint64]:
    """64 bits per value, equal for equal numbers whatever their type (1 is 1.0, 0 is -0)."""
    if column.dtype.kind in "biu":
        return column.astype(np.int64).view(np.uint64)
    values = column.astype(np.float64)
    whole = (values == np.trunc(values)) & (np.abs(values) < 2.0**53)
    integers = np.where(whole, values, 0.0).astype(np.int64).view(np.uint64)
    return np.where(whole, integers, values.view(np.uint64))


def unit_hash(keys: Sequence[Array], salt: int) -> npt.NDArray[np.float64]:
    """A number in [0, 1) per row of keys: SplitMix64 (Steele, Lea, Flood 2014), key by key."""
    state = _mix(np.full(len(keys[0]), np.uint64(salt % 2**64)))
    for column in keys:
        state = _mix(state ^ key_bits(column))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def first_of_each(keys: Sequence[Array]) -> npt.NDArray[np.int64]:
    """Rows, in order, that are the first with their keys."""
    bits = np.stack([key_bits(column) for column in keys], axis=1)
    _, first = np.unique(bits, axis=0, return_index=True)
    return np.sort(first)
