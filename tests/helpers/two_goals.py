"""Two quadratic bowls with noise: the smallest problem with a front, which is the line between the two bottoms."""

from collections.abc import Callable

import torch
from bowl import bowl_design
from torch import Tensor
from toys import gun

from mode_opt.design import Design, DesignPoint
from mode_opt.events import Events
from mode_opt.gradients import Pipeline
from mode_opt.simulation import BlackBoxSimulator, Counted

BOTTOMS = torch.tensor([[-1.0, -0.5], [1.0, 0.5]])
"""c_k of J_k = |x − c_k|²; their distance squared is 5."""

REFERENCE = {"left": 5.0, "right": 5.0}
VOLUME = 125 / 6
r"""Below the reference point, of the front (5 t², 5 (1 − t)²): :math:`\int_0^1 (5 - 5(1-t)^2)\, 10 t\, dt`."""


def heights(at: Tensor) -> Tensor:
    """``m x 2`` of ``m x 2`` places."""
    return (at[:, None] - BOTTOMS).square().sum(2)


def places(phi: DesignPoint) -> Tensor:
    """``b x 2``."""
    return torch.cat([phi["x"], phi["y"]], 1).detach()


class TwoBowls(BlackBoxSimulator):
    """Each event reads both heights with noise; designs for which ``is_nan`` holds are NaN."""

    def __init__(self, noise: float = 0.3, is_nan: Callable[[Tensor], bool] = lambda at: False) -> None:
        super().__init__()
        self.noise, self.is_nan = noise, is_nan

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events, at = primaries.expand(phi.designs), places(phi)
        bad = torch.tensor([self.is_nan(row) for row in at])
        level = torch.where(bad[:, None], torch.nan, heights(at))[:, None, :, None]
        noise = torch.randn((phi.designs, events.count, 2, 1), generator=generator)
        hits = level + self.noise * noise
        return Events(events.truth, hits, torch.ones(hits.shape[:3], dtype=torch.bool), events.weight)


def scores(events: Events, phi: DesignPoint) -> Tensor:
    """Their sum, and both: ``b x 3``."""
    goals = (events.weight[:, :, None] * events.hits[..., 0]).sum(1) / events.weight.sum(1, keepdim=True)
    return torch.cat([goals.sum(1, keepdim=True), goals], 1)


def two_goals(simulator: TwoBowls | None = None, design: Design | None = None, scores=scores, **further) -> Pipeline:
    counted = Counted(simulator or TwoBowls())
    further = {"additive": True, "goals": ("left", "right"), "scores": scores, **further}
    return Pipeline(counted, design or bowl_design(), gun(), lambda events, phi: scores(events, phi)[:, 0], **further)
