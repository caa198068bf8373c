"""A density of a few leading features, then of the rest given these."""

from typing import final

import torch
from torch import Tensor

from mode_opt.surrogates.density import ConditionalDensity


@final
class ChainRule(ConditionalDensity):
    """``p(x, y | c) = p(x | c) p(y | u(x), c)`` where u is the noise that makes x.

    A quantity that matters (a sum, a mass) gets a density of its own and is not blurred by many others. Noise
    beyond ``limit`` counts as ``limit`` in the condition of the rest. The rest does not act on the training
    of the first: each is the maximum-likelihood fit of its own factor.

    Args:
        first: of the leading features, conditioned on ``c`` numbers.
        rest: of the others, conditioned on ``c + first.features`` numbers.
        limit: see above.
    """

    def __init__(self, first: ConditionalDensity, rest: ConditionalDensity, limit: float = 4.0) -> None:
        super().__init__(first.features + rest.features)
        self.first, self.rest, self.limit = first, rest, limit

    def reset(self, generator: torch.Generator) -> None:
        self.first.reset(generator)
        self.rest.reset(generator)

    def _joined(self, u: Tensor, condition: Tensor) -> Tensor:
        return torch.cat([condition, u.clamp(-self.limit, self.limit)], dim=1)

    def normalise(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        k = self.first.features
        u, volume = self.first.normalise(x[:, :k], condition)
        v, further = self.rest.normalise(x[:, k:], self._joined(u.detach(), condition))
        return torch.cat([u, v], dim=1), volume + further

    def generate(self, u: Tensor, condition: Tensor) -> Tensor:
        k = self.first.features
        x = self.first.generate(u[:, :k], condition)
        return torch.cat([x, self.rest.generate(u[:, k:], self._joined(u[:, :k], condition))], dim=1)
