"""Volumes that are where they must not be: outside their mother, or inside a sister."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import final

import numpy as np
from numpy.typing import NDArray

from mode_opt.geometry.solids import FULL, Box, Points, Solid, Tube
from mode_opt.geometry.volumes import Placement, Volume

TOLERANCE = 1e-6
"""Depth that is not reported, mm: neighbours share faces."""

POINTS = 1000
"""On every face of a solid, and inside it, where there is no closed form."""

STRAIGHT = 1e-12
"""By how much the entries of a rotation matrix may miss 0 and 1."""


@final
@dataclass(frozen=True)
class Overlap:
    """Two volumes of which one is where it must not be.

    Attributes:
        first: the volume, with the names on the way to it.
        second: its mother, or the sister.
        outside: whether the first leaves the second, its mother.
        depth: mm; of a closed form the smallest displacement along an axis (of tubes: or change of a radius) that
            mends it; otherwise a lower limit of any displacement that does.
        exact: whether it is of a closed form.
    """

    first: str
    second: str
    outside: bool
    depth: float
    exact: bool

    def __str__(self) -> str:
        least = "" if self.exact else "at least "
        what = "protrudes from" if self.outside else "overlaps with"
        return f"{self.first} {what} {self.second} by {least}{self.depth:.4g} mm"


def overlaps(world: Volume, tolerance: float = TOLERANCE, points: int = POINTS, seed: int = 0) -> list[Overlap]:
    """All daughters outside their mother and all sisters that overlap, deepest first.

    Boxes along the axes of their mother and whole tubes about a common axis are compared exactly. Other pairs are
    compared by random points on their faces (with all corners) and inside them, the same for the same seed; an
    overlap smaller than the distance of the points may be missed.

    Args:
        world: the outermost volume.
        tolerance: smallest depth, mm.
        points: on each face, and inside.
        seed: of the points.
    """
    found = [overlap for path, mother in world.walk() for overlap in _candidates(path, mother, points, seed)]
    return sorted((o for o in found if o.depth > tolerance), key=lambda o: (-o.depth, o.first, o.second))


def _candidates(path: str, mother: Volume, points: int, seed: int) -> Iterator[Overlap]:
    """What daughters and their mother, and neighbours among the daughters, have to do with each other."""
    placed = [_Placed(f"{path}/{child.name}", child.solid, child.placement, points, seed) for child in mother.children]
    around = _Placed(path, mother.solid, Placement(), points, seed)
    for daughter in placed:
        yield _overlap(daughter, around, True, _protrusion(daughter, around))
    low, high = (np.array([getattr(p, side) for p in placed]).reshape(-1, 3) for side in ("low", "high"))
    for index, first in enumerate(placed):
        common = np.minimum(high[index + 1 :], first.high) - np.maximum(low[index + 1 :], first.low)
        for offset in np.flatnonzero((common > 0).all(axis=1)):
            second = placed[index + 1 + int(offset)]
            yield _overlap(first, second, False, _intersection(first, second))


@final
class _Placed:
    """A solid in the frame of the mother, with the box around it and points to try it with."""

    def __init__(self, path: str, solid: Solid, placement: Placement, points: int, seed: int) -> None:
        self.path, self.solid, self.placement = path, solid, placement
        self.points, self.seed = points, seed
        matrix = placement.matrix
        reached = placement.to_mother(np.array(list(product((-1.0, 1.0), repeat=3))) * np.array(solid.half_size))
        self.low, self.high = reached.min(axis=0), reached.max(axis=0)
        straight = bool(np.abs(matrix - np.round(matrix)).max() < STRAIGHT)
        self.is_box = isinstance(solid, Box) and straight
        upright = bool(abs(abs(matrix[2, 2]) - 1) < STRAIGHT)
        self.rings = solid.radii[:2] if isinstance(solid, Tube) and solid.opening == FULL and upright else None

    def depth(self, points: Points) -> NDArray[np.float64]:
        """As `Solid.depth`, for points in the frame of the mother."""
        return self.solid.depth(self.placement.to_own(points))

    def sample(self) -> Points:
        """Points on the faces and inside, in the frame of the mother."""
        generator = np.random.default_rng(self.seed)
        parts = [self.solid.surface(self.points, generator), self.solid.interior(self.points, generator)]
        return self.placement.to_mother(np.concatenate(parts))

    def coaxial(self, other: "_Placed") -> bool:
        """Whether both are whole tubes about the same axis."""
        mine, theirs = self.placement.translation, other.placement.translation
        same = abs(mine[0] - theirs[0]) < STRAIGHT and abs(mine[1] - theirs[1]) < STRAIGHT
        return same and self.rings is not None and other.rings is not None


def _overlap(first: _Placed, second: _Placed, outside: bool, found: tuple[float, bool]) -> Overlap:
    return Overlap(first.path, second.path, outside, *found)


def _protrusion(daughter: _Placed, mother: _Placed) -> tuple[float, bool]:
    """How far the daughter leaves the mother, and whether that is exact."""
    beyond = np.maximum(mother.low - daughter.low, daughter.high - mother.high)
    if daughter.is_box and mother.is_box:
        return float(beyond.max()), True
    if daughter.rings and mother.rings and daughter.coaxial(mother):
        radial = mother.rings[0] - daughter.rings[0], daughter.rings[1] - mother.rings[1]
        return max(float(beyond[2]), *radial), True
    return float(-mother.depth(daughter.sample()).min()), False


def _intersection(first: _Placed, second: _Placed) -> tuple[float, bool]:
    """How deep two sisters are in each other, and whether that is exact."""
    apart = np.minimum(first.high - second.low, second.high - first.low)
    if first.is_box and second.is_box:
        return float(apart.min()), True
    if first.rings and second.rings and first.coaxial(second):
        radial = min(first.rings[1], second.rings[1]) - max(first.rings[0], second.rings[0])
        return min(float(apart[2]), radial), True
    return max(_common(first, second), _common(second, first)), False


def _common(first: _Placed, second: _Placed) -> float:
    """A ball of either solid around a common point: their radii add up to what a displacement must overcome."""
    points = first.sample()
    inside = second.depth(points)
    return float(np.where(inside > 0, inside + first.depth(points).clip(min=0), 0.0).max())
