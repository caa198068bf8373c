"""Units of branches."""

import math

import pytest

from mode_opt.data.units import field_factor
from mode_opt.errors import ConfigurationError


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("", 1.0),
        ("MeV", 1.0),
        ("GeV", 1e3),
        ("keV", 1e-3),
        ("cm", 10.0),
        ("m", 1e3),
        ("s", 1e9),
        ("ps", 1e-3),
        ("gauss", 1e-4),
        ("kG", 0.1),
        ("degree", math.pi / 180),
        ("mrad", 1e-3),
        ("percent", 0.01),
        ("GeV/c", 1e3),
        ("GeV/c**2", 1e3),
        ("GeV/cm", 100.0),
        ("1/cm^2", 0.01),
        ("g", 1e-3),
        ("J", 1 / 1.602176634e-13),
    ],
)
def test_factor_to_field_units(unit, factor):
    assert field_factor(unit) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize("unit", ["GeVV", "candela", "degC", "MeV+", 3])
def test_what_is_no_unit_is_refused_with_its_key(unit):
    with pytest.raises(ConfigurationError, match=r"branches\.energy\.unit: got .*expected a unit"):
        field_factor(unit, "branches.energy.unit")
