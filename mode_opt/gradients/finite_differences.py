"""Derivatives by repeating the simulation at displaced designs."""

from typing import final

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError
from mode_opt.gradients.displaced import Displaced


@final
class FiniteDifferences(Displaced):
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
        super().__init__(step)

    def directions(self, psi: Tensor, generator: torch.Generator | None) -> tuple[Tensor, float]:
        return torch.eye(psi.shape[1], dtype=psi.dtype, device=psi.device), 1.0
