"""Central differences along random directions."""

from typing import final

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError
from mode_opt.gradients.displaced import Displaced


@final
class SimultaneousPerturbation(Displaced):
    """``(J(ψ + h δ) − J(ψ − h δ)) / 2h · δ``, all parameters displaced at once, each by +h or −h (SPSA).

    Works with every simulator; costs two simulations a direction, whatever the number of parameters. The bias is
    of order h²; the noise that the other parameters add to each component, ``Σ_{j≠i} (∂_j J)²`` for one direction,
    falls with the number of directions. Both sides use the same primaries and the same seed. The value is the mean
    over the displaced designs, J(ψ) up to order h².

    Args:
        step: ``h`` in ψ (1 is of the order of the whole range of a parameter).
        directions: random directions a step, over which is averaged.

    Raises:
        ConfigurationError: for a step or a number of directions that is not positive.

    Source: J. C. Spall, IEEE Trans. Autom. Control 37 (1992) 332.
    """

    def __init__(self, step: float = 0.05, directions: int = 4) -> None:
        if not step > 0:
            raise ConfigurationError("gradient.step", step, "a positive number")
        if directions < 1:
            raise ConfigurationError("gradient.directions", directions, "a positive whole number")
        super().__init__(step)
        self.count = directions

    def directions(self, psi: Tensor, generator: torch.Generator | None) -> tuple[Tensor, float]:
        shape = (self.count, psi.shape[1])
        coins = torch.randint(2, shape, generator=generator, device=generator.device if generator else None)
        return (2 * coins - 1).to(psi), 1 / self.count
