"""Units against values of the Particle Data Group and plain arithmetic; refusals name the key."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mode_opt.design.units import from_field, is_unit, parse_unit, to_field
from mode_opt.errors import ConfigurationError

FACTORS = {
    "mm": 1.0,
    "cm": 10.0,
    "m": 1e3,
    "um": 1e-3,
    "MeV": 1.0,
    "GeV": 1e3,
    "eV": 1e-6,
    "ns": 1.0,
    "us": 1e3,
    "T": 1.0,
    "rad": 1.0,
    "mrad": 1e-3,
    "deg": math.pi / 180,
    "kg": 1.0,
    "g": 1e-3,
    "g/cm^3": 1e-6,
    "g/cm**3": 1e-6,
    "EUR": 1.0,
    "kEUR": 1e3,
    "EUR/kg": 1.0,
    "MHz": 1e-3,
    "l": 1e6,
    "barn": 1e-22,
    "1/cm": 0.1,
    "": 1.0,
    "%": 0.01,
    "J": 1 / 1.602176634e-13,
    "Gy": 1 / 1.602176634e-13,
    "V": 1e-6,
    "GeV/c": 1e3 / 299.792458,
    "c": 299.792458,
}


@pytest.mark.parametrize(("text", "factor"), FACTORS.items())
def test_factors(text: str, factor: float) -> None:
    assert parse_unit(text).factor == pytest.approx(factor, rel=1e-9)


def test_dimensions_fit_or_not() -> None:
    assert parse_unit("J").fits(parse_unit("GeV"))
    assert parse_unit("GeV/m").fits(parse_unit("N"))
    assert parse_unit("g/cm^3").fits(parse_unit("kg/l"))
    assert not parse_unit("EUR").fits(parse_unit("USD"))
    assert not parse_unit("kg*m^2/s^2").fits(parse_unit("J")), "field numbers differ: they must not be added"


@given(st.floats(-1e6, 1e6), st.sampled_from(["mm", "GeV", "deg", "EUR/kg", "g/cm^3"]))
def test_round_trip(number: float, unit: str) -> None:
    assert from_field(to_field(number, unit), unit) == pytest.approx(number, rel=1e-14)
    assert to_field(f"{number!r} {unit}", unit) == to_field(number, unit)


def test_texts() -> None:
    assert to_field("3 cm", "mm") == 30.0
    assert to_field("-2.5e-1 m", "cm") == -250.0
    assert to_field("1e-3", "m") == 1.0, "YAML reads 1e-3 as a string"
    assert to_field(3, "cm") == 30.0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3 kg", r"design\.parameters\.x\.start: got '3 kg', expected a unit that fits the declared one, mm"),
        ("3 foo", r"x\.start: got 'foo', expected a known unit"),
        ("three", r"x\.start: got 'three', expected a number in mm"),
        (math.nan, r"x\.start: got nan, expected a number, not NaN"),
        ("nan mm", "not NaN"),
        (True, "expected a number in mm"),
        (None, "expected a number in mm"),
    ],
)
def test_refusals(value: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        to_field(value, "mm", "design.parameters.x.start")


@pytest.mark.parametrize("text", ["bytes", "bit", "degC", "X0", "mm +", "3 mm", "__import__('os')"])
def test_not_units(text: str) -> None:
    assert not is_unit(text)
