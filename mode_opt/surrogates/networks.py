"""The small network that all families use."""

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
                bound = 1 / math.sqrt(layer.in_features)
                for value in (layer.weight, layer.bias):
                    value.copy_(bound * (2 * torch.rand(value.shape, generator=generator) - 1))
            for value in (self.last.weight, self.last.bias, self.direct.weight):
                value.zero_()
