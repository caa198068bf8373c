"""Units: what users write becomes numbers in the units of the field, and back.

The field's units are mm, MeV, ns, tesla, radian; mass is in kg, currencies are dimensions of their own.
Energy and mass are *independent* dimensions here (so are charge and magnetic field): within one expression
``kg mm^2/ns^2`` does not fit ``MeV``, because field numbers of the two differ by a factor that no formula
would show.
"""

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real
from typing import Any

from mode_opt.errors import ConfigurationError

CURRENCIES = ("EUR", "USD", "CHF", "GBP", "JPY")

# One unit of each kind and what it is in the field's base units: an atomic unit of the same pint dimension
# is a multiple of it.
_KINDS: Mapping[str, Mapping[str, int]] = {
    "millimeter": {"mm": 1},
    "nanosecond": {"ns": 1},
    "kilogram": {"kg": 1},
    "tesla": {"T": 1},
    "kelvin": {"K": 1},
    "elementary_charge": {"e": 1},
    "megaelectron_volt": {"MeV": 1},
    "millimeter ** 2": {"mm": 2},
    "millimeter ** 3": {"mm": 3},
    "1 / nanosecond": {"ns": -1},
    "millimeter / nanosecond": {"mm": 1, "ns": -1},
    "megaelectron_volt / millimeter": {"MeV": 1, "mm": -1},
    "megaelectron_volt / nanosecond": {"MeV": 1, "ns": -1},
    "megaelectron_volt / millimeter ** 3": {"MeV": 1, "mm": -3},
    "megaelectron_volt / kilogram": {"MeV": 1, "kg": -1},
    "megaelectron_volt / elementary_charge": {"MeV": 1, "e": -1},
    "elementary_charge / nanosecond": {"e": 1, "ns": -1},
    **{currency: {currency: 1} for currency in CURRENCIES},
}

Dimension = tuple[tuple[str, Fraction], ...]
_QUANTITY = re.compile(
    r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf|nan))\s*(.*?)\s*$", re.IGNORECASE
)


@dataclass(frozen=True)
class Unit:
    """A unit as written, and what it is in field units.

    Attributes:
        text: as the user wrote it, for reports.
        factor: numbers in this unit times ``factor`` are numbers in field units.
        dimension: exponents of the field's base units, sorted by name, none of them zero.
    """

    text: str
    factor: float
    dimension: Dimension

    def fits(self, other: "Unit") -> bool:
        """Whether the two can be added."""
        return self.dimension == other.dimension

    def times(self, other: "Unit", power: Fraction | int = 1) -> "Unit":
        """``self * other ** power``, in field units; a pure number keeps the other unit as written."""
        if not other.dimension:
            return self
        if not self.dimension and power == 1:
            return other
        exponents = dict(self.dimension)
        for name, exponent in other.dimension:
            exponents[name] = exponents.get(name, Fraction(0)) + exponent * power
        return field_unit(exponents)

    def power(self, exponent: Fraction | int) -> "Unit":
        """``self ** exponent``, in field units."""
        return DIMENSIONLESS.times(self, exponent)

    def __str__(self) -> str:
        return self.text or "dimensionless"


DIMENSIONLESS = Unit("", 1.0, ())


def field_unit(exponents: Mapping[str, Fraction | int]) -> Unit:
    """The field's unit with these exponents of its base units, e.g. ``{"MeV": 1, "mm": -1}`` is MeV/mm."""
    kept = tuple(sorted((name, Fraction(power)) for name, power in exponents.items() if power))

    def product(terms: list[tuple[str, Fraction]]) -> str:
        return "*".join(
            name if power == 1 else f"{name}**{power}" if power.denominator == 1 else f"{name}**({power})"
            for name, power in terms
        )

    above = product([(name, power) for name, power in kept if power > 0])
    below = "".join(f"/{product([(name, -power)])}" for name, power in kept if power < 0)
    return Unit((above or "1" if below else above) + below, 1.0, kept)


@functools.cache
def _registry() -> Any:
    import pint

    registry = pint.UnitRegistry()
    for currency in CURRENCIES:
        registry.define(f"{currency} = [currency_{currency}]")
    return registry


