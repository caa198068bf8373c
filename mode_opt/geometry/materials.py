"""What a volume is made of."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from mode_opt.errors import ConfigurationError
from mode_opt.geometry.elements import ELEMENTS, fractions, interaction_length, radiation_length
from mode_opt.geometry.names import checked_name, positive
from mode_opt.geometry.prices import Price

STATES = ("solid", "liquid", "gas")

ROUNDING = 1e-3
"""By how much mass fractions may miss 1; Geant4 allows as much."""


@final
@dataclass(frozen=True)
class Material:
    """A homogeneous material.

    Attributes:
        name: as in designs and tables.
        density: g/cm3.
        composition: mass fraction of each element.
        radiation_length: ``X0``, mm.
        interaction_length: nuclear interaction length, mm.
        state: ``solid``, ``liquid`` or ``gas``.
        nist: name of the material in Geant4's tables, which then uses its ionisation constants; None: there is none.
        price: per mass or volume, or None.

    Raises:
        ConfigurationError: for names that cannot be written, numbers that are not positive, unknown elements, or
            fractions that do not add up to 1.
    """

    name: str
    density: float
    composition: Mapping[str, float]
    radiation_length: float
    interaction_length: float
    state: str = "solid"
    nist: str | None = None
    price: Price | None = None

    def __post_init__(self) -> None:
        key = f"material.{checked_name(self.name, 'material.name')}"
        if self.nist is not None:
            checked_name(self.nist, f"{key}.nist")
        for field, unit in (("density", "g/cm3"), ("radiation_length", "mm"), ("interaction_length", "mm")):
            positive(getattr(self, field), f"{key}.{field}", unit)
        if self.state not in STATES:
            raise ConfigurationError(f"{key}.state", self.state, f"one of {', '.join(STATES)}")
        if self.price is not None and not self.price.per:
            raise ConfigurationError(f"{key}.price", str(self.price), "a price per kg or volume: a volume has pieces")
        _check(self.composition, f"{key}.composition")

    @classmethod
    def of(
        cls,
        name: str,
        density: float,
        composition: Mapping[str, float] | str,
        state: str = "solid",
        nist: str | None = None,
        price: Price | str | None = None,
    ) -> "Material":
        """A material whose lengths follow from its composition (``X0`` to 1 %, the interaction length to 5 %).

        Args:
            name: of the material.
            density: g/cm3.
            composition: mass fractions that add up to 1, or a formula such as ``CeF3``.
            state: ``solid``, ``liquid`` or ``gas``.
            nist: name in Geant4's tables.
            price: e.g. ``30 EUR/kg``.

        Raises:
            ConfigurationError: as the constructor.
        """
        key = f"material.{name}"
        positive(density, f"{key}.density", "g/cm3")
        shares = fractions(composition, f"{key}.composition") if isinstance(composition, str) else dict(composition)
        _check(shares, f"{key}.composition")
        lengths = radiation_length(shares, density), interaction_length(shares, density)
        return cls(name, density, shares, *lengths, state, nist, Price.of(price) if isinstance(price, str) else price)

    def mass(self, volume: float) -> float:
        """Of a volume in mm3, kg."""
        return self.density * volume * 1e-6


def _check(composition: Mapping[str, float], key: str) -> None:
    """Refuse what is no set of mass fractions."""
    for symbol, fraction in composition.items():
        if symbol not in ELEMENTS:
            raise ConfigurationError(key, symbol, "symbols of the elements from H to U")
        positive(fraction, f"{key}.{symbol}", "mass fractions")
    total = math.fsum(composition.values())
    if abs(total - 1) > ROUNDING:
        raise ConfigurationError(key, dict(composition), f"mass fractions that add up to 1, not {total:.6g}")
