"""Independent skewed and tailed one-dimensional densities."""

from typing import final

import torch
from torch import Tensor

from mode_opt.surrogates.density import ConditionalDensity
from mode_opt.surrogates.networks import Perceptron


@final
class SinhArcsinh(ConditionalDensity):
    """``x_i = m_i + exp(l_i) sinh((arsinh(u_i) + e_i) / d_i)``, m, l, e, log d functions of the condition.

    Skewed for ``e != 0``, heavier tails than Gaussian for ``d < 1``; Gaussian at ``e = 0, d = 1``.

    Reference:
        M. C. Jones and A. Pewsey, Biometrika 96 (2009) 761.

    Args:
        features: ``k``.
        conditions: ``c``.
        hidden: width of the network.
    """

    def __init__(self, features: int, conditions: int, hidden: int = 48) -> None:
        super().__init__(features)
        self.network = Perceptron(conditions, hidden, 4 * features)

    def reset(self, generator: torch.Generator) -> None:
        self.network.reset(generator)

    def _curve(self, condition: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, scale, skew, tail = self.network(condition).chunk(4, dim=1)
        return mean, scale, 0.3 * skew, torch.exp(0.3 * tail)

    def normalise(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        mean, scale, skew, tail = self._curve(condition)
        w = (x - mean) * torch.exp(-scale)
        inner = tail * torch.asinh(w) - skew
        volume = tail.log() - scale + torch.log(torch.cosh(inner)) - 0.5 * torch.log1p(w**2)
        return torch.sinh(inner), volume.sum(1)

    def generate(self, u: Tensor, condition: Tensor) -> Tensor:
        mean, scale, skew, tail = self._curve(condition)
        return mean + torch.exp(scale) * torch.sinh((torch.asinh(u) + skew) / tail)
