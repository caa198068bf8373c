"""Shapes: boxes, tubes and cones, with closed-form volumes."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import final

import numpy as np
from numpy.typing import NDArray

from mode_opt.errors import ConfigurationError
from mode_opt.geometry.names import finite, positive

Points = NDArray[np.float64]
"""``n x 3``, mm."""

FULL = 2 * math.pi


class Solid(ABC):
    """A shape in its own frame, centred on the origin, lengths in mm and angles in radians."""

    @property
    @abstractmethod
    def volume(self) -> float:
        """mm3."""

    @property
    @abstractmethod
    def half_size(self) -> tuple[float, float, float]:
        """Half the size along x, y and z of a box around the shape, mm."""

    @abstractmethod
    def depth(self, points: Points) -> NDArray[np.float64]:
        """``n``, mm: distance to the surface inside; outside negative, and at most the distance in size."""

    @abstractmethod
    def crossings(self, origin: Points, direction: Points) -> list[float]:
        """All ``t`` at which ``origin + t direction`` (both ``3``) crosses the surface, and perhaps others."""

    @abstractmethod
    def surface(self, count: int, generator: np.random.Generator) -> Points:
        """About ``count`` points on every face, with the corners."""

    def interior(self, count: int, generator: np.random.Generator) -> Points:
        """At most ``count`` random points inside."""
        points = generator.uniform(-1, 1, (count, 3)) * np.array(self.half_size)
        return points[self.depth(points) > 0]

    @property
    def numbers(self) -> dict[str, float]:
        """Arguments of the constructor."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]


@final
@dataclass(frozen=True)
class Box(Solid):
    """A box.

    Attributes:
        x, y, z: full lengths, mm.

    Raises:
        ConfigurationError: for lengths that are not positive.
    """

    x: float
    y: float
    z: float

    def __post_init__(self) -> None:
        for name, value in self.numbers.items():
            positive(value, f"box.{name}", "mm")

    @property
    def volume(self) -> float:
        return self.x * self.y * self.z

    @property
    def half_size(self) -> tuple[float, float, float]:
        return self.x / 2, self.y / 2, self.z / 2

    def depth(self, points: Points) -> NDArray[np.float64]:
        inside: NDArray[np.float64] = (np.array(self.half_size) - np.abs(points)).min(axis=1)
        return inside

    def crossings(self, origin: Points, direction: Points) -> list[float]:
        half = self.half_size
        moving = [k for k in range(3) if direction[k] != 0]
        return [float((side * half[k] - origin[k]) / direction[k]) for k in moving for side in (-1, 1)]

    def surface(self, count: int, generator: np.random.Generator) -> Points:
        corners = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
        parts = [corners[np.abs(corners).max(axis=1) == 1]]
        for axis in range(3):
            for side in (-1.0, 1.0):
                face = generator.uniform(-1, 1, (count, 3))
                face[:, axis] = side
                parts.append(face)
        return np.concatenate(parts) * np.array(self.half_size)


