"""The estimator that fits the simulator."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.events import Events
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.gradients.finite_differences import FiniteDifferences
from mode_opt.gradients.pathwise import Pathwise
from mode_opt.gradients.pruned_alternative import PrunedAlternative
from mode_opt.gradients.score_function import ScoreFunction
from mode_opt.simulation import Program, Promise, Simulator
from mode_opt.simulation.running import parts


@final
class Automatic(GradientEstimator):
    """The cheapest unbiased estimator that the promise of the simulator allows.

    Differentiable: `Pathwise`; stochastic: `ScoreFunction`; black box: `FiniteDifferences`.
    """

    @property
    def requires(self) -> Promise:
        return Promise.BLACK_BOX

    def choose(self, simulator: Simulator) -> GradientEstimator:
        """The estimator for this simulator."""
        if simulator.promise == Promise.DIFFERENTIABLE:
            return Pathwise()
        return ScoreFunction() if simulator.promise == Promise.STOCHASTIC else FiniteDifferences()

    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return self.choose(simulator).loss(simulator, design, primaries, score, generator)


def quietest(simulator: Simulator) -> GradientEstimator:
    """The unbiased estimator with the least noise an event, for a simulator whose calls cost nothing.

    As `Automatic`, but `PrunedAlternative` wherever all random choices can be taken over: the counter of a chain has
    then a hundredth of the variance of score functions, and with the same seed hardly any noise between designs.
    """
    stochastic = [part for part in parts(simulator) if part.promise == Promise.STOCHASTIC]
    if simulator.promise == Promise.STOCHASTIC and all(isinstance(part, Program) for part in stochastic):
        return PrunedAlternative()
    return Automatic().choose(simulator)
