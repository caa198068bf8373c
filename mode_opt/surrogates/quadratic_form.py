"""Values that are quadratic in the design, with coefficients from a network of the primaries."""

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from mode_opt.surrogates.density import ConditionalDensity
from mode_opt.surrogates.model import ConditionalModel, Rows
from mode_opt.surrogates.networks import Perceptron
from mode_opt.surrogates.training import FitReport, Training, train

FULL_CURVATURE = 12
"""Up to this number of design columns the curvature is a full matrix."""


@final
class QuadraticForm(nn.Module):
    """``q = a(p) + b(p)ᵀ δ + ½ δᵀ C(p) δ`` for primaries p and displacements δ of the design.

    C is any symmetric matrix for few design columns; for many ``diag(e) + Σ_r (f_r g_rᵀ + g_r f_rᵀ) / 2``.

    Args:
        designs: ``d``, columns of δ.
        primaries: columns of p.
        outputs: ``k``.
        hidden: width of the network.
        rank: ``r``, for many design columns.
    """

    def __init__(self, designs: int, primaries: int, outputs: int, hidden: int = 32, rank: int = 2) -> None:
        super().__init__()
        self.designs, self.outputs, self.rank = designs, outputs, rank
        self.full = designs <= FULL_CURVATURE
        curvature = designs * (designs + 1) // 2 if self.full else designs * (1 + 2 * rank)
        self.network = Perceptron(primaries, hidden, outputs * (1 + designs + curvature))

    def reset(self, generator: torch.Generator) -> None:
        """All coefficients zero (of the low rank: one factor, so that the other can learn)."""
        self.network.reset(generator)
        if self.full:
            return
        with torch.no_grad():
            left = self.network.last.bias.unflatten(0, (self.outputs, -1))[:, 1 + 2 * self.designs :]
            size = (self.outputs, self.rank * self.designs)
            left[:, : size[1]] = torch.randn(size, generator=generator) / math.sqrt(self.designs)

    def forward(self, displacement: Tensor, primaries: Tensor) -> Tensor:
        """``m x k`` from ``m x d`` and ``m x p``."""
        d, shape = self.designs, (self.outputs, -1)
        output, delta = self.network(primaries).unflatten(1, shape), displacement[:, None]
        value = output[:, :, 0] + (output[:, :, 1 : 1 + d] * delta).sum(2)
        curvature = output[:, :, 1 + d :]
        if self.full:
            row, column = torch.triu_indices(d, d, device=delta.device)
            factor = torch.where(row == column, 0.5, 1.0)
            return value + (curvature * (factor * delta[:, :, row] * delta[:, :, column])).sum(2)
        left, right = curvature[:, :, d:].unflatten(2, (2, self.rank, d)).unbind(2)
        mixed = (left * delta[:, :, None]).sum(3) * (right * delta[:, :, None]).sum(3)
        return value + 0.5 * (curvature[:, :, :d] * delta**2).sum(2) + 0.5 * mixed.sum(2)

    def follow(self, shift: Tensor, scale: Tensor) -> None:
        """Follow in the primaries, behind the design columns; in the design the form stays relative to the centre."""
        self.network.follow(shift[self.designs :], scale[self.designs :])


@final
class QuadraticDensity(ConditionalDensity):
    """``x = q(δ, p) + exp(l(p)) u`` with the learnt noise l; the condition is δ, then p.

    Args:
        designs: columns of δ.
        primaries: columns of p.
        features: ``k``.
        hidden: width of the networks.
        rank: of the curvature for many design columns.
    """

    def __init__(self, designs: int, primaries: int, features: int, hidden: int = 32, rank: int = 2) -> None:
        super().__init__(features)
        self.form = QuadraticForm(designs, primaries, features, hidden, rank)
        self.noise = Perceptron(primaries, hidden, features)

    def reset(self, generator: torch.Generator) -> None:
        self.form.reset(generator)
        self.noise.reset(generator)

    def follow(self, shift: Tensor, scale: Tensor) -> None:
        self.form.follow(shift, scale)
        self.noise.follow(shift[self.form.designs :], scale[self.form.designs :])

    def value(self, condition: Tensor) -> Tensor:
        """The mean, ``m x k``."""
        return self.form(*_parts(condition, self.form.designs))

    def _scale(self, condition: Tensor) -> Tensor:
        return 2.5 * torch.tanh(self.noise(condition[:, self.form.designs :]) / 2.5)

    def normalise(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        scale = self._scale(condition)
        return (x - self.value(condition)) * torch.exp(-scale), -scale.sum(1)

    def generate(self, u: Tensor, condition: Tensor) -> Tensor:
        return self.value(condition) + torch.exp(self._scale(condition)) * u


@final
class QuadraticClassifier(ConditionalModel):
    """The probability ``1 / (1 + exp(−q(δ, p)))`` that a feature is 1 rather than 0: a sample is this number.

    Where hits are rare the training takes all events with a hit and a random fraction of those without,
    with weights 1 / fraction.

    Args:
        designs: columns of δ.
        primaries: columns of p.
        features: ``k``.
        hidden: width of the network.
        rank: of the curvature for many design columns.
        misses_per_hit: events without a hit for each one with, at most.
    """

    def __init__(
        self,
        designs: int,
        primaries: int,
        features: int,
        hidden: int = 32,
        rank: int = 2,
        misses_per_hit: float = 4.0,
    ) -> None:
        super().__init__(features)
        self.form = QuadraticForm(designs, primaries, features, hidden, rank)
        self.misses_per_hit = misses_per_hit

    def reset(self, generator: torch.Generator) -> None:
        self.form.reset(generator)

    def follow(self, shift: Tensor, scale: Tensor) -> None:
        self.form.follow(shift, scale)

    def value(self, condition: Tensor) -> Tensor:
        """The logit, ``m x k``."""
        return self.form(*_parts(condition, self.form.designs))

    def sample(self, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        return torch.sigmoid(self.value(condition))

    def learn(
        self,
        rows: Rows,
        split: tuple[Tensor, Tensor],
        settings: Training,
        generator: torch.Generator,
        progress: Callable[[str, float], None],
    ) -> FitReport:
        thinned, kept = self._thinned(rows, split[0], generator)

        def loss(index: Tensor, _: torch.Generator) -> Tensor:
            part = (rows if index is split[1] else thinned).take(index)
            logit = self.value(part.condition)
            return part.mean(functional.binary_cross_entropy_with_logits(logit, part.features, reduction="none").sum(1))

        return train(self, loss, kept, split[1], settings, generator, progress, first_look=True)

    def _thinned(self, rows: Rows, kept: Tensor, generator: torch.Generator) -> tuple[Rows, Tensor]:
        """Rows with new weights, and which of ``kept`` are left."""
        hit = (rows.features > 0.5).any(1)
        hits = int(hit[kept].sum())
        fraction = min(1.0, self.misses_per_hit * max(hits, 1) / max(len(kept) - hits, 1))
        chosen = torch.rand(len(kept), generator=generator, device=kept.device) < fraction
        weight = torch.where(hit, rows.weight, rows.weight / fraction)
        left = kept[hit[kept] | chosen]
        return Rows(rows.condition, rows.features, weight), left if len(left) else kept


def _parts(condition: Tensor, designs: int) -> tuple[Tensor, Tensor]:
    return condition[:, :designs], condition[:, designs:]
