"""A bowl with noise: the smallest problem for a search, with its optimum known."""

from collections.abc import Callable

import torch
from toys import gun

from mode_opt.design import Design, DesignPoint
from mode_opt.events import Events
from mode_opt.gradients import DesignSearch, Pipeline
from mode_opt.simulation import BlackBoxSimulator, Counted, DifferentiableSimulator, stream

BEST = (1.0, -0.5)


def height(phi: DesignPoint) -> torch.Tensor:
    """``(x − 1)² + 2 (y + 0.5)²``, ``b``."""
    return (phi["x"] - BEST[0]).square()[:, 0] + 2 * (phi["y"] - BEST[1]).square()[:, 0]


class Bowl(BlackBoxSimulator):
    """Each event reads `height` with noise; designs for which ``broken`` holds raise, or return NaN."""

    def __init__(
        self,
        noise: float = 0.3,
        raises: Callable[[torch.Tensor], bool] = lambda values: False,
        is_nan: Callable[[torch.Tensor], bool] = lambda values: False,
    ) -> None:
        super().__init__()
        self.noise, self.raises, self.is_nan = noise, raises, is_nan

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events = primaries.expand(phi.designs)
        if any(self.raises(row) for row in phi.values):
            raise RuntimeError("the volumes overlap")
        bad = torch.tensor([self.is_nan(row) for row in phi.values])
        level = torch.where(bad, torch.nan, height(phi))[:, None, None, None]
        noise = torch.randn(events.hits.shape, generator=generator)
        return Events(events.truth, level + self.noise * noise, events.mask, events.weight)


class OpenBowl(DifferentiableSimulator):
    """The same with derivatives."""

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        events = primaries.expand(phi.designs)
        noise = torch.randn(events.hits.shape, generator=generator)
        level = height(phi)[:, None, None, None]
        return Events(events.truth, level + 0.3 * noise, events.mask, events.weight)


def level(events: Events, phi: DesignPoint) -> torch.Tensor:
    """Mean of the readings, ``b``."""
    return (events.weight * events.hits[:, :, 0, 0]).sum(1) / events.weight.sum(1)


def height_and_cost(events: Events, phi: DesignPoint) -> torch.Tensor:
    """The objective, which is `level`, and as its goals that and x, ``b x 3``."""
    return torch.stack([level(events, phi), level(events, phi), phi["x"][:, 0]], 1)


def bowl_design(bounded: bool = True) -> Design:
    bounds = {"bounds": [-2.0, 2.0]} if bounded else {}
    return Design({"x": {"start": -0.8, **bounds}, "y": {"start": 0.8, **bounds}})


def bowl_pipeline(simulator=None, design=None, additive=True, **further) -> Pipeline:
    counted = Counted(simulator or Bowl())
    return Pipeline(counted, design or bowl_design(), gun(), level, additive, **further)


def searched(search: DesignSearch, pipeline: Pipeline, steps: int, seed: int = 0, first: int = 0) -> list:
    """Steps ``first`` to ``steps`` of a search, with the streams that an alternation gives it."""
    if first == 0:
        search.prepare(pipeline, stream("cpu", seed, "prepare"))
    return [search.advance(pipeline, stream("cpu", seed, "design", index)) for index in range(first, steps)]
