"""Units of branches: what a file holds becomes numbers in the units of the field."""

import functools
from typing import Any

from mode_opt.errors import ConfigurationError

# Written often, and not worth the import of a unit library.
_OF_THE_FIELD = frozenset(
    ("", "1", "mm", "MeV", "MeV/c", "MeV/c**2", "ns", "T", "tesla", "rad", "radian", "kg")
)
_KINDS = (
    "millimeter",
    "nanosecond",
    "megaelectron_volt",
    "tesla",
    "kilogram",
    "elementary_charge",
    "kelvin",
    "hertz",
)


@functools.cache
def field_factor(unit: str, key: str = "unit") -> float:
    """The factor that turns numbers in ``unit`` into field units.

    Every part of a product is converted on its own (energy to MeV, length to mm, time to ns, field to tesla,
    mass to kg, frequency to Hz, angle to rad); ``c`` counts as 1, so momenta in ``GeV/c`` and masses in
    ``GeV/c**2`` are MeV.

    Args:
        unit: as pint writes it: names, prefixes, ``*``, ``/``, ``**``; empty for a pure number.
        key: the configuration key that messages name.

    Raises:
        ConfigurationError: if there is no such unit.
    """
    if not isinstance(unit, str):
        raise ConfigurationError(key, unit, "a unit such as 'mm', 'GeV' or '' for a pure number")
    if unit.strip() in _OF_THE_FIELD:
        return 1.0
    import pint

    registry = pint.get_application_registry()
    try:
        atoms = dict(registry.parse_units(unit.replace("^", "**"))._units)
        factor = 1.0
        for atom, power in atoms.items():
            factor *= _atom_factor(registry.Quantity(1.0, atom), key, unit) ** power
    except (pint.PintError, TypeError, ValueError, AttributeError, SyntaxError, AssertionError) as error:
        raise ConfigurationError(
            key, unit, "a unit such as 'mm', 'GeV', 'GeV/c' or '' for a pure number"
        ) from error
    # pint's chains of conversions carry rounding errors; users write round numbers.
    return float(f"{factor:.13g}")


def _atom_factor(quantity: Any, key: str, unit: str) -> float:
    if str(quantity.units) == "speed_of_light":
        return 1.0
    if quantity.dimensionless:
        return float(quantity.to_base_units().magnitude)
    if str(quantity.units).endswith("gauss"):
        # A unit of another system of quantities, which pint does not turn into tesla.
        return float(quantity.to("gauss").magnitude) * 1e-4
    for kind in _KINDS:
        if quantity.is_compatible_with(kind) and quantity._is_multiplicative:
            return float(quantity.to(kind).magnitude)
    raise ConfigurationError(key, unit, "a unit of length, time, energy, field, mass, charge or angle")
