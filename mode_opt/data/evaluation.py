"""Columns, cut and keys of one chunk of raw arrays."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mode_opt.data.expressions import Expression, flat
from mode_opt.data.ragged import Column, Ragged, column_of
from mode_opt.data.table import Table
from mode_opt.errors import ConfigurationError, DataError


def needed(expression: Expression, table: Table, aliases: Mapping[str, str], above: tuple[str, ...] = ()) -> list[str]:
    """Branches that an expression needs, through all aliases.

    Raises:
        ConfigurationError: if aliases refer to each other in a circle.
    """
    found: dict[str, None] = {}
    for name in expression.names(table.names | aliases.keys()):
        if name in above:
            raise ConfigurationError(f"aliases.{name}", aliases[name], "a definition that does not lead back to itself")
        if name in table.names or name not in aliases:
            found[name] = None
        else:
            inner = Expression(aliases[name], f"aliases.{name}")
            found.update(dict.fromkeys(needed(inner, table, aliases, (*above, name))))
    return list(found)


@dataclass(eq=False)
class Chunk:
    """The raw arrays of some entries of one file, and what follows from them.

    Args:
        arrays: name of branch and its numpy (flat) or awkward (jagged) array.
        entry: number of each entry in the file.
        aliases: further names and their expressions.
        where: file and tree, for messages.
    """

    arrays: dict[str, Any]
    entry: np.ndarray
    aliases: Mapping[str, str]
    where: str

    def __len__(self) -> int:
        return len(self.entry)

    def select(self, keep: np.ndarray) -> "Chunk":
        """Entries where ``keep`` is True."""
        if keep.all():
            return self
        return Chunk(
            {name: array[keep] for name, array in self.arrays.items()},
            self.entry[keep],
            self.aliases,
            self.where,
        )

    def value(self, expression: Expression) -> Any:
        """Value of an expression for every entry: numpy if of fixed shape, else awkward."""
        try:
            with np.errstate(all="ignore"):
                value = expression.evaluate(self._get, self._known)
        except (DataError, ConfigurationError):
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(
                f"{self.where}: {expression.key}: {expression.text!r} cannot be computed: {reason}"
            ) from error
        return np.full(len(self), value) if getattr(value, "ndim", 0) == 0 else value

    @property
    def _known(self) -> Collection[str]:
        return self.arrays.keys() | self.aliases.keys()

    def _get(self, name: str) -> Any:
        if name not in self.arrays:
            self.arrays[name] = self.value(Expression(self.aliases[name], f"aliases.{name}"))
        return self.arrays[name]

    def passes(self, cut: Expression) -> np.ndarray:
        """One bool per entry.

        Raises:
            DataError: if the cut is jagged or not true-or-false.
        """
        value = self.value(cut)
        if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind not in "biuf":
            kind = getattr(value, "type", None) or f"{value.shape} x {value.dtype}"
            raise DataError(f"{self.where}: {cut.key}: {cut.text!r} is {kind}; a cut is one true-or-false per entry")
        return value != 0

    def keys(self, expressions: Sequence[Expression]) -> list[np.ndarray]:
        """Numbers that identify each entry, for hashes and for finding repetitions."""
        values = [self.value(expression) for expression in expressions]
        for expression, value in zip(expressions, values, strict=True):
            if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind not in "biuf":
                raise DataError(f"{self.where}: {expression.key}: {expression.text!r} is not one number per entry")
        return values

    def column(self, expression: Expression, factor: float, finite: bool) -> Column:
        """The value as a tensor in field units.

        Raises:
            DataError: if it is not numbers, or (``finite``) if some are NaN or infinite; counts them.
        """
        column = column_of(flat(self.value(expression)), f"{self.where}: {expression.key} ({expression.text!r})")
        values = column.values if isinstance(column, Ragged) else column
        if finite and values.is_floating_point():
            self._check_finite(column, expression)
        if factor == 1.0:
            return column
        return Ragged(values * factor, column.offsets) if isinstance(column, Ragged) else values * factor

    def _check_finite(self, column: Column, expression: Expression) -> None:
        values = column.values if isinstance(column, Ragged) else column
        # A finite sum has finite terms; an overflowing one is looked at term by term.
        if np.isfinite(float(values.sum())):
            return
        bad = (~values.isfinite()).reshape(values.shape[0], -1).any(dim=1)
        if not bool(bad.any()):
            return
        first = int(bad.nonzero()[0])
        row = (
            int(np.searchsorted(column.offsets.numpy(), first, side="right")) - 1
            if isinstance(column, Ragged)
            else first
        )
        text = expression.text
        advice = f"replace them with where(isfinite({text}), {text}, 0)" if isinstance(column, Ragged) else ""
        raise DataError(
            f"{self.where}: {expression.key} ({text!r}): {int((~values.isfinite()).sum())} of "
            f"{values.numel()} values are NaN or infinite in entries {int(self.entry[0])} to "
            f"{int(self.entry[-1])}, the first in entry {int(self.entry[row])}; "
            + (advice or f"cut such entries away with isfinite({text})")
        )
