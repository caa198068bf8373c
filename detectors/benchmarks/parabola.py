"""A toy of one parameter."""

from typing import Any, final

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.experiment import Detector
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import BlackBoxSimulator

from .inputs import UniformInputs
from .objectives import SquaredError
from .problem import Problem


@final
class NoisyOffset(BlackBoxSimulator):
    """``y ~ N(t − best, deviation)`` for the parameter t; hits ``b x n x 1 x 1`` are y, which no input changes.

    Args:
        best: value of t.
        deviation: of y.

    Raises:
        ConfigurationError: for a deviation that is negative.
    """

    def __init__(self, best: float = 3.0, deviation: float = 0.5) -> None:
        super().__init__()
        if not deviation >= 0:
            raise ConfigurationError("detector.deviation", deviation, "a number, 0 or more")
        self.best, self.deviation = best, deviation

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events = primaries.expand(phi.designs)
        like = events.hits[:, :, :1, :1]
        normal = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
        offset = phi["t"] - self.best
        return Events.of(events.truth, offset[:, :, None, None] + self.deviation * normal, weight=events.weight)


def parabola_problem(name: str, description: str, design: dict[str, Any], best: float, deviation: float) -> Problem:
    """Minimise ``E[y²] = (t − best)² + deviation²``."""
    detector = Detector(
        name=name,
        design=Design(**design),
        simulators={"black_box": NoisyOffset(best, deviation)},
        primaries=UniformInputs((-1.0,), (1.0,)),
        reconstruction=PriorBelief.fitting,
        objective=SquaredError(),
        hit_names=("y",),
        description=description,
    )

    def exact(phi: DesignPoint) -> Tensor:
        return (phi["t"][:, 0] - best) ** 2 + deviation**2

    def variance(phi: DesignPoint) -> Tensor:
        return 4 * (phi["t"][:, 0] - best) ** 2 * deviation**2 + 2 * deviation**4

    return Problem.of(detector, exact, variance, deviation**2, [torch.tensor([best])])
