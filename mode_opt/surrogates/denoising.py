"""A conditional denoising diffusion with few deterministic steps."""

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from mode_opt.surrogates.model import ConditionalModel, Rows
from mode_opt.surrogates.networks import Perceptron
from mode_opt.surrogates.training import FitReport, Training, train


@final
class Denoising(ConditionalModel):
    """``x_t = cos t · x + sin t · ε``, ``0 ≤ t ≤ π/2``; a network learns ``v = cos t · ε − sin t · x``.

    Samples start at ``x_{π/2} = ε`` and follow ``dx/dt = E[v | x_t, c]`` down to t = 0 (the probability flow of
    which DDIM is a discretisation) by the midpoint rule in equal steps: no further noise, so that samples carry
    pathwise derivatives. For standard normal features the mean of v is zero: a new model already draws these exactly,
    and training only has to find what is different.

    Reference:
        J. Song et al., "Denoising diffusion implicit models", arXiv:2010.02502; T. Salimans and J. Ho,
        "Progressive distillation", arXiv:2202.00512 (the velocity).

    Args:
        features: ``k``.
        conditions: ``c``.
        hidden: width of the network.
        turns: steps of the sampling, two looks at the network each.
    """

    def __init__(self, features: int, conditions: int, hidden: int = 48, turns: int = 8) -> None:
        super().__init__(features)
        self.network, self.turns = Perceptron(conditions + features + 4, hidden, features), turns

    def reset(self, generator: torch.Generator) -> None:
        self.network.reset(generator)

    def velocity(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """``v``, ``m x k``, at times ``m x 1``."""
        waves = [torch.cos(time), torch.sin(time), torch.cos(2 * time), torch.sin(2 * time)]
        return self.network(torch.cat([condition, x, *waves], dim=1))

    def sample(self, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        size = (len(condition), self.features)
        x = torch.randn(size, generator=generator, dtype=condition.dtype, device=condition.device)
        step = 0.5 * math.pi / self.turns
        for k in range(self.turns):
            time = condition.new_full((len(condition), 1), 0.5 * math.pi - k * step)
            half = x - 0.5 * step * self.velocity(x, time, condition)
            x = x - step * self.velocity(half, time - 0.5 * step, condition)
        return x

    def learn(
        self,
        rows: Rows,
        split: tuple[Tensor, Tensor],
        settings: Training,
        generator: torch.Generator,
        progress: Callable[[str, float], None],
    ) -> FitReport:
        def loss(index: Tensor, noise: torch.Generator) -> Tensor:
            # Held-out rows are looked at repeatedly: as many times and noises as a batch has.
            part = rows.take(index.repeat(max(1, math.ceil(settings.batch / len(index)))))
            return part.mean(self._squares(part, noise))

        return train(self, loss, *split, settings, generator, progress, first_look=True)

    def _squares(self, rows: Rows, generator: torch.Generator) -> Tensor:
        x, m, device = rows.features, len(rows.features), rows.features.device
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=device)
        # One time in each m-th of the range: less noise than independent times.
        part = torch.rand(m, 1, generator=generator, dtype=x.dtype, device=device)
        time = 0.5 * math.pi * (torch.randperm(m, generator=generator, device=device)[:, None] + part) / m
        now = torch.cos(time) * x + torch.sin(time) * noise
        target = torch.cos(time) * noise - torch.sin(time) * x
        return ((self.velocity(now, time, rows.condition) - target) ** 2).mean(1)
