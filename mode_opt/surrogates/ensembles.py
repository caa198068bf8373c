"""Several surrogates of the same events: where they disagree, none of them knows."""

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import nn

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import stream
from mode_opt.surrogates.base import Progress, Surrogate, silent
from mode_opt.surrogates.training import FitReport

SurrogateFactory = Callable[[DesignPoint, Events, Events], Surrogate]
"""Makes an unfitted surrogate that suits the first designs, primaries and events."""


@final
class Ensemble(Surrogate):
    """Surrogates with own seeds and held-out designs, and own weights of the designs but for the first.

    The weights are those of the Bayesian bootstrap (D. B. Rubin, Annals of Statistics 9 (1981) 130): independent,
    exponential with mean 1, one for all events of a design. Member 0 sees the events as they are.

    Attributes:
        members: the surrogates.
        chosen: which of them draws the samples.

    Args:
        members: unfitted surrogates.

    Raises:
        ConfigurationError: for no members.
    """

    def __init__(self, members: Sequence[Surrogate]) -> None:
        super().__init__()
        if not members:
            raise ConfigurationError("surrogate.members", len(members), "at least 1")
        self.members = nn.ModuleList(members)
        self.chosen = 0

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        return self.members[self.chosen](phi, primaries, generator)

    def fit(
        self,
        phi: DesignPoint,
        primaries: Events,
        events: Events,
        *,
        seed: int = 0,
        warm: bool = False,
        progress: Progress = silent,
    ) -> FitReport:
        """As for all surrogates; the report is that of the first member."""
        reports = []
        for index, member in enumerate(self.members):
            seen = events if index == 0 else events.reweighted(_bootstrap(phi, events, seed, index))
            own = seed if index == 0 else _seed(seed, index)
            assert isinstance(member, Surrogate)
            reports.append(member.fit(phi, primaries, seen, seed=own, warm=warm, progress=progress))
        return reports[0]


def ensemble(
    phi: DesignPoint, primaries: Events, events: Events, member: SurrogateFactory, members: int = 4
) -> Ensemble:
    """An `Ensemble` of surrogates from one factory.

    Args:
        phi: designs, ``b``.
        primaries: ``b x n``.
        events: ``b x n``.
        member: makes one of them.
        members: how many.
    """
    return Ensemble([member(phi, primaries, events) for _ in range(members)])


def _bootstrap(phi: DesignPoint, events: Events, seed: int, index: int) -> torch.Tensor:
    """``b x n``, a weight for each different design."""
    designs, group = torch.unique(phi.values.detach().cpu(), dim=0, return_inverse=True)
    uniform = torch.rand(len(designs), generator=stream("cpu", seed, "ensemble", index), dtype=torch.double)
    weight = -torch.log1p(-uniform)
    return weight[group].to(events.weight)[:, None].expand_as(events.weight)


def _seed(seed: int, index: int) -> int:
    return int(torch.randint(2**31, (), generator=stream("cpu", seed, "ensemble", "seed", index)))
