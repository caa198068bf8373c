"""Derivatives through the simulated values themselves."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.events import Events
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.simulation import Promise, Simulator


@final
class Pathwise(GradientEstimator):
    """``dJ/dψ`` by automatic differentiation along hits = h(φ(ψ), noise), with the noise held fixed.

    Unbiased for a differentiable simulator (reparameterisation). Of a discrete simulator it would miss every
    derivative that passes through a choice, which is why that is refused.
    """

    @property
    def requires(self) -> Promise:
        return Promise.DIFFERENTIABLE

    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        phi = design()
        return score(simulator(phi, primaries, generator), phi).mean()
