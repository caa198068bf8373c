"""Units against values of the Particle Data Group and plain arithmetic; refusals name the key."""

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mode_opt.errors import ConfigurationError
from mode_opt.units import is_unit, parse_unit, reported, to_field

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
    "c": 299.792458,
    "keV": 1e-3,
    "s": 1e9,
    "ps": 1e-3,
    "Hz": 1e-9,
    "1/s": 1e-9,
    "gauss": 1e-4,
    "kG": 0.1,
    "percent": 0.01,
    "1": 1.0,
    "GeV/cm": 100.0,
    "1/cm^2": 0.01,
}


@pytest.mark.parametrize(("text", "factor"), FACTORS.items())
def test_factors(text: str, factor: float) -> None:
    assert parse_unit(text).factor == pytest.approx(factor, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "factor", "like"),
    [
        ("GeV/c", 1e3, "MeV"),
        ("GeV/c**2", 1e3, "MeV"),
        ("GeV / c^2", 1e3, "MeV"),
        ("TeV/c", 1e6, "MeV"),
        ("1/(GeV/c)", 1e-3, "1/MeV"),
        ("GeV**2/c**4", 1e6, "MeV**2"),
        ("keV/c/cm", 1e-4, "MeV/mm"),
        ("c", 299.792458, "mm/ns"),
        ("GeV*c", 299792.458, "MeV*mm/ns"),
        ("m/c", 1e3 / 299.792458, "ns"),
        ("GeV/c**3", 1e3 / 299.792458**3, "MeV*ns**3/mm**3"),
    ],
)
def test_momenta_and_masses_are_energies_and_c_alone_is_a_speed(text: str, factor: float, like: str) -> None:
    unit = parse_unit(text)
    assert unit.factor == pytest.approx(factor, rel=1e-12)
    assert unit.fits(parse_unit(like))


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("mm", "millimeter"),
        ("um", "micron"),
        ("rad", "mrad"),
        ("T", "gauss"),
        ("cm", "centimeter"),
        ("GeV/c", "TeV/c"),
        ("MeV", "J"),
        ("ns", "s"),
        ("kg", "gram"),
        ("keV", "eV"),
    ],
)
def test_units_written_often_are_those_of_the_unit_library(short: str, long: str) -> None:
    assert parse_unit(short).fits(parse_unit(long))
    assert parse_unit(short).factor == pytest.approx(parse_unit(f"{short}*1").factor, rel=1e-12)
    assert parse_unit(short).dimension == parse_unit(f"{short}*1").dimension


def test_units_written_often_need_no_unit_library() -> None:
    code = "import sys, mode_opt.units as units; print(units.to_field('2 cm', 'mm'), 'pint' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["20.0", "False"]


def test_dimensions_fit_or_not() -> None:
    assert parse_unit("J").fits(parse_unit("GeV"))
    assert parse_unit("GeV/m").fits(parse_unit("N"))
    assert parse_unit("g/cm^3").fits(parse_unit("kg/l"))
    assert not parse_unit("EUR").fits(parse_unit("USD"))
    assert not parse_unit("kg*m^2/s^2").fits(parse_unit("J")), "field numbers differ: they must not be added"


@given(st.floats(-1e6, 1e6), st.sampled_from(["mm", "GeV", "deg", "EUR/kg", "g/cm^3"]))
def test_round_trip(number: float, unit: str) -> None:
    assert to_field(number, unit) == pytest.approx(number * parse_unit(unit).factor, rel=1e-14)
    assert reported(to_field(number, unit), parse_unit(unit), 1e-6) == pytest.approx(number, rel=5.1e-6)
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


def test_reported_digits() -> None:
    assert reported(1234.5678, parse_unit("cm"), 1e-3) == 123.0


NO_UNITS = ["bytes", "bit", "degC", "X0", "mm +", "MeV+", "3 mm", "GeVV", "candela", "__import__('os')"]


@pytest.mark.parametrize("text", NO_UNITS)
def test_not_units(text: str) -> None:
    assert not is_unit(text)


@pytest.mark.parametrize("text", [*NO_UNITS, 3, None])
def test_what_is_no_unit_is_refused_with_its_key(text: object) -> None:
    with pytest.raises(ConfigurationError, match=r"branches\.energy\.unit: got .*expected a known unit such as"):
        parse_unit(text, "branches.energy.unit")  # type: ignore[arg-type]
