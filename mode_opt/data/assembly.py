"""From columns to ``Events``: which of them are truth, hits, weight and design."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from mode_opt.data.columns import Columns
from mode_opt.data.ragged import Ragged
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.events import Events


class DesignedEvents(NamedTuple):
    """Events read from a file, each with the design that it was simulated with.

    Attributes:
        events: ``b = 1``, ``n`` events.
        design: name of each design parameter and its values, ``n x size``; `DesignPoint.of` takes them as
            ``n`` designs.
    """

    events: Events
    design: Mapping[str, Tensor]

    def design_values(self) -> Tensor:
        """``n x d``, the parameters side by side in their order."""
        count = self.events.count
        return torch.cat([self.events.truth.new_zeros(count, 0), *self.design.values()], dim=1)


@final
class EventAssembler:
    """Builds events of ``b = 1`` from the columns of a reader.

    Args:
        truth: columns of the truth features; one of fixed size ``k`` gives ``k`` features.
        hits: columns of the hit features: all jagged (padded and masked), all of one fixed size ``n x h``, or
            all one number per event (``h = 1``).
        weight: column of the event weights; 1 if not given.
        log_probability: column of the log-probability of recorded random choices, if there is one.
        design: columns of the design parameters.
        maximum_hits: ``h``; by default the largest number of hits in the batch.
        overflow: what to do with an event of more hits: ``error`` or ``truncate`` (keep the first ones).
        dtype: of all numbers; torch's default if not given.

    Raises:
        ConfigurationError: if an argument cannot be used.
    """

    def __init__(
        self,
        truth: Sequence[str],
        hits: Sequence[str],
        *,
        weight: str | None = None,
        log_probability: str | None = None,
        design: Sequence[str] = (),
        maximum_hits: int | None = None,
        overflow: str = "error",
        dtype: torch.dtype | None = None,
    ) -> None:
        for key, names in (("truth", truth), ("hits", hits), ("design", design)):
            if isinstance(names, str):
                raise ConfigurationError(key, names, "a list of names of columns")
        if overflow not in ("error", "truncate"):
            raise ConfigurationError("overflow", overflow, "'error' or 'truncate'")
        if maximum_hits is not None and maximum_hits < 1:
            raise ConfigurationError("maximum_hits", maximum_hits, "at least 1")
        self.truth, self.hits, self.design = tuple(truth), tuple(hits), tuple(design)
        self.weight, self.log_probability = weight, log_probability
        self.maximum_hits, self.overflow, self.dtype = maximum_hits, overflow, dtype

    def __call__(self, columns: Columns) -> DesignedEvents:
        """Events with truth ``1 x n x t``, hits ``1 x n x h x f``, mask, weight, and the design columns.

        Raises:
            DataError: if an event has more than ``maximum_hits`` hits, or a column has the wrong shape.
            ShapeError: if hit columns do not have the same hits.
        """
        dtype = self.dtype or torch.get_default_dtype()
        truth = [_flat(columns, name, "truth").to(dtype) for name in self.truth]
        hits, mask = self._hits(columns)
        count = len(columns)
        recorded = None if self.log_probability is None else _one(columns, self.log_probability, dtype)
        events = Events(
            truth=torch.cat([torch.zeros(count, 0, dtype=dtype), *truth], dim=1)[None],
            hits=hits.to(dtype)[None],
            mask=mask[None],
            weight=torch.ones(1, count, dtype=dtype) if self.weight is None else _one(columns, self.weight, dtype),
            log_probability=recorded,
        )
        return DesignedEvents(events, {name: _flat(columns, name, "design").to(dtype) for name in self.design})

    def _hits(self, columns: Columns) -> tuple[Tensor, Tensor]:
        """Hits ``n x h x f`` and mask ``n x h``."""
        parts = [columns[name] for name in self.hits]
        ragged = [part for part in parts if isinstance(part, Ragged)]
        if not parts:
            return torch.zeros(len(columns), 0, 0), torch.zeros(len(columns), 0, dtype=torch.bool)
        if ragged and len(ragged) == len(parts):
            stacked = Ragged.stack(ragged, self.hits)
            self._check_overflow(stacked.counts, columns.entry)
            return stacked.pad(self.maximum_hits)
        fixed = [part[:, None] if part.ndim == 1 else part for part in parts if isinstance(part, Tensor)]
        if ragged or len({part.shape for part in fixed}) > 1 or fixed[0].ndim > 2:
            shapes = {
                n: "jagged" if isinstance(p, Ragged) else tuple(p.shape) for n, p in zip(self.hits, parts, strict=True)
            }
            raise DataError(f"hits: columns have shapes {shapes}; expected all jagged or all of one shape n x h")
        return self._fixed(torch.stack(fixed, dim=-1), columns.entry)

    def _fixed(self, hits: Tensor, entry: Tensor) -> tuple[Tensor, Tensor]:
        count, width = hits.shape[:2]
        self._check_overflow(torch.full((count,), width), entry)
        real = torch.ones(count, width, dtype=torch.bool)
        missing = (self.maximum_hits or width) - width
        if missing <= 0:
            return hits[:, : self.maximum_hits], real[:, : self.maximum_hits]
        return torch.nn.functional.pad(hits, (0, 0, 0, missing)), torch.nn.functional.pad(real, (0, missing))

    def _check_overflow(self, counts: Tensor, entry: Tensor) -> None:
        if self.maximum_hits is None or self.overflow == "truncate" or not len(counts):
            return
        largest = int(counts.argmax())
        if int(counts[largest]) > self.maximum_hits:
            raise DataError(
                f"maximum_hits: entry {int(entry[largest])} has {int(counts[largest])} hits and "
                f"{int((counts > self.maximum_hits).sum())} of {len(counts)} entries have more than "
                f"{self.maximum_hits}; "
                "raise maximum_hits, or set overflow: truncate"
            )


def _flat(columns: Columns, name: str, key: str) -> Tensor:
    """``n x k``."""
    column = columns[name]
    if isinstance(column, Ragged):
        raise DataError(f"{key}: column {name!r} is jagged; expected a fixed number of values per event")
    return column[:, None] if column.ndim == 1 else column.flatten(1)


def _one(columns: Columns, name: str, dtype: torch.dtype) -> Tensor:
    """``1 x n``."""
    column = _flat(columns, name, "weight")
    if column.shape[1] != 1:
        raise DataError(f"column {name!r} has {column.shape[1]} values per event; expected one")
    return column.to(dtype).T
