"""Material constants and effective media."""

import pytest
import torch

from mode_opt.detectors.sampling_calorimeter.materials import (
    MATERIALS,
    SCALE_ENERGY,
    EffectiveMedium,
    material,
)
from mode_opt.errors import ConfigurationError


@pytest.mark.parametrize("name", MATERIALS)
def test_moliere_radius_follows_from_critical_energy_and_radiation_length(name):
    """R_M = E_s X0 / E_c: ties three columns of the table to each other, to 1 %."""
    m = MATERIALS[name]
    assert m.moliere_radius == pytest.approx(SCALE_ENERGY * m.radiation_length / m.critical_energy, rel=0.01)


@pytest.mark.parametrize("name", MATERIALS)
def test_minimum_loss_is_between_one_and_two_mev_per_gram(name):
    m = MATERIALS[name]
    assert 1.1 < m.minimum_loss * 10 / m.density < 2.0
    assert 0.39 < m.z_over_a < 0.54


@pytest.mark.parametrize("name", MATERIALS)
def test_a_stack_of_one_material_is_that_material(name):
    m = MATERIALS[name]
    medium = EffectiveMedium.of(m, m, torch.full((1, 10), 2.0), torch.full((1, 10), 3.0))
    assert float(medium.critical_energy) == pytest.approx(m.critical_energy, rel=1e-6)
    assert float(medium.moliere_radius) == pytest.approx(m.moliere_radius, rel=0.01)
    assert float(medium.step) == pytest.approx(5.0 / m.radiation_length, rel=1e-6)
    assert float(medium.atomic_number) == pytest.approx(m.atomic_number, rel=1e-6)


def test_unknown_material_is_refused_with_the_key_and_the_choice():
    with pytest.raises(ConfigurationError, match=r"absorber: got 'Unobtainium', expected one of PbWO4, Pb"):
        material("Unobtainium", "absorber")
