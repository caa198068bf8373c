"""Particles that cross a plane, and a sensor there that takes them or not."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.simulation.edged import Edge, EdgedSimulator
from mode_opt.simulation.regions import Length, Region, length


class Beam(ABC):
    """Where particles cross a plane: a density there, and positions as functions of two uniform numbers."""

    @abstractmethod
    def position(self, phi: DesignPoint, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Positions ``b x n x 2`` in mm for ``b x n x 2`` uniform numbers, and which particles cross, ``b x n``."""

    @abstractmethod
    def following(self, phi: DesignPoint, position: Tensor) -> tuple[Tensor, Tensor]:
        """The particles that cross at given points, ``b x n x 2``.

        Returns:
            The same positions with the derivative of `position` at fixed uniform numbers; and the density of all
            particles there, ``b x n`` in 1/mm², without derivative.
        """


@final
class UniformBeam(Beam):
    """Uniform over a rectangle around the origin.

    Args:
        half_width: along x, in mm.
        half_height: along y, in mm.
    """

    def __init__(self, half_width: float = 1.0, half_height: float = 1.0) -> None:
        self.half_width, self.half_height = half_width, half_height

    def _half(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.half_width, self.half_height])

    def position(self, phi: DesignPoint, uniform: Tensor) -> tuple[Tensor, Tensor]:
        position = (2 * uniform - 1) * self._half(uniform)
        return position, torch.ones_like(uniform[..., 0], dtype=torch.bool)

    def following(self, phi: DesignPoint, position: Tensor) -> tuple[Tensor, Tensor]:
        position = position.detach()
        within = (position.abs() <= self._half(position)).all(-1)
        return position, within / (4 * self.half_width * self.half_height)


@final
class PointSource(Beam):
    """Isotropic over the full sphere, at a distance L from the plane: ``p(r) = L / 4π (L² + r²)^{3/2}``.

    Half of the particles fly away from the plane. The acceptance of a disc of radius R is
    ``½ (1 − L/√(L² + R²))``.

    Args:
        distance: L in mm.
    """

    def __init__(self, distance: Length) -> None:
        self.distance = distance

    def position(self, phi: DesignPoint, uniform: Tensor) -> tuple[Tensor, Tensor]:
        cosine, angle = 1 - 2 * uniform[..., 0], 2 * math.pi * uniform[..., 1]
        towards = cosine > 0
        tangent = (1 - cosine**2).sqrt() / torch.where(towards, cosine, torch.ones_like(cosine))
        radius = length(phi, self.distance) * torch.where(towards, tangent, torch.zeros_like(tangent))
        return torch.stack([radius * angle.cos(), radius * angle.sin()], -1), towards

    def following(self, phi: DesignPoint, position: Tensor) -> tuple[Tensor, Tensor]:
        distance = length(phi, self.distance)
        fixed, position = distance.detach(), position.detach()
        density = fixed / (4 * math.pi * (fixed**2 + position.square().sum(-1)) ** 1.5)
        # At fixed direction all positions grow with the distance.
        return position * (distance / fixed).unsqueeze(-1), density


@final
class Acceptance(EdgedSimulator):
    """One particle an event, with one hit (x, y) where it crosses the plane if that is inside the region.

    Hits are ``b x n x 1 x 2``, in mm, and carry the derivative of the position; events without a hit are masked.
    Hits of the primaries are not looked at.

    Args:
        beam: where the particles cross.
        region: the sensor.
    """

    def __init__(self, beam: Beam, region: Region) -> None:
        super().__init__()
        self.beam, self.region = beam, region

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events = primaries.expand(phi.designs)
        uniform = self._uniform(phi, events, generator, 2)
        position, crosses = self.beam.position(phi, uniform)
        return self._seen(events, position, crosses & self.region.inside(phi, position))

    def edges(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Sequence[Edge]:
        events = primaries.expand(phi.designs)
        point = self.region.edge(phi, self._uniform(phi, events, generator, 1)[..., 0])
        particle, density = self.beam.following(phi, point.position)
        velocity = ((point.position - particle) * point.normal).sum(-1)
        yes = torch.ones_like(density, dtype=torch.bool)
        seen, missed = (self._seen(events, particle, inside) for inside in (yes, ~yes))
        return [Edge(seen, missed, density / point.density * velocity)]

    @staticmethod
    def _uniform(phi: DesignPoint, events: Events, generator: torch.Generator | None, numbers: int) -> Tensor:
        # Event i of every design draws alike.
        shape = (1, events.count, numbers)
        like = phi.values
        drawn = torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)
        return drawn.expand(phi.designs, -1, -1)

    @staticmethod
    def _seen(events: Events, position: Tensor, inside: Tensor) -> Events:
        hits = torch.where(inside.unsqueeze(-1), position, torch.zeros_like(position))
        return replace(events, hits=hits.unsqueeze(2), mask=inside.unsqueeze(2))
