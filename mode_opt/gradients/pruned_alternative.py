"""Derivatives from what would have happened otherwise: one alternative an event."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.gradients.alternatives import explore, raced
from mode_opt.gradients.weighted import WeightedEstimator
from mode_opt.simulation import Promise, Simulator
from mode_opt.simulation.program import draw_seed
from mode_opt.simulation.running import written_in_choices


@final
class PrunedAlternative(WeightedEstimator):
    """Smoothed perturbation analysis: ``dJ = E[Σ_k dp_k (f(choice k changed) − f)]``, one k drawn an event.

    Of all random choices of an event that depend on the design, one is drawn with probability ``w_k/W``, where w is
    the size of the derivative of its law; the event is simulated again with that choice changed and all other
    random numbers kept, and joins with the weight ``(W/w_k) dp_k``, whose value is 0. A coin is turned over whatever
    it showed, which keeps the weights bounded; counts get one more; see `mode_opt.simulation.choices` for each law.
    All design parameters share the alternative. Of a branching program only the particle that made the choice is
    followed again; any other program is run twice.

    Unbiased for every choice law of `Choices`, for objectives with jumps too.

    Args:
        controls: whether to subtract the recorded controls, which the alternatives carry too.

    Source: W.-B. Gong and Y.-C. Ho, IEEE Trans. Autom. Control 32 (1987) 858 (smoothed perturbation analysis);
    G. Arya et al., arXiv 2210.08572; M. Kagan and L. Heinrich, arXiv 2308.16680.
    """

    def __init__(self, controls: bool = True) -> None:
        super().__init__(controls)

    @property
    def requires(self) -> Promise:
        return Promise.STOCHASTIC

    def check(self, simulator: Simulator) -> None:
        super().check(simulator)
        written_in_choices(simulator)

    def factor(self, weight: Tensor) -> float:
        return 1.0  # what an alternative gains its event loses: the mean is not moved

    def events(
        self, simulator: Simulator, phi: DesignPoint, primaries: Events, generator: torch.Generator | None
    ) -> Events:
        seed = draw_seed(generator, phi.values.device)
        return explore(simulator, phi, primaries, seed, raced).joined()
