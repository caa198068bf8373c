"""A smooth function of the design under a noise that the design does not change."""

import math
from typing import Any, final

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.events import Events
from mode_opt.experiment import Detector
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import BlackBoxSimulator

from .inputs import UniformInputs
from .landscapes import Ellipsoid, Landscape, Rosenbrock
from .objectives import MeanResponse
from .problem import Problem

REACH = 10.0
"""Inputs are uniform in ± this."""

FLOOR, SLOPE = 0.1, 0.5
"""Of the standard deviation of the response, ``FLOOR + SLOPE |l|``."""


@final
class LatentResponse(BlackBoxSimulator):
    """``l ~ N(x, 1)``, ``y ~ N(l + g(φ), 0.1 + 0.5 |l|)``; hits ``b x n x 1 x 1`` are y.

    x is the known input (the only feature of the primaries' only hit), l is hidden. The mean of y over l is
    ``x + g(φ)``, and its distribution depends on the design through g alone.

    Args:
        landscape: g, of the parameter ``point``.

    Source: S. Shirobokov et al., arXiv 2002.04632, with the noise of the authors' code.
    """

    def __init__(self, landscape: Landscape) -> None:
        super().__init__()
        self.landscape = landscape

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events = primaries.expand(phi.designs)
        x = events.hits[:, :, 0, 0]
        normal = torch.randn((2, *x.shape), generator=generator, dtype=x.dtype, device=x.device)
        latent = x + normal[0]
        response = latent + self.landscape(phi["point"])[:, None] + (FLOOR + SLOPE * latent.abs()) * normal[1]
        return Events.of(events.truth, response[..., None, None], weight=events.weight)


def response_variance() -> float:
    """Variance of y over all its random numbers: ``(R²/3 + 1)(1 + s²) + f² + 2 f s E|l|``, and E|l| by quadrature."""
    nodes, weights = torch.linspace(0.0, REACH, 2001, dtype=torch.float64), torch.ones(2001, dtype=torch.float64)
    weights[1:-1] *= torch.tensor([4.0, 2.0], dtype=torch.float64).repeat(1000)[:-1]
    density, below = torch.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi), torch.special.ndtr(-nodes)
    folded = 2 * density + nodes * (1 - 2 * below)
    mean = float((weights * folded).sum() / weights.sum())
    return (REACH**2 / 3 + 1) * (1 + SLOPE**2) + FLOOR**2 + 2 * FLOOR * SLOPE * mean


def latent_problem(name: str, description: str, design: Design, landscape: Landscape) -> Problem:
    """Minimise ``E[y] = g(φ)``."""
    variance = response_variance()
    detector = Detector(
        name=name,
        design=design,
        simulators={"black_box": LatentResponse(landscape)},
        primaries=UniformInputs((-REACH,), (REACH,)),
        reconstruction=PriorBelief.fitting,
        objective=MeanResponse(),
        hit_names=("y",),
        description=description,
    )

    def exact(phi: DesignPoint) -> Tensor:
        return landscape(phi["point"])

    def noise(phi: DesignPoint) -> Tensor:
        return torch.full((phi.designs,), variance, dtype=torch.float64)

    return Problem.of(detector, exact, noise, 0.0, list(landscape.optima))


def rosenbrock_problem(
    name: str, description: str, design: dict[str, Any], embedding: dict[str, Any] | None
) -> Problem:
    """Rosenbrock's function under noise; ``embedding`` is None or ``{rank, seed}``."""
    built = Design(**design)
    return latent_problem(name, description, built, Rosenbrock(built.psi.shape[1], **(embedding or {})))


def ellipsoid_problem(name: str, description: str, design: dict[str, Any], dimension: int, **shape: Any) -> Problem:
    """A rotated ellipsoid under the same noise, of any dimension; ``shape`` are options of `Ellipsoid`."""
    return latent_problem(name, description, Design(**design), Ellipsoid(dimension, **shape))
