"""A Gaussian whose mean and covariance depend on the condition."""

from typing import final

import torch
from torch import Tensor, nn

from mode_opt.surrogates.density import ConditionalDensity
from mode_opt.surrogates.networks import Perceptron

CORRELATED = 12
"""Up to this number of features their correlations depend on the condition."""


@final
class ConditionalGaussian(ConditionalDensity):
    """``x = μ(c) + exp(l(c)) (1 + L(c)) u``, L strictly lower triangular (independent of c for many features).

    Args:
        features: ``k``.
        conditions: ``c``.
        hidden: width of the network.
    """

    def __init__(self, features: int, conditions: int, hidden: int = 32) -> None:
        super().__init__(features)
        self.pairs = features * (features - 1) // 2
        varying = self.pairs if features <= CORRELATED else 0
        self.network = Perceptron(conditions, hidden, 2 * features + varying)
        self.common = nn.Parameter(torch.zeros(self.pairs - varying))

    def reset(self, generator: torch.Generator) -> None:
        self.network.reset(generator)
        with torch.no_grad():
            self.common.zero_()

    def _moments(self, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        k, output = self.features, self.network(condition)
        below = output[:, 2 * k :] if not len(self.common) else self.common.expand(1, -1)
        factor = torch.eye(k, dtype=output.dtype, device=output.device).repeat(len(below), 1, 1)
        row, column = torch.tril_indices(k, k, -1, device=output.device)
        factor[:, row, column] = below
        return output[:, :k], 2.5 * torch.tanh(output[:, k : 2 * k] / 2.5), factor

    def normalise(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        mean, scale, factor = self._moments(condition)
        u = (x - mean) * torch.exp(-scale)
        if self.pairs:
            u = torch.linalg.solve_triangular(factor, u.unsqueeze(2), upper=False, unitriangular=True).squeeze(2)
        return u, -scale.sum(1)

    def generate(self, u: Tensor, condition: Tensor) -> Tensor:
        mean, scale, factor = self._moments(condition)
        return mean + torch.exp(scale) * (factor @ u.unsqueeze(2)).squeeze(2)
