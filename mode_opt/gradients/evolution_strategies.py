"""The gradient of a smoothed objective, from values at random designs."""

from typing import final

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError
from mode_opt.gradients.displaced import Displaced


@final
class EvolutionStrategies(Displaced):
    """``ε (J(ψ + σ ε) − J(ψ − σ ε)) / 2σ`` averaged over normal ε: the gradient of the smoothed objective, not of J.

    It is unbiased for ``J_σ(ψ) = E_ε[J(ψ + σ ε)]``, which also exists where J jumps; for smooth J the two differ by
    order σ². Works with every simulator; costs two simulations a pair, and the noise that the other parameters
    add is that of `SimultaneousPerturbation` and a little more. Both sides use the same primaries and the same
    seed. The value estimates J_σ(ψ).

    Args:
        width: σ in ψ (1 is of the order of the whole range of a parameter).
        pairs: opposite displacements a step, over which is averaged.

    Raises:
        ConfigurationError: for a width or a number of pairs that is not positive.

    Source: Y. Nesterov and V. Spokoiny, Found. Comput. Math. 17 (2017) 527; T. Salimans et al., arXiv 1703.03864.
    """

    def __init__(self, width: float = 0.05, pairs: int = 8) -> None:
        if not width > 0:
            raise ConfigurationError("gradient.width", width, "a positive number")
        if pairs < 1:
            raise ConfigurationError("gradient.pairs", pairs, "a positive whole number")
        super().__init__(width)
        self.pairs = pairs

    def directions(self, psi: Tensor, generator: torch.Generator | None) -> tuple[Tensor, float]:
        where = generator.device if generator is not None else psi.device
        normal = torch.randn(self.pairs, psi.shape[1], dtype=psi.dtype, generator=generator, device=where)
        return normal.to(psi), 1 / self.pairs
