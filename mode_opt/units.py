"""Units: what users write becomes numbers in the units of the field, and back.

The field's units are mm, MeV, ns, tesla, radian; mass is in kg, currencies are dimensions of their own.
Energy and mass are *independent* dimensions here (so are charge and magnetic field): within one expression
``kg mm^2/ns^2`` does not fit ``MeV``, because field numbers of the two differ by a factor that no formula
would show. Momenta in ``GeV/c`` and masses in ``GeV/c^2`` are MeV, as particle physicists count them: beside
an energy ``c`` divides as 1. On its own it is a speed, 299.79 mm/ns.
"""

import functools
import math
import re
from collections.abc import Iterable, Mapping
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
    "gigahertz": {"ns": -1},
    "millimeter / nanosecond": {"mm": 1, "ns": -1},
    "megaelectron_volt / millimeter": {"MeV": 1, "mm": -1},
    "megaelectron_volt / nanosecond": {"MeV": 1, "ns": -1},
    "megaelectron_volt / millimeter ** 3": {"MeV": 1, "mm": -3},
    "megaelectron_volt / kilogram": {"MeV": 1, "kg": -1},
    "megaelectron_volt / elementary_charge": {"MeV": 1, "e": -1},
    "elementary_charge / nanosecond": {"e": 1, "ns": -1},
    # Gauss belong to another system of quantities; pint does not turn them into tesla.
    "gaussian_tesla": {"T": 1},
    **{currency: {currency: 1} for currency in CURRENCIES},
}

# Written often, and not worth the import of a unit library.
_COMMON: Mapping[str, tuple[float, str]] = {
    **{name: (1.0, name) for name in ("mm", "MeV", "ns", "T", "kg", *CURRENCIES)},
    **{"tesla": (1.0, "T"), "rad": (1.0, ""), "radian": (1.0, "")},
    **{"um": (1e-3, "mm"), "cm": (10.0, "mm"), "m": (1e3, "mm")},
    **{"keV": (1e-3, "MeV"), "GeV": (1e3, "MeV"), "MeV/c": (1.0, "MeV"), "GeV/c": (1e3, "MeV")},
}
_SUCH_AS = "'mm', 'MeV', 'GeV/c', 'EUR/kg' or '' for a pure number"

Dimension = tuple[tuple[str, Fraction], ...]
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf|nan))\s*(.*?)\s*$", re.IGNORECASE)


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
    registry.define("gaussian_tesla = 1e4 gauss")
    for currency in CURRENCIES:
        registry.define(f"{currency} = [currency_{currency}]")
    return registry


@functools.cache
def _kinds_by_dimension() -> dict[Any, tuple[Any, Mapping[str, int]]]:
    units = {text: _registry().parse_units(text) for text in _KINDS}
    return {unit.dimensionality: (unit, _KINDS[text]) for text, unit in units.items()}


@functools.cache
def _parse(text: str) -> Unit | None:
    """The unit, or None if there is no such unit."""
    if text in _COMMON:
        factor, name = _COMMON[text]
        return Unit(text, factor, ((name, Fraction(1)),) if name else ())
    import pint

    try:
        atoms = dict(_registry().parse_units(text.replace("^", "**"))._units)
        parts = [(*_atom(name), power) for name, power in _without_c(atoms)]
    except (pint.PintError, TypeError, ValueError, AttributeError, SyntaxError, AssertionError):
        return None
    factor, exponents = 1.0, dict[str, Fraction]()
    for size, kind, power in parts:
        factor *= size ** float(power)
        for base, exponent in kind.items():
            exact = Fraction(power).limit_denominator(12)
            exponents[base] = exponents.get(base, Fraction(0)) + exponent * exact
    # pint's chain of conversions leaves rounding errors in round factors: take those away.
    rounded = float(f"{factor:.13g}")
    factor = rounded if abs(rounded - factor) < 1e-15 * abs(factor) else factor
    return Unit(text, factor, field_unit(exponents).dimension)


def _without_c(atoms: Mapping[str, float]) -> Iterable[tuple[str, float]]:
    """The atomic units and their powers, less a ``c`` that makes energies momenta or masses."""
    energy = _registry().megaelectron_volt.dimensionality
    energies = sum(power for name, power in atoms.items() if _registry().Unit(name).dimensionality == energy)
    speed = atoms.get("speed_of_light", 0)
    natural = speed * energies < 0 and abs(speed) <= 2 * abs(energies)
    return [(name, power) for name, power in atoms.items() if not (natural and name == "speed_of_light")]


def _atom(name: str) -> tuple[float, Mapping[str, int]]:
    """The size of one of pint's units in field units, and its exponents of the field's base units.

    Raises:
        ValueError: if it is of no kind that detectors have.
    """
    one = _registry().Quantity(1.0, name)
    if name.endswith(("bit", "byte", "octet")):  # pint counts information as a pure number
        raise ValueError(name)
    if one.dimensionless:
        return one.to_base_units().magnitude, {}
    if one.dimensionality not in _kinds_by_dimension() or not one._is_multiplicative:
        raise ValueError(name)
    reference, kind = _kinds_by_dimension()[one.dimensionality]
    return one.to(reference).magnitude, kind


def is_unit(text: str) -> bool:
    """Whether ``text`` names a unit."""
    return _parse(text) is not None


def parse_unit(text: str, key: str = "unit") -> Unit:
    """The unit that ``text`` names (pint's names and prefixes, ``*``, ``/``, ``**``; ``""``: none).

    Raises:
        ConfigurationError: if there is no such unit; names ``key``.
    """
    if isinstance(text, str) and text.strip() in ("", "1"):
        return DIMENSIONLESS
    unit = _parse(text.strip()) if isinstance(text, str) else None
    if unit is None:
        raise ConfigurationError(key, text, f"a known unit such as {_SUCH_AS}")
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


def reported(value: float, unit: Unit, resolution: float) -> float:
    """A number in field units as one in ``unit``, without digits below its relative ``resolution``."""
    digits = int(0.2 - math.log10(resolution))
    return float(f"{value / unit.factor:.{digits}g}")
