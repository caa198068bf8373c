"""Derivatives by repeating the simulation at displaced designs."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.gradients.base import GradientEstimator, Score
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
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device if generator else None))
        with torch.no_grad():
            shifts = self.step * torch.eye(psi.shape[1], dtype=psi.dtype, device=psi.device)
            values = []
            for shift in torch.cat([shifts, -shifts]):
                phi = design.point(psi + shift)
                common = torch.Generator(psi.device).manual_seed(seed)
                values.append(score(simulator(phi, primaries, common), phi).mean())
            above, below = torch.stack(values).chunk(2)
            slope = (above - below) / (2 * self.step)
            value = torch.stack(values).mean()
        return value + (slope * (psi - psi.detach())[0]).sum()
