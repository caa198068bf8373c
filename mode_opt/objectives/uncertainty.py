"""Standard errors of objectives that are no plain means."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.objectives.base import Objective, Reconstruct


@dataclass(frozen=True)
class Estimate:
    """A measured number and its standard error."""

    value: float
    standard_error: float

    def as_dict(self) -> dict[str, float]:
        """As in ``result.json``."""
        return {"value": self.value, "standard_error": self.standard_error}


@dataclass(frozen=True, eq=False)
class Replicas:
    """The objective on all events and with each of ``K`` groups of events left out.

    Attributes:
        value: scalar, on all events.
        left_out: ``K`` values.
    """

    value: Tensor
    left_out: Tensor

    def __sub__(self, other: "Replicas") -> "Replicas":
        """Paired difference: group by group, for events with the same primaries."""
        return Replicas(self.value - other.value, self.left_out - other.left_out)

    def estimate(self) -> Estimate:
        """Value and ``σ² = (K − 1)/K Σ_k (J_k − J̄)²``, the delete-a-group jackknife."""
        groups = self.left_out.numel()
        variance = (groups - 1) / groups * ((self.left_out - self.left_out.mean()) ** 2).sum()
        return Estimate(float(self.value), float(variance.sqrt()))


def jackknife(
    objective: Objective,
    events: Events,
    belief: Distribution,
    phi: DesignPoint,
    groups: int = 20,
    reconstruct: Reconstruct | None = None,
) -> Replicas:
    """Delete-a-group jackknife of an objective over the events of one design.

    Right for every smooth functional of the weighted events, at the cost of ``groups`` evaluations of the
    objective and none of the simulator. Group k holds events k, k + K, …, so that two sets of events with the
    same primaries are grouped alike.

    Args:
        objective: any objective.
        events: one design, ``1 x n``.
        belief: batch shape ``1 x n``.
        phi: one design.
        groups: ``K``, at most ``n``.
        reconstruct: how events become beliefs, for objectives that look at other events too (`Objective.judged`).

    Source: J. Shao and D. Tu, "The Jackknife and Bootstrap", Springer 1995, chapter 2.
    """

    def score(part: Events, designs: DesignPoint) -> Tensor:
        shape = (designs.designs, events.count)

        def once(changed: Events, taken: DesignPoint) -> Distribution:
            # The groups are copies of one design that differ in weights, of which no belief knows.
            assert reconstruct is not None
            return reconstruct(changed.design(0), taken.design(0)).expand((designs.designs, changed.count))

        again = None if reconstruct is None else once
        return objective.judged(part, belief.expand(shape), designs, again)

    return jackknife_of(score, events, phi, groups)


def jackknife_of(
    score: Callable[[Events, DesignPoint], Tensor], events: Events, phi: DesignPoint, groups: int = 20
) -> Replicas:
    """`jackknife` of any function of weighted events, ``b`` values for ``b`` designs; arguments as there."""
    groups = min(groups, events.count)
    with torch.no_grad():
        value = score(events, phi)[0]
        member = torch.arange(events.count, device=events.weight.device) % groups
        kept = (member != torch.arange(groups, device=member.device).unsqueeze(1)).to(events.weight.dtype)
        copies = DesignPoint(phi.values.expand(groups, -1), phi.layout)
        return Replicas(value, score(events.expand(groups).reweighted(kept), copies))
