"""The probabilistic three-hump camel."""

import math
from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from mode_opt.design import Design, DesignPoint
from mode_opt.events import Events
from mode_opt.experiment import Detector
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import BlackBoxSimulator

from .inputs import UniformInputs
from .landscapes import orthonormal, random_state
from .objectives import Window
from .problem import Problem

LOW, HIGH = (-2.0, 0.0), (2.0, 5.0)
"""Of the two inputs."""

WIDTH = 10.0
"""Of the window that the response should fall into."""

OPTIMUM, BEST = -0.8582085, 1.2323234
"""Smallest expected objective, at ``(0, ±BEST)``: there ``h = BEST² = 1.518621``."""


@final
class Coordinates(nn.Module):
    """The two coordinates (a, c) of a design: the design itself, or ``B tanh(A φ)``.

    Args:
        dimension: d of the design.
        hidden: k; A is ``k x d`` and B ``2 x k``, both with orthonormal rows (QR factors of normal matrices).
            None for the design itself.
        seed: of A, then B, for numpy's legacy generator.
    """

    first: Tensor | None
    second: Tensor | None

    def __init__(self, dimension: int = 2, hidden: int | None = None, seed: int = 1337) -> None:
        super().__init__()
        generator = random_state(seed)
        first = None if hidden is None else orthonormal(dimension, hidden, generator).T.contiguous()
        second = None if hidden is None else orthonormal(hidden, 2, generator).T.contiguous()
        self.register_buffer("first", first)
        self.register_buffer("second", second)

    def forward(self, point: Tensor) -> Tensor:
        """``b x 2`` of ``b x d``."""
        if self.first is None or self.second is None:
            return point
        return torch.tanh(point @ self.first.to(point.dtype).T) @ self.second.to(point.dtype).T

    def inverse(self, coordinates: Tensor) -> Tensor:
        """A design (``d``, the one with the shortest preimages) of two coordinates."""
        if self.first is None or self.second is None:
            return coordinates
        return torch.atanh(coordinates @ self.second.double()) @ self.first.double()


def camel(coordinates: Tensor) -> Tensor:
    """``h = 2a² − 1.05a⁴ + a⁶/6 + ac + c²`` of ``b x 2`` coordinates."""
    a, c = coordinates.unbind(1)
    return 2 * a**2 - 1.05 * a**4 + a**6 / 6 + a * c + c**2


def second_share(coordinates: Tensor) -> Tensor:
    """Probability of the second component, ``|c| / (|a| + |c|)``; ½ at the origin, where both are alike."""
    size = coordinates.abs()
    total = size.sum(1)
    nowhere = total == 0
    return torch.where(nowhere, 0.5, size[:, 1] / torch.where(nowhere, 1.0, total))


@final
class HumpMixture(BlackBoxSimulator):
    """``y ~ N(x_k h(a, c) + N(0, 1), 1)``, k the second component with probability ``|c| / (|a| + |c|)``.

    x is the known input (two features of the primaries' only hit); which component an event is of is hidden. Hits
    ``b x n x 1 x 1`` are y.

    Args:
        coordinates: (a, c) of the parameter ``point``.

    Source: S. Shirobokov et al., arXiv 2002.04632, with the probabilities of the authors' code.
    """

    def __init__(self, coordinates: Coordinates) -> None:
        super().__init__()
        self.coordinates = coordinates

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events = primaries.expand(phi.designs)
        x = events.hits[:, :, 0]
        place = self.coordinates(phi["point"])
        uniform = torch.rand(x.shape[:2], generator=generator, dtype=x.dtype, device=x.device)
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device).sum(2)
        chosen = torch.where(uniform < second_share(place)[:, None], x[..., 1], x[..., 0])
        response = chosen * camel(place)[:, None] + noise
        return Events.of(events.truth, response[..., None, None], weight=events.weight)


# The expected objective: the logistic function is integrated over an input analytically where its argument runs far,
# by Gauss and Legendre where it does not, and over the noise of variance 2 by Gauss and Hermite.


def _rule(nodes: np.ndarray, weights: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())


_NOISE = _rule(*np.polynomial.hermite_e.hermegauss(48))
_INPUT = _rule(*np.polynomial.legendre.leggauss(48))


def _window(y: Tensor) -> Tensor:
    return torch.sigmoid(y - WIDTH) - torch.sigmoid(y)


def _integral(y: Tensor) -> Tensor:
    return torch.nn.functional.softplus(y - WIDTH) - torch.nn.functional.softplus(y)


def _expected(function: Callable[[Tensor], Tensor], h: Tensor, low: float, high: float) -> Tensor:
    """``E[f(x h + √2 ε)]``, ``b``, by quadrature over input and noise; for moderate h."""
    (nodes, weights), (noise, chances) = _INPUT, _NOISE
    x = (low + high) / 2 + (high - low) / 2 * nodes
    y = h[:, None, None] * x[:, None] + math.sqrt(2) * noise
    return torch.einsum("bij,i,j->b", function(y), weights, chances)


def component(h: Tensor, low: float, high: float) -> Tensor:
    """Expected objective of one component, ``b`` (float64): ``E[σ(y − 10) − σ(y)]``, ``x ~ U(low, high)``."""
    far = h.abs() > 1
    safe = torch.where(far, h, 2.0)[:, None]
    noise = math.sqrt(2) * _NOISE[0]
    mean = (_integral(safe * high + noise) - _integral(safe * low + noise)) / (safe * (high - low))
    return torch.where(far, mean @ _NOISE[1], _expected(_window, torch.where(far, 0.0, h), low, high))


def expected(coordinates: Tensor) -> Tensor:
    """Expected objective of ``b x 2`` coordinates (float64)."""
    h, share = camel(coordinates), second_share(coordinates)
    first, second = (component(h, low, high) for low, high in zip(LOW, HIGH, strict=True))
    return first + share * (second - first)


def variance(coordinates: Tensor) -> Tensor:
    """Of the objective of one event, ``b``; for h of at most a few."""
    h, share = camel(coordinates), second_share(coordinates)
    squares = [_expected(lambda y: _window(y) ** 2, h, low, high) for low, high in zip(LOW, HIGH, strict=True)]
    return squares[0] + share * (squares[1] - squares[0]) - expected(coordinates) ** 2


def camel_problem(name: str, description: str, design: dict[str, Any], embedding: dict[str, Any] | None) -> Problem:
    """Minimise ``E[σ(y − 10) − σ(y)]``; ``embedding`` is None or ``{hidden, seed}``."""
    built = Design(**design)
    coordinates = Coordinates(built.psi.shape[1], **(embedding or {}))
    detector = Detector(
        name=name,
        design=built,
        simulators={"black_box": HumpMixture(coordinates)},
        primaries=UniformInputs(LOW, HIGH),
        reconstruction=PriorBelief.fitting,
        objective=Window(WIDTH),
        hit_names=("y",),
        description=description,
    )
    best = [coordinates.inverse(torch.tensor([0.0, c], dtype=torch.float64)) for c in (BEST, -BEST)]

    def exact(phi: DesignPoint) -> Tensor:
        return expected(coordinates(phi["point"]))

    def noise(phi: DesignPoint) -> Tensor:
        return variance(coordinates(phi["point"]))

    return Problem.of(detector, exact, noise, OPTIMUM, best)
