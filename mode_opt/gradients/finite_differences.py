"""Derivatives by repeating the simulation at displaced designs."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.gradients.displaced import both_sides, linear
from mode_opt.simulation import Promise, Simulator


@final
class FiniteDifferences(GradientEstimator):
    """Central differences in ψ with common random numbers, ``(J(ψ + h eᵢ) − J(ψ − h eᵢ)) / 2h``.

    Works with every simulator; costs ``2 d`` simulations a step and has a bias of order h². Both sides use the
    same primaries and the same seed, so that the noise they share cancels; a simulator that ignores the
    generator is merely noisier. The value is the mean over the displaced designs, J(ψ) up to order h².

    Args:
        step: ``h`` in ψ (1 is of the order of the whole range of a parameter).

    Raises:
        ConfigurationError: if the step is not positive.
    """

    def __init__(self, step: float = 0.05) -> None:
        if not step > 0:
            raise ConfigurationError("gradient.step", step, "a positive number")
        self.step = step

    @property
    def requires(self) -> Promise:
        return Promise.BLACK_BOX

    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        psi = design.psi
        shifts = self.step * torch.eye(psi.shape[1], dtype=psi.dtype, device=psi.device)
        above, below = both_sides(simulator, design, primaries, score, shifts, generator)
        return linear((above.mean() + below.mean()) / 2, (above - below) / (2 * self.step), psi)
