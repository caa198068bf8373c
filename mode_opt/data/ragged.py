"""Jagged branches as flat values with offsets, and as padded tensors with a mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor

from mode_opt.errors import DataError, ShapeError


@dataclass(frozen=True, eq=False)
class Ragged:
    """``n`` lists of different length.

    Attributes:
        values: ``m x ...``, the items of all lists, one list after the other.
        offsets: ``n + 1``, list ``i`` is ``values[offsets[i]:offsets[i + 1]]``.
    """

    values: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return self.offsets.numel() - 1

    @property
    def counts(self) -> Tensor:
        """``n``, length of each list."""
        return self.offsets.diff()

    def mask(self, hits: int | None = None) -> Tensor:
        """``n x h``, True where a padded tensor holds an item; ``h`` is the longest list unless given."""
        counts = self.counts
        width = int(counts.max()) if hits is None and len(counts) else hits or 0
        return torch.arange(width) < counts[:, None]

    def pad(self, hits: int | None = None) -> tuple[Tensor, Tensor]:
        """Padded with zeros to ``n x h x ...`` of the same dtype, and the mask ``n x h``.

        Args:
            hits: ``h``; the longest list unless given. Longer lists lose their last items.
        """
        mask = self.mask(hits)
        kept = self if hits is None else self.truncate(hits)
        padded = kept.values.new_zeros((*mask.shape, *kept.values.shape[1:]))
        # Places of the real items in the padded tensor, row by row: cheaper than a masked assignment.
        rows = torch.repeat_interleave(torch.arange(len(kept)) * mask.shape[1] - kept.offsets[:-1], kept.counts)
        places = rows + torch.arange(kept.values.shape[0])
        padded.view(-1, *kept.values.shape[1:]).index_copy_(0, places, kept.values)
        return padded, mask

    def truncate(self, hits: int) -> "Ragged":
        """At most the first ``hits`` items of each list."""
        counts = self.counts
        if len(counts) == 0 or int(counts.max()) <= hits:
            return self
        position = torch.arange(self.values.shape[0]) - torch.repeat_interleave(self.offsets[:-1], counts)
        return Ragged(self.values[position < hits], _offsets(counts.clamp(max=hits)))

    def rows(self, start: int, stop: int) -> "Ragged":
        """Lists ``start`` to ``stop``; the values are a view."""
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return Ragged(self.values[first:last], self.offsets[start : stop + 1] - first)

    def clone(self) -> "Ragged":
        """A copy that holds no memory but its own."""
        return Ragged(self.values.clone(), self.offsets.clone())

    @classmethod
    def cat(cls, parts: Sequence["Ragged"]) -> Self:
        """One after the other."""
        return cls(torch.cat([part.values for part in parts]), _offsets(torch.cat([part.counts for part in parts])))

    @classmethod
    def stack(cls, parts: Sequence["Ragged"], names: Sequence[str]) -> Self:
        """Side by side: ``m x f`` from ``f`` columns with the same offsets.

        Raises:
            ShapeError: if the lengths of the lists differ.
        """
        first = parts[0]
        for name, part in zip(names, parts, strict=True):
            if not torch.equal(part.offsets, first.offsets):
                row = int((part.counts != first.counts).nonzero()[0]) if len(part) == len(first) else 0
                expected = f"as many hits per event as {names[0]!r} (they differ first in row {row})"
                raise ShapeError(name, part.values.shape, expected)
        columns = [_two_axes(part.values) for part in parts]
        dtype = columns[0].dtype
        for column in columns[1:]:
            dtype = torch.promote_types(dtype, column.dtype)
        return cls(torch.cat([column.to(dtype) for column in columns], dim=1), first.offsets)


Column: TypeAlias = Tensor | Ragged


def _two_axes(values: Tensor) -> Tensor:
    # Not reshape(n, -1), which cannot tell the second size where n is 0.
    return values[:, None] if values.ndim == 1 else values.flatten(1)


def _offsets(counts: Tensor) -> Tensor:
    return torch.nn.functional.pad(counts.cumsum(0), (1, 0))


def to_tensor(array: np.ndarray) -> Tensor:
    """A tensor of the same numbers, without a copy where possible; unsigned ones get the next signed type."""
    wider = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64, np.dtype(np.uint64): np.int64}
    dtype = wider.get(array.dtype, array.dtype.newbyteorder("="))
    array = np.ascontiguousarray(array, dtype)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def column_of(array: Any, what: str) -> Tensor | Ragged:
    """A numpy or awkward array as a tensor (``n`` or ``n x k``) or as `Ragged`.

    Args:
        array: of numbers; one level of variable length at most.
        what: file, branch and tree, for messages.

    Raises:
        DataError: if it holds text, missing values, objects or lists of lists.
    """
    import awkward as ak

    if isinstance(array, np.ndarray) and array.dtype.kind in "biuf":
        return to_tensor(array)
    if isinstance(array, np.ndarray):
        raise DataError(f"{what} holds {array.dtype} values, not numbers")
    # Packed first: a slice of a jagged array keeps the values of its whole parent.
    layout = ak.to_packed(array).layout
    listed = layout.is_list and not layout.is_regular and layout.parameter("__array__") is None
    content = layout.content if listed else None
    if content is not None and content.is_unknown:
        return Ragged(torch.zeros(0), torch.zeros(len(array) + 1, dtype=torch.int64))
    inner = content
    while inner is not None and inner.is_regular:
        inner = inner.content
    if content is None or inner is None or not inner.is_numpy or inner.parameter("__array__") is not None:
        raise DataError(f"{what} is of type {str(array.type)[:80]!r}; expected a number or a list of numbers per entry")
    values = np.asarray(content.to_backend_array())
    return Ragged(to_tensor(values[: int(layout.offsets[-1])]), to_tensor(np.asarray(layout.offsets.data, np.int64)))