@functools.cache
def _kinds_by_dimension() -> dict[Any, tuple[Any, Mapping[str, int]]]:
    units = {
        text: _registry().parse_units(text) if "1 /" not in text else 1 / _registry().nanosecond
        for text in _KINDS
    }
    return {unit.dimensionality: (getattr(unit, "units", unit), _KINDS[text]) for text, unit in units.items()}


@functools.cache
def _parse(text: str) -> Unit | None:
    """The unit, or None if there is no such unit."""
    import pint

    registry = _registry()
    try:
        atoms = registry.parse_units(text.replace("^", "**"))._units
    except (pint.PintError, TypeError, ValueError, AttributeError, SyntaxError, AssertionError):
        return None
    factor, exponents = 1.0, dict[str, Fraction]()
    for atom, power in atoms.items():
        unit = registry.Unit(atom)
        if str(unit).endswith(("bit", "byte", "octet")):  # pint counts information as a pure number
            return None
        if not unit.dimensionality:
            factor *= registry.Quantity(1.0, unit).to_base_units().magnitude ** float(power)
            continue
        if (
            unit.dimensionality not in _kinds_by_dimension()
            or not registry.Quantity(1.0, unit)._is_multiplicative
        ):
            return None
        reference, kind = _kinds_by_dimension()[unit.dimensionality]
        factor *= registry.Quantity(1.0, unit).to(reference).magnitude ** float(power)
        for name, exponent in kind.items():
            exponents[name] = exponents.get(name, Fraction(0)) + exponent * Fraction(power).limit_denominator(
                12
            )
    # pint's chain of conversions leaves rounding errors in round factors: take those away.
    rounded = float(f"{factor:.13g}")
    factor = rounded if abs(rounded - factor) < 1e-15 * abs(factor) else factor
    return Unit(text, factor, field_unit(exponents).dimension)


def is_unit(text: str) -> bool:
    """Whether ``text`` names a unit."""
    return _parse(text) is not None


def parse_unit(text: str, key: str = "unit") -> Unit:
    """The unit that ``text`` names (pint's names and prefixes, ``*``, ``/``, ``**``; ``""``: none).

    Raises:
        ConfigurationError: if there is no such unit; names ``key``.
    """
    if not isinstance(text, str):
        raise ConfigurationError(key, text, "a unit such as 'mm', 'MeV', 'EUR/kg' or '' for a pure number")
    unit = DIMENSIONLESS if text.strip() in ("", "1") else _parse(text.strip())
    if unit is None:
        raise ConfigurationError(
            key, text, "a known unit such as 'mm', 'MeV', 'EUR/kg' or '' for a pure number"
        )
    return unit


def to_field(value: object, unit: Unit | str, key: str = "value") -> float:
    """A number in field units.

    Args:
        value: a number in ``unit``, or a string with a unit of its own (``"0.3 cm"``); a string without one
            (YAML reads ``1e-3`` as a string) is a number in ``unit``.
        unit: the declared unit.
        key: the configuration key that messages name.

    Raises:
        ConfigurationError: if it is no number, NaN, or its unit does not fit the declared one.
    """
    unit = parse_unit(unit, key) if isinstance(unit, str) else unit
    text = ""
    if isinstance(value, str):
        match = _QUANTITY.match(value)
        if match is None:
            raise ConfigurationError(key, value, f"a number in {unit}, or one with a unit that fits")
        number, text = float(match[1]), match[2]
    elif isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
    else:
        raise ConfigurationError(key, value, f"a number in {unit}, or one with a unit that fits")
    if math.isnan(number):
        raise ConfigurationError(key, value, "a number, not NaN")
    if not text:
        return number * unit.factor
    given = parse_unit(text, key)
    if not given.fits(unit):
        raise ConfigurationError(key, value, f"a unit that fits the declared one, {unit}")
    return number * given.factor


def unit_text(value: object) -> str:
    """The unit written in ``"0.3 cm"``; empty for a number."""
    match = _QUANTITY.match(value) if isinstance(value, str) else None
    return match[2] if match else ""


def from_field(value: float, unit: Unit | str) -> float:
    """A number in field units as a number in ``unit``."""
    return value / (parse_unit(unit) if isinstance(unit, str) else unit).factor


def reported(value: float, unit: Unit, resolution: float) -> float:
    """A number in field units as one in ``unit``, without digits below its relative ``resolution``."""
    digits = int(0.2 - math.log10(resolution))
    return float(f"{value / unit.factor:.{digits}g}")
