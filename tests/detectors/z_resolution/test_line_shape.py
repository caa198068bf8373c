"""The true masses against closed forms and against simulated radiation."""

import math

import pytest
import torch
from scipy import integrate

from mode_opt.detectors.z_resolution import LineShape, MuonPairs
from mode_opt.detectors.z_resolution.line_shape import SIN2, Z_MASS, Z_WIDTH, annihilation, radiated
from mode_opt.errors import ConfigurationError

BETA = 2 / (137.036 * math.pi) * (math.log((Z_MASS / 105.6584) ** 2) - 1)


def at(mass, luminosity=0.0, up=0.6):
    return float(annihilation(torch.tensor([mass], dtype=torch.float64), luminosity, up))


def test_the_photon_alone_at_low_mass():
    """Σ f Q² m⁻²: 0.6 4/9 + 0.4 1/9 = 14/45; the luminosity is another power."""
    assert at(500.0) * (500 / Z_MASS) ** 2 == pytest.approx(14 / 45, rel=1e-3)
    assert at(500.0, 2.0) / at(500.0) == pytest.approx((500 / Z_MASS) ** -2)


def test_the_peak_is_the_partial_widths():
    """At m_Z the interference vanishes; with d quarks: Q² and (v² + a²)(v² + a²)(m_Z/Γ)²/(4 s² c²)²."""
    muon, quark = (-0.5 + 2 * SIN2) ** 2 + 0.25, (-0.5 + 2 / 3 * SIN2) ** 2 + 0.25
    peak = muon * quark * (Z_MASS / Z_WIDTH / (4 * SIN2 * (1 - SIN2))) ** 2
    assert at(Z_MASS, up=0.0) == pytest.approx(1 / 9 + peak)
    # A running width leaves a Breit-Wigner of slightly smaller mass and width: half the height at ± Γ/2 within 2 %.
    for mass in (Z_MASS - Z_WIDTH / 2, Z_MASS + Z_WIDTH / 2):
        assert at(mass) / at(Z_MASS) == pytest.approx(0.5, rel=0.07)


def test_the_radiated_fraction_follows_the_radiator():
    x = torch.linspace(0.0, 1.0, 2001, dtype=torch.float64)
    cumulative = radiated(x)
    assert cumulative[0] == 0 and float(cumulative[-1]) == pytest.approx(1.0) and bool((cumulative.diff() > 0).all())

    def radiator(fraction):
        return BETA * fraction ** (BETA - 1) * (1 - fraction + fraction**2 / 2)

    whole = integrate.quad(radiator, 0, 1, points=[1e-6])[0]
    for edge in (1e-4, 0.01, 0.3):
        part = integrate.quad(radiator, edge, 1)[0]
        assert 1 - float(radiated(torch.tensor(edge, dtype=torch.float64))) == pytest.approx(part / whole, rel=1e-5)


def test_radiation_is_what_simulating_it_gives():
    """m √(1 − x) with x drawn by inverting its distribution: means within 60 to 120 and 80 to 100 GeV."""
    generator = torch.Generator().manual_seed(0)
    silent, whole = LineShape(radiation=False), LineShape()
    count = 400_000
    uniform = torch.rand(count, 2, dtype=torch.float64, generator=generator)
    before = silent.quantile(uniform[:, 0], 50e3, 200e3)
    grid = torch.logspace(-40, 0, 40_001, dtype=torch.float64)
    x = grid[torch.searchsorted(radiated(grid), uniform[:, 1].contiguous()).clamp_max(len(grid) - 1)]
    after = before * (1 - x).sqrt()
    mass = whole.logarithm.exp()
    for low, high in ((60e3, 120e3), (80e3, 100e3)):
        inside = (mass > low) & (mass < high)
        expected = float((whole.probability * mass)[inside].sum() / whole.probability[inside].sum())
        found = after[(after > low) & (after < high)]
        error = float(found.std()) / len(found) ** 0.5
        assert float(found.mean()) == pytest.approx(expected, abs=4 * error + 3)  # MeV; the grid is 18 MeV wide


def test_masses_follow_the_distribution_between_the_limits():
    shape = LineShape()
    source = MuonPairs(shape, (70e3, 110e3))
    events = source.sample(50_000, torch.Generator().manual_seed(1))
    assert torch.equal(events.truth[..., 0], events.hits[:, :, 0, 0])
    mass, found = shape.logarithm.exp(), events.truth[0, :, 0].double()
    inside = (mass > 70e3) & (mass < 110e3)
    total = shape.probability[inside].sum()
    for edge in (85e3, 90e3, 91.2e3, 95e3):  # stratified: better than 1/√n
        expected = shape.probability[inside & (mass < edge)].sum() / total
        assert float((found < edge).double().mean()) == pytest.approx(float(expected), abs=2e-3)
    assert float(found.min()) >= 70e3 and float(found.max()) <= 110e3
    plain = MuonPairs(shape, (70e3, 110e3), stratified=False).sample(5000, torch.Generator().manual_seed(1))
    assert float(plain.truth.mean()) == pytest.approx(float(found.mean()), abs=5 * float(found.std()) / 5000**0.5)


@pytest.mark.parametrize("mass", [(90e3, 80e3), (10e3, 80e3), (80e3, 300e3), (80e3,)])
def test_limits_are_checked(mass):
    with pytest.raises(ConfigurationError, match=r"primaries\.mass"):
        MuonPairs(LineShape(), mass)
    with pytest.raises(ConfigurationError, match=r"line_shape\.up"):
        LineShape(up=1.5)
