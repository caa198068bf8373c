"""Simulators in a row: generator, transport, digitisation."""

from collections.abc import Mapping
from typing import cast, final

import torch
from torch import nn

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation.simulator import Promise, Simulator


@final
class Chain(Simulator):
    """``events_k = part_k(φ, events_{k-1})``: the hits of one part are the primaries of the next.

    Every part sees the whole design and may read any parameter; the log-probabilities that the parts record add
    up. The promise is the weakest of the parts, which keep their own (`parts`) for estimators that treat them
    one by one.

    Args:
        parts: the simulators by name, in order.

    Raises:
        ConfigurationError: if there is no part, or a name holds a dot or is that of a method of a module.
    """

    def __init__(self, parts: Mapping[str, Simulator]) -> None:
        super().__init__()
        if not parts:
            raise ConfigurationError("simulators.chain", dict(parts), "at least one simulator")
        try:
            self.parts = nn.ModuleDict(dict(parts))
        except KeyError as error:
            raise ConfigurationError("simulators.chain", list(parts), f"other names ({error.args[0]})") from error

    @property
    def promise(self) -> Promise:
        return min(cast(Simulator, part).promise for part in self.parts.values())

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        events = primaries
        for part in self.parts.values():
            events = part(phi, events, generator)
        return events
