"""Choosing one of the random choices of an event, with probability proportional to a weight."""

from typing import final

import torch
from torch import Tensor


@final
class Race:
    """One winner an event out of candidates that arrive in any number of instalments.

    Each candidate gets the time ``−ln u / w``; the smallest time of an event wins, with probability ``w/W``.

    Args:
        events: number of events.
        like: tensor whose device is used.

    Attributes:
        total: ``W``, sum of the weights offered so far, one an event, in double precision.

    Source: P. S. Efraimidis and P. G. Spirakis, Inf. Process. Lett. 97 (2006) 181.
    """

    def __init__(self, events: int, like: Tensor) -> None:
        self.total = torch.zeros(events, dtype=torch.float64, device=like.device)
        self._best = torch.full_like(self.total, torch.inf)

    def offer(self, event: Tensor, weight: Tensor, uniform: Tensor) -> Tensor:
        """Take candidates in.

        Args:
            event: ``k``, the event of each.
            weight: ``k``, not negative.
            uniform: ``k``, in (0, 1).

        Returns:
            Indices of the candidates that lead their event now, at most one an event.
        """
        weight = weight.double()
        self.total.index_add_(0, event, weight)
        time = torch.where(weight > 0, -uniform.double().log() / weight, torch.full_like(weight, torch.inf))
        before = self._best.clone()
        self._best.scatter_reduce_(0, event, time, "amin")
        leads = (time == self._best[event]) & (time < before[event])
        index = leads.nonzero().squeeze(1)
        # Equal times are possible in principle; the last of them is kept.
        last = torch.full_like(before, -1, dtype=torch.int64).index_put_((event[index],), index)
        return last[last >= 0]
