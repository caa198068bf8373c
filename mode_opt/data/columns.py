"""Columns read from files: some entries of some branches, as tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from mode_opt.data.ragged import Column, Ragged
from mode_opt.errors import ConfigurationError


@dataclass(frozen=True, eq=False)
class Columns:
    """``n`` entries of named columns.

    Attributes:
        values: a tensor ``n`` or ``n x k`` for a branch of fixed size, `Ragged` for a jagged one.
        entry: ``n``, number of each entry, counted over all files in order and before all cuts.
    """

    values: Mapping[str, Column]
    entry: Tensor

    def __len__(self) -> int:
        return self.entry.numel()

    def __getitem__(self, name: str) -> Column:
        if name not in self.values:
            raise ConfigurationError("column", name, f"one of {', '.join(self.values)}")
        return self.values[name]

    def rows(self, start: int, stop: int) -> "Columns":
        """Entries ``start`` to ``stop`` of these, as views."""
        stop = min(stop, len(self))
        values = {
            name: column.rows(start, stop) if isinstance(column, Ragged) else column[start:stop]
            for name, column in self.values.items()
        }
        return Columns(values, self.entry[start:stop])

    def clone(self) -> "Columns":
        """A copy that holds no memory but its own."""
        return Columns({name: column.clone() for name, column in self.values.items()}, self.entry.clone())

    @classmethod
    def cat(cls, parts: Sequence["Columns"]) -> Self:
        """One after the other."""
        if len(parts) == 1:
            return cls(parts[0].values, parts[0].entry)
        values = {name: _cat([part.values[name] for part in parts]) for name in parts[0].values}
        return cls(values, torch.cat([part.entry for part in parts]))


def _cat(parts: Sequence[Column]) -> Column:
    ragged = [part for part in parts if isinstance(part, Ragged)]
    if ragged:
        return Ragged.cat(ragged)
    return torch.cat([part for part in parts if isinstance(part, Tensor)])