class Round(Solid):
    """What tubes and cones share: radii that change evenly from -z to +z, between two angles about z."""

    @property
    @abstractmethod
    def radii(self) -> tuple[float, float, float, float]:
        """Inner and outer radius at -z, inner and outer radius at +z, mm."""

    @property
    @abstractmethod
    def extent(self) -> tuple[float, float, float]:
        """Full length along z (mm), start angle and opening angle."""

    @property
    def volume(self) -> float:
        inner, outer, far_inner, far_outer = self.radii
        length, _, opening = self.extent
        squares = outer**2 + outer * far_outer + far_outer**2 - inner**2 - inner * far_inner - far_inner**2
        return opening / 2 * length / 3 * squares

    @property
    def half_size(self) -> tuple[float, float, float]:
        outer = max(self.radii)
        return outer, outer, self.extent[0] / 2

    def depth(self, points: Points) -> NDArray[np.float64]:
        inner, outer, far_inner, far_outer = self.radii
        length, _, opening = self.extent
        radius, z = np.hypot(points[:, 0], points[:, 1]), points[:, 2]
        found = np.minimum(length / 2 - np.abs(z), self._below(outer, far_outer, radius, z))
        if inner or far_inner:
            found = np.minimum(found, -self._below(inner, far_inner, radius, z))
        return found if opening == FULL else np.minimum(found, self._between_walls(points, radius))

    def _below(
        self, near: float, far: float, radius: NDArray[np.float64], z: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Distance to the cone with radii ``near`` and ``far`` at the ends; positive nearer the axis."""
        slope = (far - near) / self.extent[0]
        distance: NDArray[np.float64] = ((near + far) / 2 + slope * z - radius) / math.hypot(1, slope)
        return distance

    def _between_walls(self, points: Points, radius: NDArray[np.float64]) -> NDArray[np.float64]:
        _, start, opening = self.extent
        after = (np.arctan2(points[:, 1], points[:, 0]) - start) % FULL
        inside = np.minimum(_to_wall(radius, after), _to_wall(radius, opening - after))
        outside = np.minimum(_to_wall(radius, after - opening), _to_wall(radius, FULL - after))
        return np.where(after <= opening, inside, -outside)

    def crossings(self, origin: Points, direction: Points) -> list[float]:
        inner, outer, far_inner, far_outer = self.radii
        length, start, opening = self.extent
        found = [] if direction[2] == 0 else [(side * length / 2 - origin[2]) / direction[2] for side in (-1, 1)]
        for near, far in ((inner, far_inner), (outer, far_outer)):
            slope = (far - near) / length
            radius = (near + far) / 2 + slope * origin[2], slope * direction[2]
            a = direction[0] ** 2 + direction[1] ** 2 - radius[1] ** 2
            b = origin[0] * direction[0] + origin[1] * direction[1] - radius[0] * radius[1]
            found += _roots(a, b, origin[0] ** 2 + origin[1] ** 2 - radius[0] ** 2)
        for angle in () if opening == FULL else (start, start + opening):
            across = -math.sin(angle) * direction[0] + math.cos(angle) * direction[1]
            if across != 0:
                found.append((math.sin(angle) * origin[0] - math.cos(angle) * origin[1]) / across)
        return [float(t) for t in found]

    def surface(self, count: int, generator: np.random.Generator) -> Points:
        _, start, opening = self.extent
        sides = (0.0, 1.0) if self.radii[0] or self.radii[2] else (1.0,)  # there is no inner face on the axis

        def free() -> NDArray[np.float64]:
            return generator.uniform(0, 1, count)

        grid = np.linspace(0, 1, 17)
        parts = [(np.full(17, u), np.full(17, v), grid) for u in sides for v in (0.0, 0.5, 1.0)]
        parts += [(np.full(count, u), free(), free()) for u in sides]
        parts += [(free(), np.full(count, v), free()) for v in (0.0, 1.0)]
        if opening != FULL:
            parts += [(free(), free(), np.full(count, w)) for w in (0.0, 1.0)]
        u, v, w = (np.concatenate(column) for column in zip(*parts, strict=True))
        return self._at(u, v, start + opening * w)

    def _at(self, u: NDArray[np.float64], v: NDArray[np.float64], angle: NDArray[np.float64]) -> Points:
        """Points at a share ``u`` of the way from inner to outer radius and ``v`` of that from -z to +z."""
        inner, outer, far_inner, far_outer = self.radii
        low, high = inner + v * (far_inner - inner), outer + v * (far_outer - outer)
        radius = low + u * (high - low)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle), (v - 0.5) * self.extent[0]], axis=1)


@final
@dataclass(frozen=True)
class Tube(Round):
    """A tube about z, or a sector of one.

    Attributes:
        outer: outer radius, mm.
        z: full length, mm.
        inner: inner radius, mm.
        start: angle at which the sector begins, from x towards y, radians.
        opening: angle of the sector, radians; 2 pi is all round.

    Raises:
        ConfigurationError: unless ``0 <= inner < outer``, ``z > 0`` and ``0 < opening <= 2 pi``.
    """

    outer: float
    z: float
    inner: float = 0.0
    start: float = 0.0
    opening: float = FULL

    def __post_init__(self) -> None:
        _check_ring(self.inner, self.outer, "tube.inner")
        _check_extent(self.extent, "tube")

    @property
    def radii(self) -> tuple[float, float, float, float]:
        return self.inner, self.outer, self.inner, self.outer

    @property
    def extent(self) -> tuple[float, float, float]:
        return self.z, self.start, self.opening


@final
@dataclass(frozen=True)
class Cone(Round):
    """A truncated cone about z, or a sector of one.

    Attributes:
        outer, far_outer: outer radius at -z and at +z, mm.
        z: full length, mm.
        inner, far_inner: inner radius at -z and at +z, mm.
        start, opening: as of `Tube`.

    Raises:
        ConfigurationError: unless ``0 <= inner < outer`` at both ends, ``z > 0`` and ``0 < opening <= 2 pi``.
    """

    outer: float
    far_outer: float
    z: float
    inner: float = 0.0
    far_inner: float = 0.0
    start: float = 0.0
    opening: float = FULL

    def __post_init__(self) -> None:
        _check_ring(self.inner, self.outer, "cone.inner")
        _check_ring(self.far_inner, self.far_outer, "cone.far_inner")
        _check_extent(self.extent, "cone")

    @property
    def radii(self) -> tuple[float, float, float, float]:
        return self.inner, self.outer, self.far_inner, self.far_outer

    @property
    def extent(self) -> tuple[float, float, float]:
        return self.z, self.start, self.opening


SOLIDS: dict[str, type[Solid]] = {"box": Box, "tube": Tube, "cone": Cone}
"""By the name that GDML and JSON have for them."""


def _check_ring(inner: float, outer: float, key: str) -> None:
    positive(outer, key.replace("inner", "outer"), "mm")
    if not 0 <= finite(inner, key, "mm") < outer:
        raise ConfigurationError(key, inner, f"a radius from 0 to below {outer:g} mm, the outer one")


def _check_extent(extent: tuple[float, float, float], key: str) -> None:
    length, start, opening = extent
    positive(length, f"{key}.z", "mm")
    finite(start, f"{key}.start", "radians")
    if positive(opening, f"{key}.opening", "radians") > FULL:
        raise ConfigurationError(f"{key}.opening", opening, "an angle of at most 2 pi")


def _to_wall(radius: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance to a half plane that begins at the axis, ``angle`` away."""
    return np.where(angle < math.pi / 2, radius * np.sin(angle), radius)


def _roots(a: float, b: float, c: float) -> list[float]:
    """Real solutions of ``a t^2 + 2 b t + c = 0``."""
    if a == 0:
        return [] if b == 0 else [-c / (2 * b)]
    inside = b * b - a * c
    return [] if inside < 0 else [(-b - math.sqrt(inside)) / a, (-b + math.sqrt(inside)) / a]
