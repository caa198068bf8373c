"""Total and shares: coordinates in which deposits of many cells are easy to learn."""

from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ShapeError
from mode_opt.events import Events
from mode_opt.surrogates.base import Coordinates


@final
class Composition(Coordinates):
    """``x_0 = log S``, ``x_i = √(e_i / S)`` with ``S = Σ e_i + floor``, of deposits ``e_i`` that are not negative.

    What a sum of many cells resolves is lost if the cells are learnt one by one: small errors of their correlations add
    up. The root has about the same spread in full and in nearly empty cells. On the way back negative values count as
    empty cells and the others are scaled to the sum. The condition is the normalised design and the primaries, columns
    of which are logarithms where all their values were positive in the events it was made for.

    Args:
        hits: ``h`` and ``f`` of the events, the same for all.
        positive: ``c_p``, which columns of the primaries are positive.
        floor: smallest sum that still counts as a signal, in the unit of the hits.
    """

    def __init__(self, hits: tuple[int, int], positive: Tensor, floor: float = 1e-3) -> None:
        self.hits, self.positive, self.floor = hits, positive, floor

    def condition(self, phi: DesignPoint, primaries: Events) -> Tensor:
        known = primaries.expand(phi.designs).hits.flatten(2)
        known = torch.where(self.positive.to(known.device), known.clamp_min(1e-30).log(), known)
        return torch.cat([phi.normalised()[:, None].expand(-1, primaries.count, -1), known], 2)

    def features(self, events: Events, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        if tuple(events.hits.shape[2:]) != self.hits:
            raise ShapeError("Events.hits", events.hits.shape, f"b x n x {self.hits[0]} x {self.hits[1]}")
        deposits = torch.where(events.mask.unsqueeze(-1), events.hits, 0.0).flatten(2).clamp_min(0.0)
        total = deposits.sum(2, keepdim=True) + self.floor
        return torch.cat([total.log(), (deposits / total).sqrt()], 2)

    def events(self, features: Tensor, phi: DesignPoint, primaries: Events) -> Events:
        square = features[..., 1:].clamp_min(0.0) ** 2
        deposits = features[..., :1].exp() * square / square.sum(2, keepdim=True).clamp_min(1e-6)
        hits = deposits.unflatten(2, self.hits)
        mask = torch.ones(hits.shape[:3], dtype=torch.bool, device=hits.device)
        # Replaced rather than new: what upstream simulators recorded of their random choices stays.
        return replace(primaries.expand(phi.designs), hits=hits, mask=mask)
