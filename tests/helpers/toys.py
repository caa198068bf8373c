"""Small problems that carry their own truth."""

import torch

from mode_opt.design import Design, DesignPoint
from mode_opt.events import Events
from mode_opt.objectives import Resolution
from mode_opt.reconstruction import CellNetwork
from mode_opt.simulation import (
    BlackBoxSimulator,
    DifferentiableSimulator,
    ParticleGun,
    StochasticSimulator,
)


class Gauge(DifferentiableSimulator):
    """One cell: ``hit = E (1 + σ(x) ε)``, ``σ² = 0.05² + (x − 3)²/100``; best at x = 3, where σ = 0.05."""

    best = 3.0
    floor = 0.05

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        events = primaries.expand(phi.designs)
        noise = torch.randn(events.hits.shape, generator=generator, device=phi.values.device)
        return Events(events.truth, events.hits * (1 + self.sigma(phi["x"]) * noise), events.mask, events.weight)

    def sigma(self, x: torch.Tensor) -> torch.Tensor:
        return (self.floor**2 + (x - self.best) ** 2 / 100).sqrt()[:, :, None, None]


class Counter(StochasticSimulator):
    """One cell that counts: ``k ~ Poisson(x)``; dE[f(k)]/dx is known."""

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        events = primaries.expand(phi.designs)
        rate = phi["x"].expand(-1, events.count)
        count = torch.poisson(rate.detach(), generator=generator)
        counted = Events(events.truth, count[..., None, None], events.mask, events.weight, events.log_probability)
        return counted.with_choices(count * rate.log() - rate - torch.lgamma(count + 1))


class ClosedGauge(BlackBoxSimulator):
    """`Gauge` as somebody else's program: values only."""

    def __init__(self) -> None:
        super().__init__()
        self.gauge = Gauge()

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        return self.gauge(phi, primaries, generator)


def one_parameter(start: float = 1.0, low: float = 0.5, high: float = 6.0, unit: str = "mm") -> Design:
    return Design({"x": {"start": start, "bounds": [low, high], "unit": unit}})


def gun() -> ParticleGun:
    return ParticleGun((100.0, 1000.0))


def network(events: Events, phi: DesignPoint) -> CellNetwork:
    return CellNetwork.fitting(events, phi, hidden=16, depth=1)


def resolution() -> Resolution:
    return Resolution()
