"""Derivatives through the weights of the events."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.errors import SimulationError
from mode_opt.events import Events
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.simulation import Promise, Simulator


@final
class ScoreFunction(GradientEstimator):
    """Each event's weight times ``exp(k (log p − stop_gradient(log p)))``: value 1, derivative ``k ∇ log p``.

    Every objective that is computed with weights then has its gradient, the parts that act through continuous
    hits included. Averages are normalised by the sum of weights, which subtracts the batch mean as a baseline
    but counts the event itself in it, so that the gradient comes out smaller by (n − 1)/n; with
    ``leave_one_out`` the factor ``k = n/(n − 1)`` undoes that (exactly for means, to order 1/n for functions of
    means). For an objective that is a plain sum over weights set it to False.

    Args:
        leave_one_out: whether ``k = n/(n − 1)`` or 1.

    Raises:
        SimulationError: if a stochastic simulator recorded no log-probability, or one that is not finite.

    Source: R. J. Williams, Machine Learning 8 (1992) 229; Foerster et al., arXiv 1802.05098 (the weight);
    Kool et al., "Buy 4 REINFORCE samples, get a baseline for free" (2019) (leave-one-out).
    """

    def __init__(self, leave_one_out: bool = True) -> None:
        self.leave_one_out = leave_one_out

    @property
    def requires(self) -> Promise:
        return Promise.STOCHASTIC

    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        phi = design()
        events = simulator(phi, primaries, generator)
        if events.log_probability is None and simulator.promise == Promise.STOCHASTIC:
            raise SimulationError(f"{type(simulator).__name__} is stochastic but recorded no log-probability")
        return score(self.attach(events), phi).mean()

    def attach(self, events: Events) -> Events:
        """The same events with the derivative of their log-probability in the weights."""
        recorded = events.log_probability
        if recorded is None:
            return events  # a differentiable simulator without choices: nothing to add to the pathwise part
        if not bool(torch.isfinite(recorded).all()):
            bad = int((~torch.isfinite(recorded)).sum())
            raise SimulationError(f"the log-probability of {bad} of {recorded.numel()} events is not finite")
        count = events.count
        factor = count / (count - 1) if self.leave_one_out and count > 1 else 1.0
        return events.reweighted(torch.exp(factor * (recorded - recorded.detach())))
