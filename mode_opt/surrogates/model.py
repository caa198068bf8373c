"""What a conditional generative model is, and the rows of numbers from which it learns."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mode_opt.errors import NonFiniteError
from mode_opt.surrogates.networks import Affine, Perceptron
from mode_opt.surrogates.training import FitReport, Training


@dataclass(frozen=True, eq=False)
class Rows:
    """Simulated events as numbers.

    Attributes:
        condition: ``m x c``, about standard normal or uniform of unit variance.
        features: ``m x k``, what is to be generated.
        weight: ``m``, not negative.
    """

    condition: Tensor
    features: Tensor
    weight: Tensor

    def take(self, index: Tensor) -> "Rows":
        """Some of the rows."""
        return Rows(self.condition[index], self.features[index], self.weight[index])

    def mean(self, loss: Tensor) -> Tensor:
        """The weighted mean of ``m`` numbers; zero if all weights are."""
        return (self.weight * loss).sum() / self.weight.sum().clamp_min(torch.finfo(loss.dtype).tiny)


class ConditionalModel(nn.Module, ABC):
    """Draws features ``x ~ p(x | c)``; samples carry derivatives in the condition.

    The condition enters through `Perceptron` and `Affine` networks only, as their leading inputs.

    Attributes:
        features: ``k``.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    @abstractmethod
    def reset(self, generator: torch.Generator) -> None:
        """New initial weights."""

    @abstractmethod
    def sample(self, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        """Features ``m x k``, one draw for each row of ``m x c``, differentiable in condition and weights."""

    @abstractmethod
    def learn(
        self,
        rows: Rows,
        split: tuple[Tensor, Tensor],
        settings: Training,
        generator: torch.Generator,
        progress: Callable[[str, float], None],
    ) -> FitReport:
        """Train from the present weights.

        Args:
            rows: all events.
            split: numbers of the rows to train on and of those that stop the training.
            settings: of the training.
            generator: chooses batches and noise.
            progress: told what is being done and the fraction done.

        Raises:
            NonFiniteError: for a loss that is not finite; the best weights so far are kept.
        """

    def follow(self, shift: Tensor, scale: Tensor) -> None:
        """Stay the same function when the condition ``c`` becomes ``(c - shift) / scale``.

        A neighbourhood that moves has other moments, and its standardised conditions stay of order one.
        """
        for network in self.modules():
            if isinstance(network, (Perceptron, Affine)):
                network.follow(shift, scale)


def finite(name: str, values: Tensor) -> Tensor:
    """The values.

    Raises:
        NonFiniteError: for NaN or infinity among them.
    """
    bad = int((~values.isfinite()).sum())
    if bad:
        raise NonFiniteError(
            f"surrogate.fit: {bad} of {values.numel()} values of the {name} are NaN or infinite, expected 0"
        )
    return values


def moments(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and standard deviation of the columns of ``m x k``, and which of them vary at all.

    A column that does not vary but for rounding has the scale 1.
    """
    mean, scale = values.mean(0), values.std(0, unbiased=False)
    varies = scale > 1e-6 * mean.abs()
    return mean, torch.where(varies, scale, torch.ones_like(scale)), varies
