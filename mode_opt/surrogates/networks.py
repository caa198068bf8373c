"""The small networks that all families use."""

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional


@final
class Perceptron(nn.Module):
    """Two hidden layers with SiLU and a linear by-pass: smooth, and zero everywhere when new.

    Args:
        inputs: size of the input.
        hidden: width of both hidden layers.
        outputs: size of the output.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)
        self.last, self.direct = nn.Linear(hidden, outputs), nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.silu(self.second(functional.silu(self.first(x))))
        return self.last(hidden) + self.direct(x)

    def reset(self, generator: torch.Generator) -> None:
        """Hidden weights uniform with variance ``1 / (3 inputs)``, output zero."""
        with torch.no_grad():
            for layer in (self.first, self.second):
                uniform(layer, generator)
            for value in (self.last.weight, self.last.bias, self.direct.weight):
                value.zero_()

    def follow(self, shift: Tensor, scale: Tensor) -> None:
        """Stay the same function when the leading inputs ``x`` become ``(x - shift) / scale``."""
        with torch.no_grad():
            _follow(self.first.weight, self.first.bias, shift, scale)
            _follow(self.direct.weight, self.last.bias, shift, scale)


@final
class Affine(nn.Module):
    """``A x + b``, the identity when new: the door through which a condition enters a network of others.

    Args:
        size: of input and output.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.eye(size)), nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)

    def reset(self) -> None:
        """The identity."""
        with torch.no_grad():
            nn.init.eye_(self.weight)
            self.bias.zero_()

    def follow(self, shift: Tensor, scale: Tensor) -> None:
        """As for `Perceptron`."""
        with torch.no_grad():
            _follow(self.weight, self.bias, shift, scale)


def uniform(layer: nn.Module, generator: torch.Generator) -> None:
    """Weights and biases of a linear layer (of torch or of another library) uniform, variance ``1 / (3 inputs)``."""
    bound = 1 / math.sqrt(layer.get_parameter("weight").shape[1])
    with torch.no_grad():
        for value in (layer.get_parameter("weight"), layer.get_parameter("bias")):
            value.copy_(bound * (2 * torch.rand(value.shape, generator=generator) - 1))


def _follow(weight: Tensor, bias: Tensor, shift: Tensor, scale: Tensor) -> None:
    leading = weight[:, : len(shift)]
    bias += leading @ shift
    leading *= scale
