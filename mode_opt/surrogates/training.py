"""The fit of a density: Adam on batches, early stopping on designs that took no part."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError

Loss = Callable[[Tensor, torch.Generator], Tensor]
"""Mean negative log-likelihood of the events with the given numbers."""


@dataclass(frozen=True)
class Training:
    """Settings of a fit.

    Attributes:
        steps: optimiser steps at most.
        batch: events in a step.
        learning_rate: at its highest; it rises over the first tenth and falls along a cosine to zero.
        weight_decay: of AdamW (Loshchilov and Hutter, arXiv:1711.05101).
        gradient_norm: longer gradients are shortened to this.
        held_out: fraction of the designs for early stopping (of the events if
            there are fewer than 5 designs).
        check_every: steps between two looks at the held-out loss.
        patience: looks without improvement after which the fit ends; the best weights are kept.

    Raises:
        ConfigurationError: for numbers that make no sense.
    """

    steps: int = 2000
    batch: int = 512
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    gradient_norm: float = 20.0
    held_out: float = 0.1
    check_every: int = 100
    patience: int = 8

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "learning_rate", "gradient_norm", "check_every", "patience"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"surrogate.training.{name}", getattr(self, name), "more than 0")
        if not 0 < self.held_out < 1:
            raise ConfigurationError("surrogate.training.held_out", self.held_out, "a fraction between 0 and 1")


@dataclass(frozen=True)
class FitReport:
    """How a fit went.

    Attributes:
        steps: optimiser steps taken.
        best_step: the step whose weights were kept.
        training_loss: mean negative log-likelihood over the last steps before the best look.
        held_out_loss: the same on the held-out designs, at the best look.
        history: (step, training loss, held-out loss) at each look.
        seconds: wall time.
        cached: whether the weights came from the cache.
    """

    steps: int
    best_step: int
    training_loss: float
    held_out_loss: float
    history: tuple[tuple[int, float, float], ...] = field(repr=False)
    seconds: float = 0.0
    cached: bool = False

    def asdict(self) -> dict[str, Any]:
        """Plain containers, for JSON and checkpoints."""
        return asdict(self)


def hold_out(phi: DesignPoint, count: int, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers of the ``b * count`` events to train on and of those held out, without a common design.

    Equal designs stay together. With fewer than 5 different designs single events are held out; a single event
    is in both parts.
    """
    designs, group = torch.unique(phi.values.cpu(), dim=0, return_inverse=True)
    of_event = group.repeat_interleave(count)
    if len(designs) < 5:
        of_event = torch.arange(len(of_event))
    groups = int(of_event.max()) + 1
    chosen = torch.zeros(groups, dtype=torch.bool)
    chosen[torch.randperm(groups, generator=generator)[: max(1, round(fraction * groups))]] = True
    held = chosen[of_event]
    if held.all():
        return (held.nonzero()[:, 0].to(phi.values.device),) * 2
    return (~held).nonzero()[:, 0].to(phi.values.device), held.nonzero()[:, 0].to(phi.values.device)


def train(
    module: nn.Module,
    loss: Loss,
    kept: Tensor,
    held: Tensor,
    settings: Training,
    generator: torch.Generator,
    progress: Callable[[str, float], None],
    first_look: bool = False,
) -> FitReport:
    """Minimise ``loss`` over the events ``kept``; ends with the weights that were best on ``held``.

    With ``first_look`` the weights before the first step count too: a fit that only makes things worse changes
    nothing.

    Raises:
        NonFiniteError: if a loss is NaN or infinite; the module keeps the weights that were best so far.
    """
    start, best = time.monotonic(), Best(module)
    optimiser = torch.optim.AdamW(module.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.steps + 1, pct_start=0.1
    )

    def held_out_loss() -> float:
        with torch.no_grad():
            # The same noise at each look, so that looks can be compared.
            fixed = torch.Generator(kept.device).manual_seed(generator.initial_seed())
            return float(loss(held, fixed))

    if first_look:
        value = held_out_loss()
        best.look(0, value, value)
    recent: list[Tensor] = []
    for step in range(1, settings.steps + 1):
        rows = kept[torch.randint(len(kept), (settings.batch,), generator=generator, device=kept.device)]
        recent.append(descend(module, loss(rows, generator), optimiser, settings.gradient_norm))
        schedule.step()
        if step % settings.check_every and step != settings.steps:
            continue
        best.look(step, float(torch.stack(recent).mean()), held_out_loss())
        recent = []
        progress("training the surrogate", step / settings.steps)
        if step - best.step >= settings.patience * settings.check_every:
            break
    module.load_state_dict(best.weights)
    progress("training the surrogate", 1.0)
    return best.report(time.monotonic() - start)


class Best:
    """The weights with the lowest held-out loss so far.

    Args:
        module: whose weights are kept.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module, self.weights = module, _copy(module)
        self.loss, self.step = float("inf"), 0
        self.history: list[tuple[int, float, float]] = []

    def look(self, step: int, training: float, held: float) -> None:
        """Compare the present weights with the best ones.

        Raises:
            NonFiniteError: for losses that are not finite; the module has the best weights again.
        """
        self.history.append((step, training, held))
        if not (math.isfinite(training) and math.isfinite(held)):
            self.module.load_state_dict(self.weights)
            raise NonFiniteError(
                f"surrogate.fit: by step {step} the loss is {training} in training and {held} on held-out "
                "designs; lower surrogate.training.learning_rate, or look for outliers in the data"
            )
        if held < self.loss:
            self.loss, self.step, self.weights = held, step, _copy(self.module)

    def report(self, seconds: float) -> FitReport:
        """How it went, after the last look."""
        training = next(training for step, training, _ in self.history if step == self.step)
        return FitReport(self.history[-1][0], self.step, training, self.loss, tuple(self.history), seconds)


def descend(module: nn.Module, loss: Tensor, optimiser: torch.optim.Optimizer, norm: float) -> Tensor:
    """One step of the optimiser along a gradient of at most the given norm; the loss, detached."""
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), norm)
    optimiser.step()
    return loss.detach()


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}
