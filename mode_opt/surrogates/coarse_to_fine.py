"""A flow for profiles: coarse modes first, finer ones given the coarser."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import final

import torch
from torch import Tensor, nn

from mode_opt.errors import ConfigurationError
from mode_opt.surrogates.density import ConditionalDensity
from mode_opt.surrogates.networks import Perceptron


@final
class CoarseToFine(ConditionalDensity):
    """A block-autoregressive Gaussian flow over the cosine modes of an ordered vector.

    ``x = m(c) + s(c) · Dᵀ v`` with D the orthonormal discrete cosine transform, and for block B of modes

        v_B = μ_B(c, v_coarser) + σ_B(c, v_coarser) · (1 + L_B(c, v_coarser)) u_B

    with L strictly lower triangular for blocks of at most ``correlated`` modes, else zero. Long-range
    fluctuations live in few coarse modes, which get a full covariance and non-linear means; a sample costs
    one small network per block. With one block of at most ``correlated`` features it is any
    conditional Gaussian.

    Args:
        blocks: sizes of the blocks of modes, coarse to fine; their sum is the number of features.
        conditions: ``c``.
        hidden: width of the networks.
        correlated: largest block that has correlations of its own.

    Raises:
        ConfigurationError: for blocks that are not positive.
    """

    def __init__(self, blocks: Sequence[int], conditions: int, hidden: int = 48, correlated: int = 12) -> None:
        super().__init__(sum(blocks))
        if not blocks or min(blocks) < 1:
            raise ConfigurationError("blocks", list(blocks), "sizes of at least 1")
        self.blocks, self.correlated = tuple(blocks), correlated
        before = [0, *accumulate(blocks)][:-1]
        self.base = Perceptron(conditions, hidden, 2 * self.features)
        self.modes = nn.ModuleList(
            Perceptron(conditions + start, hidden, 2 * size + self._pairs(size))
            for start, size in zip(before, self.blocks, strict=True)
        )

    def _pairs(self, size: int) -> int:
        return size * (size - 1) // 2 if size <= self.correlated else 0

    def reset(self, generator: torch.Generator) -> None:
        for network in (self.base, *self.modes):
            network.reset(generator)

    def _moments(self, index: int, coarser: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Mean, logarithm of the scale, and unit-diagonal factor of one block."""
        size = self.blocks[index]
        output = self.modes[index](coarser)
        mean, scale = output[:, :size], 1.5 * torch.tanh(output[:, size : 2 * size] / 1.5)
        if not self._pairs(size):
            return mean, scale, None
        row, column = torch.tril_indices(size, size, -1, device=output.device)
        factor = torch.eye(size, dtype=output.dtype, device=output.device).repeat(len(output), 1, 1)
        factor[:, row, column] = output[:, 2 * size :]
        return mean, scale, factor

    def normalise(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        mean, scale = self.base(condition).chunk(2, dim=1)
        v = ((x - mean) * torch.exp(-scale)) @ _cosines(x).T
        noise, volume, coarser = [], -scale.sum(1), condition
        for index, part in enumerate(v.split(self.blocks, dim=1)):
            centre, spread, factor = self._moments(index, coarser)
            u = (part - centre) * torch.exp(-spread)
            if factor is not None:
                u = torch.linalg.solve_triangular(factor, u.unsqueeze(2), upper=False, unitriangular=True).squeeze(2)
            noise.append(u)
            volume = volume - spread.sum(1)
            coarser = torch.cat([coarser, part], dim=1)
        return torch.cat(noise, dim=1), volume

    def generate(self, u: Tensor, condition: Tensor) -> Tensor:
        coarser = condition
        for index, part in enumerate(u.split(self.blocks, dim=1)):
            centre, spread, factor = self._moments(index, coarser)
            mixed = part if factor is None else (factor @ part.unsqueeze(2)).squeeze(2)
            coarser = torch.cat([coarser, centre + torch.exp(spread) * mixed], dim=1)
        mean, scale = self.base(condition).chunk(2, dim=1)
        return mean + torch.exp(scale) * (coarser[:, condition.shape[1] :] @ _cosines(u))


def _cosines(like: Tensor) -> Tensor:
    """``k x k``, rows: orthonormal cosine modes (DCT-II) of vectors like the rows of ``like``."""
    size = like.shape[1]
    k = torch.arange(size, dtype=like.dtype, device=like.device)
    modes = math.sqrt(2 / size) * torch.cos(math.pi * k[:, None] * (k + 0.5) / size)
    return torch.cat([modes[:1] / math.sqrt(2), modes[1:]])
