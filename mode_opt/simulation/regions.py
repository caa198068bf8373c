"""Regions of a plane whose edges depend on the design."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError

Length = str | float
"""The name of a design parameter, or a fixed number of mm."""


def length(phi: DesignPoint, value: Length) -> Tensor:
    """``b x 1``, in mm."""
    if isinstance(value, str):
        return phi[value]
    return phi.values.new_full((phi.designs, 1), float(value))


@dataclass(frozen=True, eq=False)
class EdgePoint:
    """Points on the edge of a region.

    Attributes:
        position: ``b x n x 2`` in mm, moving with the design.
        normal: ``b x n x 2``, outwards, of length 1, without derivative.
        density: ``b x n``, of the points along the edge, in 1/mm, without derivative.
    """

    position: Tensor
    normal: Tensor
    density: Tensor


class Region(ABC):
    """A part of a plane."""

    @abstractmethod
    def inside(self, phi: DesignPoint, position: Tensor) -> Tensor:
        """Which of the positions ``b x n x 2`` are in the region, ``b x n``."""

    @abstractmethod
    def edge(self, phi: DesignPoint, place: Tensor) -> EdgePoint:
        """The points at ``place``, ``b x n`` in (0, 1) along the edge."""


@final
class Disc(Region):
    """``|x − centre| ≤ radius``.

    Args:
        radius: in mm.
        centre: in mm.
    """

    def __init__(self, radius: Length, centre: tuple[Length, Length] = (0.0, 0.0)) -> None:
        self.radius, self.centre = radius, tuple(centre)

    def _centre(self, phi: DesignPoint) -> Tensor:
        return torch.stack([length(phi, value) for value in self.centre], -1)

    def inside(self, phi: DesignPoint, position: Tensor) -> Tensor:
        return (position - self._centre(phi)).square().sum(-1) <= length(phi, self.radius) ** 2

    def edge(self, phi: DesignPoint, place: Tensor) -> EdgePoint:
        angle = 2 * math.pi * place
        normal = torch.stack([angle.cos(), angle.sin()], -1)
        radius = length(phi, self.radius)
        density = (1 / (2 * math.pi * radius.detach())).expand(place.shape)
        return EdgePoint(self._centre(phi) + radius.unsqueeze(-1) * normal, normal, density)


class _Cornered(Region):
    """A simple polygon."""

    @abstractmethod
    def corners(self, phi: DesignPoint) -> Tensor:
        """``b x k x 2``, in order along the edge."""

    @final
    def inside(self, phi: DesignPoint, position: Tensor) -> Tensor:
        # A ray to the right crosses the edge of a region an odd number of times if it starts inside.
        start = self.corners(phi).detach().unsqueeze(1)
        end = start.roll(-1, 2)
        x, y = position.detach()[..., None, 0], position.detach()[..., None, 1]
        spans = (start[..., 1] > y) != (end[..., 1] > y)
        rise = torch.where(spans, end[..., 1] - start[..., 1], torch.ones_like(y))
        crossing = start[..., 0] + (y - start[..., 1]) / rise * (end[..., 0] - start[..., 0])
        return (spans & (x < crossing)).sum(-1) % 2 == 1

    @final
    def edge(self, phi: DesignPoint, place: Tensor) -> EdgePoint:
        start = self.corners(phi)
        end = start.roll(-1, 1)
        sides = (end - start).detach()
        lengths = sides.norm(dim=-1)
        upto = lengths.cumsum(-1)
        around = place * upto[:, -1:]
        side = torch.searchsorted(upto, around).clamp_max(lengths.shape[1] - 1)
        fraction = ((around - (upto - lengths).gather(1, side)) / lengths.gather(1, side)).unsqueeze(-1)
        index = side.unsqueeze(-1).expand(-1, -1, 2)
        position = (1 - fraction) * start.gather(1, index) + fraction * end.gather(1, index)
        # The sign of the enclosed area says which side of a side is outside.
        cross = start[..., 0] * end[..., 1] - start[..., 1] * end[..., 0]
        turn = cross.detach().sum(-1).sign()[:, None, None]
        along = (sides / lengths.unsqueeze(-1)).gather(1, index)
        normal = turn * torch.stack([along[..., 1], -along[..., 0]], -1)
        return EdgePoint(position, normal, (1 / upto[:, -1:]).expand(place.shape))


@final
class Rectangle(_Cornered):
    """``|x − x₀| ≤ half_width, |y − y₀| ≤ half_height``.

    Args:
        half_width: along x, in mm.
        half_height: along y, in mm.
        centre: in mm.
    """

    def __init__(self, half_width: Length, half_height: Length, centre: tuple[Length, Length] = (0.0, 0.0)) -> None:
        self.half_width, self.half_height, self.centre = half_width, half_height, tuple(centre)

    def corners(self, phi: DesignPoint) -> Tensor:
        width, height = length(phi, self.half_width), length(phi, self.half_height)
        x, y = (length(phi, value) for value in self.centre)
        columns = [torch.cat([x + i * width, y + j * height], -1) for i, j in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
        return torch.stack(columns, 1)


@final
class Polygon(_Cornered):
    """The inside of a closed line that does not cross itself.

    Args:
        vertices: at least three corners, in mm, in either direction.

    Raises:
        ConfigurationError: for fewer.
    """

    def __init__(self, vertices: Sequence[tuple[Length, Length]]) -> None:
        if len(vertices) < 3:
            raise ConfigurationError("region.vertices", list(vertices), "at least three corners")
        self.vertices = [tuple(vertex) for vertex in vertices]

    def corners(self, phi: DesignPoint) -> Tensor:
        points = [torch.cat([length(phi, value) for value in vertex], -1) for vertex in self.vertices]
        return torch.stack(points, 1)
