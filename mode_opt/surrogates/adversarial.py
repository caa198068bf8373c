"""A conditional generative adversarial network with a Cramér or a Wasserstein critic."""

import copy
import time
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from mode_opt.errors import ConfigurationError
from mode_opt.surrogates.model import ConditionalModel, Rows
from mode_opt.surrogates.networks import Perceptron
from mode_opt.surrogates.training import Best, FitReport, Training, descend

CRITICS = ("cramer", "wasserstein")


@final
class Adversarial(ConditionalModel):
    """``x = n_{1…k} + G(c, n)``, n normal noise, G trained against a critic with gradient penalty.

    Cramér: with the critic's embedding ``h(x, c) = (x, N(x, c))``, the generator minimises the energy distance
    ``E|h(x) − h(g)| + E|h(x) − h(g′)| − E|h(g) − h(g′)|`` and the critic maximises the difference of
    ``f(x) = |h(x) − h(g′)| − |h(x)|`` between data and samples. With N = 0 this is the energy score of the samples,
    a proper score, so that the generator learns from the first step. Wasserstein: f is a network itself. The
    weights kept are a running average, chosen by the energy score of held-out events.

    Reference:
        M. G. Bellemare et al., arXiv:1705.10743; I. Gulrajani et al., arXiv:1704.00028; as a local surrogate:
        S. Shirobokov et al., NeurIPS 2020, arXiv:2002.04632.

    Args:
        features: ``k``.
        conditions: ``c``.
        hidden: width of the networks.
        noise: numbers of noise, at least the features.
        critic: ``cramer`` or ``wasserstein``.
        penalty: factor of ``(|∇f| − 1)²``.
        averaged: share of the old average that a step keeps.

    Raises:
        ConfigurationError: for another critic.
    """

    def __init__(
        self,
        features: int,
        conditions: int,
        hidden: int = 48,
        noise: int = 4,
        critic: str = "cramer",
        penalty: float = 10.0,
        averaged: float = 0.97,
    ) -> None:
        super().__init__(features)
        if critic not in CRITICS:
            raise ConfigurationError("surrogate.critic", critic, f"one of {', '.join(CRITICS)}")
        self.noise, self.kind, self.penalty, self.averaged = max(noise, features), critic, penalty, averaged
        self.generator = Perceptron(conditions + self.noise, hidden, features)
        self.critic = Perceptron(conditions + features, hidden, 8 if critic == "cramer" else 1)

    def reset(self, generator: torch.Generator) -> None:
        self.generator.reset(generator)
        self.critic.reset(generator)

    def sample(self, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        return self._sample(self.generator, condition, generator)

    def _sample(self, network: nn.Module, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        size = (len(condition), self.noise)
        noise = torch.randn(size, generator=generator, dtype=condition.dtype, device=condition.device)
        return noise[:, : self.features] + network(torch.cat([condition, noise], dim=1))

    def learn(
        self,
        rows: Rows,
        split: tuple[Tensor, Tensor],
        settings: Training,
        generator: torch.Generator,
        progress: Callable[[str, float], None],
    ) -> FitReport:
        start, average = time.monotonic(), copy.deepcopy(self.generator)
        best = Best(average)
        try:
            self._duel(rows, split, settings, generator, progress, average, best)
        finally:
            self.generator.load_state_dict(best.weights)
        progress("training the surrogate", 1.0)
        return best.report(time.monotonic() - start)

    def _duel(
        self,
        rows: Rows,
        split: tuple[Tensor, Tensor],
        settings: Training,
        generator: torch.Generator,
        progress: Callable[[str, float], None],
        average: Perceptron,
        best: Best,
    ) -> None:
        kept, held = split
        descents = [_Descent(part, settings) for part in (self.critic, self.generator)]
        recent = [self._score(rows, kept, average, generator)]
        for step in range(settings.steps + 1):
            if step % settings.check_every == 0 or step == settings.steps:
                best.look(step, sum(recent) / len(recent), self._score(rows, held, average, generator))
                recent = []
                progress("training the surrogate", step / settings.steps)
                if step - best.step >= settings.patience * settings.check_every:
                    return
            part = rows.take(kept[torch.randint(len(kept), (settings.batch,), generator=generator, device=kept.device)])
            descents[0](self._critic_loss(part, generator))
            recent.append(descents[1](self._generator_loss(part, generator)))
            # Late in the training the average is long; early it must not hold on to the start.
            share = min(self.averaged, (step + 1) / (step + 10))
            with torch.no_grad():
                for old, new in zip(average.parameters(), self.generator.parameters(), strict=True):
                    old.lerp_(new, 1 - share)

    def _embedded(self, x: Tensor, condition: Tensor) -> Tensor:
        return torch.cat([x, self.critic(torch.cat([condition, x], dim=1))], dim=1)

    def _critic_loss(self, rows: Rows, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            fake, other = (self.sample(rows.condition, generator) for _ in range(2))
        share = torch.rand(len(fake), 1, generator=generator, dtype=fake.dtype, device=fake.device)
        between = (share * rows.features + (1 - share) * fake).requires_grad_()
        against = self._embedded(other, rows.condition) if self.kind == "cramer" else None
        real, false, middle = (self._critic(x, rows.condition, against) for x in (rows.features, fake, between))
        (slope,) = torch.autograd.grad(middle.sum(), between, create_graph=True)
        return rows.mean(false - real + self.penalty * (_norm(slope) - 1) ** 2)

    def _critic(self, x: Tensor, condition: Tensor, against: Tensor | None) -> Tensor:
        if against is None:
            return self.critic(torch.cat([condition, x], dim=1))[:, 0]
        embedded = self._embedded(x, condition)
        return _norm(embedded - against) - _norm(embedded)

    def _generator_loss(self, rows: Rows, generator: torch.Generator) -> Tensor:
        fake = self.sample(rows.condition, generator)
        if self.kind == "wasserstein":
            return -rows.mean(self._critic(fake, rows.condition, None))
        other = self.sample(rows.condition, generator)
        x, a, b = (self._embedded(value, rows.condition) for value in (rows.features, fake, other))
        return rows.mean(_norm(x - a) + _norm(x - b) - _norm(a - b))

    def _score(self, rows: Rows, index: Tensor, network: nn.Module, generator: torch.Generator) -> float:
        """The energy score ``E|x − g| − E|g − g′| / 2``, with the same noise at each look."""
        fixed = torch.Generator(index.device).manual_seed(generator.initial_seed())
        part = rows.take(index.repeat(4))
        with torch.no_grad():
            a, b = (self._sample(network, part.condition, fixed) for _ in range(2))
            pairs = 0.5 * (_norm(part.features - a) + _norm(part.features - b) - _norm(a - b))
            return float(part.mean(pairs))


class _Descent:
    """Adam along a cosine to zero."""

    def __init__(self, module: nn.Module, settings: Training) -> None:
        self.module, self.norm = module, settings.gradient_norm
        self.optimiser = torch.optim.AdamW(
            module.parameters(), settings.learning_rate, betas=(0.5, 0.9), weight_decay=settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, settings.steps + 1)

    def __call__(self, loss: Tensor) -> float:
        value = float(descend(self.module, loss, self.optimiser, self.norm))
        self.schedule.step()
        return value


def _norm(x: Tensor) -> Tensor:
    """Euclidean norm of each row; its derivative at zero is zero, not NaN."""
    return torch.sqrt((x**2).sum(1) + 1e-12)
