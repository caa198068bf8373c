"""Derivatives through the probability of what was drawn."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, SimulationError
from mode_opt.events import Events
from mode_opt.gradients.weighted import WeightedEstimator, without_itself
from mode_opt.simulation import Promise, Simulator

BASELINES = ("none", "leave_one_out", "learned")


@final
class ScoreFunction(WeightedEstimator):
    """Each event's weight times ``exp(log p − stop_gradient(log p))``: value 1, derivative ``∇ log p``.

    Averages are normalised by the sum of weights, which subtracts the batch mean as a baseline but counts the
    event itself in it, so that its part comes out smaller by 1 − w/Σw, (n − 1)/n for equal weights. The baselines:

    - ``leave_one_out`` divides by that: exact for means, to order 1/n for functions of means;
    - ``learned`` subtracts also what a network of the primaries expects of the event;
    - ``none`` takes the mean back, for comparison: unbiased as well, and much noisier.

    Args:
        baseline: one of these.
        controls: whether to subtract the recorded controls of the choices, see `WeightedEstimator`.

    Raises:
        ConfigurationError: for an unknown baseline; for a single event with a baseline, which is about the others.
        SimulationError: if a stochastic simulator recorded no log-probability, or one that is not finite.

    Source: R. J. Williams, Machine Learning 8 (1992) 229; Foerster et al., arXiv 1802.05098 (the weight);
    Kool et al., "Buy 4 REINFORCE samples, get a baseline for free" (2019) (leave-one-out).
    """

    def __init__(self, baseline: str = "leave_one_out", controls: bool = True) -> None:
        if baseline not in BASELINES:
            raise ConfigurationError("gradient.baseline", baseline, f"one of {', '.join(BASELINES)}")
        super().__init__(controls, learned=baseline == "learned", centred=baseline != "none")
        self.baseline = baseline

    @property
    def requires(self) -> Promise:
        return Promise.STOCHASTIC

    def factor(self, weight: Tensor) -> Tensor | float:
        return without_itself(weight) if self.baseline != "none" else 1.0

    def events(
        self, simulator: Simulator, phi: DesignPoint, primaries: Events, generator: torch.Generator | None
    ) -> Events:
        events = simulator(phi, primaries, generator)
        if events.log_probability is None and simulator.promise == Promise.STOCHASTIC:
            raise SimulationError(f"{type(simulator).__name__} is stochastic but recorded no log-probability")
        if primaries.count < 2 and self.baseline != "none" and events.log_probability is not None:
            expected = f"at least 2 for gradient.baseline={self.baseline}, which is a matter of the other events"
            raise ConfigurationError("events per step", primaries.count, expected)
        return attached(events)


def attached(events: Events) -> Events:
    """The same events with the derivative of their log-probability in the weights.

    Raises:
        SimulationError: if a log-probability is not finite.
    """
    recorded = events.log_probability
    if recorded is None:
        return events  # a differentiable simulator without choices: nothing to add to the pathwise part
    if not bool(torch.isfinite(recorded).all()):
        bad = int((~torch.isfinite(recorded)).sum())
        raise SimulationError(f"the log-probability of {bad} of {recorded.numel()} events is not finite")
    return events.reweighted(torch.exp(recorded - recorded.detach()))
