"""Counting what a simulation costs."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.simulation.simulator import Promise, Simulator


@final
class Counted(Simulator):
    """The same simulator, with a count of its calls: one simulator call is one simulated event.

    The count is a buffer, so that it survives a checkpoint.
    """

    calls: Tensor

    def __init__(self, simulator: Simulator) -> None:
        super().__init__()
        self.simulator = simulator
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    @property
    def promise(self) -> Promise:
        return self.simulator.promise

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        events = self.simulator(phi, primaries, generator)
        self.calls += events.designs * events.count
        return events
