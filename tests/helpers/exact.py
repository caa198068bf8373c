"""Parts of an experiment without anything to learn, so that every number of an optimisation has a closed form."""

import torch
from torch import nn
from torch.distributions import Distribution
from toys import Gauge, gun, one_parameter

from mode_opt.design import Design, DesignPoint
from mode_opt.events import Events
from mode_opt.experiment import Experiment
from mode_opt.objectives import Objective, Resolution
from mode_opt.reconstruction import Reconstruction, normal
from mode_opt.simulation import DifferentiableSimulator, PrimarySource, Simulator


class Mirror(DifferentiableSimulator):
    """The hits are the primaries: nothing is lost and nothing is random."""

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        return primaries.expand(phi.designs)


class Noted(DifferentiableSimulator):
    """A simulator that notes seed, designs and number of events of each call."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__()
        self.simulator = simulator
        self.calls: list[tuple[int, torch.Tensor, int]] = []

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        assert generator is not None
        self.calls.append((generator.initial_seed(), phi.values.detach().clone(), primaries.count))
        return self.simulator(phi, primaries, generator)


class Reading(Reconstruction):
    """``N(gain · hit, 0.1 hit)``: right as it is with gain 1."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, events: Events, phi: DesignPoint) -> Distribution:
        hit = events.hits[:, :, 0]
        return normal(self.gain * hit, 0.1 * hit.abs())


def reading_experiment(
    simulator: Simulator | None = None,
    start: float = 1.0,
    gain: float = 1.0,
    objective: Objective | None = None,
    design: Design | None = None,
    primaries: PrimarySource | None = None,
) -> Experiment:
    """A gauge that is read off; the objective is ``rms(gain (1 + σ ε) − 1)``."""
    return Experiment(
        design or one_parameter(start),
        simulator or Gauge(),
        primaries or gun(),
        Reading(gain),
        objective or Resolution(width="rms"),
    )


def sigma(x: float) -> float:
    """Resolution of the gauge at x."""
    return (Gauge.floor**2 + (x - Gauge.best) ** 2 / 100) ** 0.5
