"""The likelihood against a Voigt profile, and on samples with known scale and resolution."""

import math

import numpy as np
import pytest
import torch
from scipy.special import voigt_profile

from mode_opt.detectors.z_resolution import Likelihood, LineShape
from mode_opt.detectors.z_resolution.likelihood import density
from mode_opt.detectors.z_resolution.line_shape import Z_MASS
from mode_opt.detectors.z_resolution.toys import bootstrap, toy_masses
from mode_opt.errors import NonFiniteError

WINDOW = (80e3, 100e3)


def test_a_lorentzian_becomes_a_voigt_profile():
    """In ln m: shifted by ln s, with a Gaussian of σ/√2, normalised in the window."""
    shape = LineShape()
    y, gamma = shape.logarithm - math.log(Z_MASS), 0.0137
    shape.probability = 1 / (y**2 + gamma**2)
    shape.probability /= shape.probability.sum()
    mass = torch.linspace(80.1e3, 99.9e3, 57, dtype=torch.float64)
    found = density(shape, WINDOW, 0.995, 0.03, mass) * mass
    fine = np.linspace(math.log(WINDOW[0]), math.log(WINDOW[1]), 20_001) - math.log(0.995 * Z_MASS)
    norm = np.trapezoid(voigt_profile(fine, 0.03 / 2**0.5, gamma), fine)
    expected = voigt_profile(mass.log().numpy() - math.log(0.995 * Z_MASS), 0.03 / 2**0.5, gamma) / norm
    np.testing.assert_allclose(found.numpy(), expected, rtol=3e-4)  # the grid ends at 40 and 206 GeV


def test_the_density_is_one_and_its_derivatives_are_those_by_differences():
    shape, mass = LineShape(), torch.linspace(80e3, 100e3, 2001, dtype=torch.float64)
    curve = density(shape, WINDOW, 1.002, 0.02, mass)
    assert float(torch.trapezoid(curve, mass)) == pytest.approx(1.0, abs=1e-5)
    likelihood = Likelihood(shape, WINDOW, mass[::100])
    at, step = torch.tensor([[0.002, 0.014]], dtype=torch.float64), 1e-5
    found = likelihood.terms(at)
    for k in range(2):
        shift = step * torch.eye(2, dtype=torch.float64)[k : k + 1]
        up, down = likelihood.terms(at + shift), likelihood.terms(at - shift)
        for which in (0, 1):  # at the masses, and over the window
            slope = (up[which] - down[which])[0] / (2 * step)
            torch.testing.assert_close(found[which][0, 1 + k], slope[0], rtol=1e-4, atol=1e-6)
            second = found[which][0, (3, 5)[k]], found[which][0, 4]
            torch.testing.assert_close(second[0], slope[1 + k], rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(second[1], slope[2 - k], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("scale", "resolution"), [(0.99, 0.012), (1.004, 0.035)])
def test_it_finds_what_was_simulated(scale, resolution):
    mass = toy_masses(LineShape(), WINDOW, 30_000, scale, resolution, seed=3)
    fit = Likelihood(LineShape(), WINDOW, mass).fit()
    pulls = (fit.values[0] - torch.tensor([scale, resolution])) / fit.errors[0]
    assert bool(fit.converged[0]) and float(pulls.abs().max()) < 4
    assert float(fit.errors[0, 0]) < 3e-4 and float(fit.errors[0, 1]) < 6e-4


def test_weights_repeat_events_and_the_bootstrap_agrees_with_the_curvature():
    mass = toy_masses(LineShape(), WINDOW, 600, 0.999, 0.02, seed=1)
    likelihood = Likelihood(LineShape(), WINDOW, mass)
    times = bootstrap(600, 120, seed=0)
    assert times.shape == (120, 600) and bool((times.sum(1) == 600).all())
    fit, samples = likelihood.fit(), likelihood.fit(times)
    repeated = Likelihood(LineShape(), WINDOW, mass.repeat_interleave(times[0].long())).fit()
    torch.testing.assert_close(repeated.values[0], samples.values[0], rtol=1e-7, atol=1e-9)
    ratio = samples.values.std(0) / fit.errors[0]
    assert bool(samples.converged.all()) and float(ratio.min()) > 0.7 and float(ratio.max()) < 1.4
    best = likelihood.value(*fit.values[0].tolist())
    for moved in ((1e-3, 0.0), (-1e-3, 0.0), (0.0, 2e-3), (0.0, -2e-3)):
        assert likelihood.value(*(fit.values[0] + torch.tensor(moved)).tolist()) < best


def test_too_narrow_masses_end_at_the_edge_and_say_so():
    mass = torch.linspace(91.0e3, 91.2e3, 200, dtype=torch.float64)
    assert not bool(Likelihood(LineShape(), WINDOW, mass).fit().converged[0])
    with pytest.raises(NonFiniteError, match="outside of 80000 to 100000 MeV"):
        Likelihood(LineShape(), WINDOW, torch.tensor([79e3]))
