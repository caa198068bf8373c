"""Primaries of the toy."""

import math
from typing import final

import torch

from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import PrimarySource


@final
class CentralSource(PrimarySource):
    """One particle an event, from the origin, in a direction uniform over the plane; the truth is the direction.

    Hits ``1 x n x 1 x 2``: direction (radians, from the x axis) and energy (MeV).

    Args:
        energy: of every particle, MeV.

    Raises:
        ConfigurationError: for an energy that is not positive.
    """

    def __init__(self, energy: float = 25.0) -> None:
        super().__init__()
        if not 0 < energy < math.inf:
            raise ConfigurationError("primaries.energy", energy, "a positive energy in MeV")
        self.energy = energy

    @property
    def truth_names(self) -> tuple[str, ...]:
        return ("direction",)

    @property
    def truth_units(self) -> tuple[str, ...]:
        return ("rad",)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Events:
        device = "cpu" if generator is None else generator.device
        direction = math.pi * (2 * torch.rand((1, count, 1), generator=generator, device=device) - 1)
        particle = torch.stack([direction, torch.full_like(direction, self.energy)], -1)
        return Events.of(direction, particle)
