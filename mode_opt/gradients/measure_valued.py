"""Derivatives from what would have happened otherwise: every alternative."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.gradients.alternatives import explore, scattered
from mode_opt.gradients.sites import Candidates
from mode_opt.gradients.weighted import WeightedEstimator
from mode_opt.simulation import BranchingProgram, Promise, Simulator
from mode_opt.simulation.program import draw_seed
from mode_opt.simulation.running import parts, written_in_choices


@final
class MeasureValued(WeightedEstimator):
    """Weak derivatives: the derivative of each law as a difference of two laws, for every choice of the program.

    ``dJ = E[Σ_k Σ_j d tangent_kj (f(choice k becomes alternative j) − f)]``: `PrunedAlternative` without the
    pruning. Least noise for each event, and one more simulation of it for every alternative of every choice; all
    other random numbers are kept.

    Args:
        limit: most alternatives of an event.
        controls: whether to subtract the recorded controls.

    Raises:
        ConfigurationError: for more alternatives than the limit, or a branching program, whose number of choices
            has none.

    Source: G. C. Pflug, "Optimization of Stochastic Models", 1996; S. Mohamed et al., arXiv 1906.10652, section 6.
    """

    def __init__(self, limit: int = 64, controls: bool = True) -> None:
        if limit < 1:
            raise ConfigurationError("gradient.limit", limit, "a positive whole number")
        super().__init__(controls)
        self.limit = limit

    @property
    def requires(self) -> Promise:
        return Promise.STOCHASTIC

    def check(self, simulator: Simulator) -> None:
        super().check(simulator)
        written_in_choices(simulator)
        for part in parts(simulator):
            if isinstance(part, BranchingProgram):
                self._refuse(type(part).__name__, "any number of choices an event")

    def factor(self, weight: Tensor) -> float:
        return 1.0

    def events(
        self, simulator: Simulator, phi: DesignPoint, primaries: Events, generator: torch.Generator | None
    ) -> Events:
        seed = draw_seed(generator, phi.values.device)
        return explore(simulator, phi, primaries, seed, self._all).joined()

    def _all(self, found: Candidates, phi: DesignPoint, events: int) -> Sequence[tuple[Candidates, Tensor]]:
        """Candidates in layers of one an event: the k-th of every event."""
        order = found.event.argsort(stable=True)
        event = found.event[order]
        rank = torch.arange(event.numel(), device=event.device) - torch.searchsorted(event, event)
        depth = int(rank.max()) + 1
        if depth > self.limit:
            self._refuse("the simulator", f"{depth} alternatives an event")
        layers = []
        for level in range(depth):
            chosen = scattered(found, order[rank == level], events)
            layers.append((chosen, chosen.tangent - chosen.tangent.detach()))
        return layers

    def _refuse(self, simulator: str, amount: str) -> None:
        expected = f"at most {self.limit}: {simulator} has {amount}, use gradient=pruned_alternative"
        raise ConfigurationError("gradient.limit", amount, expected)
