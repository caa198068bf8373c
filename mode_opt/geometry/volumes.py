"""Volumes: solids of a material, placed in one another."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from mode_opt.errors import ConfigurationError
from mode_opt.geometry.materials import Material
from mode_opt.geometry.names import checked_name, finite
from mode_opt.geometry.prices import Price
from mode_opt.geometry.solids import Points, Solid

Triple = tuple[float, float, float]


@final
@dataclass(frozen=True)
class Placement:
    """Where a volume is in its mother: ``p_mother = R p + translation`` with ``R = Rx Ry Rz``.

    Attributes:
        translation: of the centre, mm.
        rotation: angles about x, y and z, radians: the volume is turned about its x, then about its own new y, then
            about its own new z.

    Raises:
        ConfigurationError: for numbers that are not finite.
    """

    translation: Triple = (0.0, 0.0, 0.0)
    rotation: Triple = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for name, unit in (("translation", "mm"), ("rotation", "radians")):
            given = getattr(self, name)
            if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 3:
                raise ConfigurationError(f"placement.{name}", given, f"three numbers in {unit}")
            object.__setattr__(self, name, tuple(finite(value, f"placement.{name}", unit) for value in given))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """``R``, ``3 x 3``."""
        if self.rotation == (0.0, 0.0, 0.0):
            return np.eye(3)
        (a, b, c), (sa, sb, sc) = map(math.cos, self.rotation), map(math.sin, self.rotation)
        about_x = np.array([[1, 0, 0], [0, a, -sa], [0, sa, a]])
        about_y = np.array([[b, 0, sb], [0, 1, 0], [-sb, 0, b]])
        about_z = np.array([[c, -sc, 0], [sc, c, 0], [0, 0, 1]])
        return about_x @ about_y @ about_z

    def to_mother(self, points: Points) -> Points:
        """Points ``n x 3`` of the volume's frame in that of its mother."""
        moved: Points = points @ self.matrix.T + np.array(self.translation)
        return moved

    def to_own(self, points: Points) -> Points:
        """Points ``n x 3`` of the mother's frame in that of the volume."""
        moved: Points = (points - np.array(self.translation)) @ self.matrix
        return moved


@final
@dataclass(frozen=True)
class Volume:
    """A solid filled with a material and with other volumes; the outermost one is the world, beam along +z.

    Attributes:
        name: distinct among the volumes of one mother.
        solid: its shape.
        material: what it is of where no daughter is.
        placement: in its mother.
        children: volumes inside it.
        sensitive: whether it is read out.
        channels: of its readout, those of its children not counted.
        price: replaces that of the material; a piece costs the same whatever its size.
        kind: what it is listed as in tables and named in GDML, e.g. ``gap`` for ``gap_07``; None: the name.

    Raises:
        ConfigurationError: for names that cannot be written, daughters of equal name, or a number of channels that
            is none.
    """

    name: str
    solid: Solid
    material: Material
    placement: Placement = Placement()
    children: "tuple[Volume, ...]" = ()
    sensitive: bool = False
    channels: int = 0
    price: Price | None = None
    kind: str | None = None

    def __post_init__(self) -> None:
        key = f"volume.{checked_name(self.name, 'volume.name')}"
        for field, expected in (("solid", Solid), ("material", Material), ("placement", Placement)):
            if not isinstance(getattr(self, field), expected):
                raise ConfigurationError(f"{key}.{field}", getattr(self, field), f"a {expected.__name__}")
        if self.kind is not None:
            checked_name(self.kind, f"{key}.kind")
        if not isinstance(self.channels, int) or isinstance(self.channels, bool) or self.channels < 0:
            raise ConfigurationError(f"{key}.channels", self.channels, "a whole number, 0 or more")
        object.__setattr__(self, "children", tuple(self.children))
        names = [child.name for child in self.children]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ConfigurationError(f"{key}.children", twice, "daughters with distinct names")

    @property
    def label(self) -> str:
        """``kind``, or the name."""
        return self.kind or self.name

    @property
    def own_volume(self) -> float:
        """mm3, without the daughters."""
        return self.solid.volume - math.fsum(child.solid.volume for child in self.children)

    @property
    def own_mass(self) -> float:
        """kg, without the daughters."""
        return self.material.mass(self.own_volume)

    @property
    def mass(self) -> float:
        """kg, with the daughters."""
        return self.own_mass + math.fsum(child.mass for child in self.children)

    @property
    def cost(self) -> tuple[str, float] | None:
        """Currency and amount, without the daughters; None if it has no price."""
        price = self.price or self.material.price
        return None if price is None else (price.currency, price.cost(self.own_mass, self.own_volume))

    def walk(self, path: str = "") -> "Iterator[tuple[str, Volume]]":
        """This volume and all inside it, each with the names on the way to it, joined by ``/``."""
        here = f"{path}/{self.name}" if path else self.name
        yield here, self
        for child in self.children:
            yield from child.walk(here)

    def priced(self, prices: Mapping[str, Price]) -> "Volume":
        """The same with prices for materials by name.

        Raises:
            ConfigurationError: for a material that is not in it, or a price for a piece.
        """
        known = {volume.material.name for _, volume in self.walk()}
        for name in prices:
            if name not in known:
                raise ConfigurationError(f"prices.{name}", str(prices[name]), f"one of the materials {sorted(known)}")
        return self._priced(prices)

    def _priced(self, prices: Mapping[str, Price]) -> "Volume":
        price = prices.get(self.material.name, self.material.price)
        children = tuple(child._priced(prices) for child in self.children)
        return replace(self, material=replace(self.material, price=price), children=children)
