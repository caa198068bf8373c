"""``Events``, the one container that crosses the borders between the rooms of mode_opt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from mode_opt.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Events:
    """A batch of events of a batch of designs.

    Primaries are events too: their hits are the particles that enter, so that the output of one simulator is
    the input of the next.

    Attributes:
        truth: ``b x n x t``, what the reconstruction is to find (field units: mm, MeV, ns, tesla, radians).
        hits: ``b x n x h x f``, what the detector sees (for primaries: the particles), zero where padded.
        mask: ``b x n x h``, True where a hit is real.
        weight: ``b x n``, 1 unless something says otherwise.
        log_probability: ``b x n``, log-probability of the recorded random choices, or None if none were recorded.
        controls: ``b x n x c``, sums over the recorded choices of (outcome − mean), whose expectation is zero at
            every design (control variates for gradient estimators), or None if none were recorded.

    Raises:
        ShapeError: if the shapes do not fit each other.
    """

    truth: Tensor
    hits: Tensor
    mask: Tensor
    weight: Tensor
    log_probability: Tensor | None = None
    controls: Tensor | None = None

    def __post_init__(self) -> None:
        if self.truth.ndim != 3:
            raise ShapeError("Events.truth", self.truth.shape, "b x n x t")
        events = self.truth.shape[:2]
        if self.hits.ndim != 4 or self.hits.shape[:2] != events:
            raise ShapeError("Events.hits", self.hits.shape, f"b x n x h x f with b x n = {tuple(events)}")
        if self.mask.shape != self.hits.shape[:3]:
            raise ShapeError("Events.mask", self.mask.shape, f"b x n x h = {tuple(self.hits.shape[:3])}")
        for name, value in (("weight", self.weight), ("log_probability", self.log_probability)):
            if value is not None and value.shape != events:
                raise ShapeError(f"Events.{name}", value.shape, f"b x n = {tuple(events)}")
        if self.controls is not None and (self.controls.ndim != 3 or self.controls.shape[:2] != events):
            raise ShapeError("Events.controls", self.controls.shape, f"b x n x c with b x n = {tuple(events)}")

    @classmethod
    def of(
        cls,
        truth: Tensor,
        hits: Tensor,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
        log_probability: Tensor | None = None,
    ) -> Self:
        """Events with all hits real and all weights 1 where mask or weight are not given."""
        return cls(
            truth,
            hits,
            torch.ones(hits.shape[:3], dtype=torch.bool, device=hits.device) if mask is None else mask,
            torch.ones(hits.shape[:2], dtype=truth.dtype, device=hits.device) if weight is None else weight,
            log_probability,
        )

    @classmethod
    def cat(cls, parts: Sequence["Events"], dim: int = 1) -> Self:
        """Concatenate along designs (``dim=0``) or events (``dim=1``); the numbers of hits must agree."""
        columns: dict[str, Any] = {}
        for name in (f.name for f in fields(cls)):
            present = [value for part in parts if (value := getattr(part, name)) is not None]
            if present and len(present) != len(parts):
                raise ShapeError(f"Events.{name}", len(present), f"recorded in all {len(parts)} parts or in none")
            columns[name] = torch.cat(present, dim) if present else None
        return cls(**columns)

    @property
    def designs(self) -> int:
        """``b``."""
        return self.truth.shape[0]

    @property
    def count(self) -> int:
        """``n``, events per design."""
        return self.truth.shape[1]

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        mapped: dict[str, Any] = {k: v if v is None else function(v) for k, v in values.items()}
        return replace(self, **mapped)

    def to(self, device: torch.device | str) -> Self:
        """The same events on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def detach(self) -> Self:
        """The same values without derivatives."""
        return self._map(torch.Tensor.detach)

    def expand(self, designs: int) -> Self:
        """The events of one design seen as those of ``designs`` designs (common primaries; no copy)."""
        if self.designs == designs:
            return self
        if self.designs != 1:
            raise ShapeError("Events", self.truth.shape, f"1 or {designs} designs")
        return self._map(lambda tensor: tensor.expand(designs, *tensor.shape[1:]))

    def select(self, index: Tensor | slice) -> Self:
        """Events ``index`` (a slice, ``k`` indices or a mask of ``n``) of every design."""
        return self._map(lambda tensor: tensor[:, index])

    def design(self, index: int) -> Self:
        """The events of one design, as ``b = 1``."""
        return self._map(lambda tensor: tensor[index : index + 1])

    def reweighted(self, factor: Tensor) -> Self:
        """Weights multiplied by ``factor`` (``b x n``)."""
        return replace(self, weight=self.weight * factor)

    def with_choices(self, log_probability: Tensor, controls: Tensor | None = None) -> Self:
        """Add the log-probability (``b x n``) of further random choices to the recorded one, and their controls."""
        total = log_probability if self.log_probability is None else self.log_probability + log_probability
        known = [value for value in (self.controls, controls) if value is not None]
        return replace(self, log_probability=total, controls=torch.cat(known, 2) if known else None)
