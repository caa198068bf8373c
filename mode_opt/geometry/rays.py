"""What a straight line passes through."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np

from mode_opt.errors import ConfigurationError
from mode_opt.geometry.names import finite
from mode_opt.geometry.solids import Points, Solid
from mode_opt.geometry.volumes import Volume

Interval = tuple[float, float]


@final
@dataclass(frozen=True)
class Crossing:
    """A straight piece inside one volume, daughters left out.

    Attributes:
        path: names of the volume and those around it, joined by ``/``.
        volume: the volume.
        start, length: distance of the piece from the line's origin and its length, mm.
    """

    path: str
    volume: Volume
    start: float
    length: float

    @property
    def radiation_lengths(self) -> float:
        """Length in ``X0``."""
        return self.length / self.volume.material.radiation_length

    @property
    def interaction_lengths(self) -> float:
        """Length in nuclear interaction lengths."""
        return self.length / self.volume.material.interaction_length


def crossings(
    world: Volume, origin: Sequence[float] = (0.0, 0.0, 0.0), direction: Sequence[float] = (0.0, 0.0, 1.0)
) -> list[Crossing]:
    """The pieces of an infinite line, in its direction; a line along a face belongs to neither side of it.

    Args:
        world: the outermost volume.
        origin: a point of the line, mm.
        direction: of any length but 0.

    Raises:
        ConfigurationError: for a direction of length 0, or numbers that are not finite.
    """
    start = np.array([finite(value, "origin", "mm") for value in origin])
    along = np.array([finite(value, "direction", "mm") for value in direction])
    size = float(np.linalg.norm(along))
    if size == 0:
        raise ConfigurationError("direction", list(direction), "a direction, which is not 0")
    return sorted(_crossings(world, world.name, start, along / size), key=lambda crossing: crossing.start)


def _crossings(volume: Volume, path: str, origin: Points, direction: Points) -> list[Crossing]:
    found, free = [], _inside(volume.solid, origin, direction)
    for child in volume.children:
        frame = child.placement.matrix
        own_origin, own_direction = child.placement.to_own(origin[None])[0], direction @ frame
        found += _crossings(child, f"{path}/{child.name}", own_origin, own_direction)
        for taken in _inside(child.solid, own_origin, own_direction):
            free = [rest for interval in free for rest in _without(interval, taken)]
    return found + [Crossing(path, volume, a, b - a) for a, b in free]


def _inside(solid: Solid, origin: Points, direction: Points) -> list[Interval]:
    """The parts of the line inside the solid."""
    times = sorted(solid.crossings(origin, direction))
    pairs = [(a, b) for a, b in pairwise(times) if b > a]
    if not pairs:
        return []
    middles = origin + np.array([[(a + b) / 2] for a, b in pairs]) * direction
    found: list[Interval] = []
    for start, end in (pair for pair, depth in zip(pairs, solid.depth(middles), strict=True) if depth > 0):
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, end))
    return found


def _without(interval: Interval, taken: Interval) -> list[Interval]:
    """An interval less another one."""
    parts = [(interval[0], min(interval[1], taken[0])), (max(interval[0], taken[1]), interval[1])]
    return [(a, b) for a, b in parts if b > a]
