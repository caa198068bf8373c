"""The window by weights has the averages of a cut, and their derivative."""

import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.detectors.z_resolution import (
    CutSmearing,
    LineShape,
    MuonPairs,
    WindowedSmearing,
    recorded_mass,
    through_window,
)
from mode_opt.errors import ConfigurationError, ShapeError
from mode_opt.events import Events

WINDOW = (80e3, 100e3)
COUNT = 200_000


def number(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def sobol(seed=0, count=COUNT):
    uniform = torch.quasirandom.SobolEngine(2, True, seed).draw(count, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    return LineShape().quantile(uniform[:, 0], 60e3, 135e3), uniform[:, 1]


def mean(mass, weight):
    return (weight * mass).sum() / weight.sum()


def windowed(scale, resolution, seed=0):
    mass, uniform = sobol(seed)
    return mean(*through_window(mass, scale, resolution, uniform, WINDOW))


def cut(scale, resolution):
    mass, uniform = sobol()
    found = recorded_mass(mass, scale, resolution, torch.special.ndtri(uniform))
    return mean(found, ((found > WINDOW[0]) & (found < WINDOW[1])).double())


def test_two_muons_make_a_mass():
    """√(p₁ p₂) with independent relative errors: the width of the mass is σ/√2."""
    normal = torch.randn(200_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = recorded_mass(torch.tensor(90e3), torch.tensor(1.01), torch.tensor(0.02), normal)
    assert float(found.log().std()) == pytest.approx(0.02 / 2**0.5, rel=0.01)
    assert float(found.median()) == pytest.approx(1.01 * 90e3, rel=1e-4)


@pytest.mark.parametrize("at", [(1.01, 0.035), (0.985, 0.01)])
def test_same_averages_as_a_cut_and_their_derivative_which_the_cut_has_not(at):
    point = [number(value) for value in at]
    ours, theirs = windowed(*point), cut(*point)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=2e-5)
    slopes, naive = torch.autograd.grad(ours, point), torch.autograd.grad(theirs, point)
    for k, step in enumerate((4e-3, 2e-3)):
        sides = [cut(*(number(v + sign * step * (j == k)) for j, v in enumerate(at))) for sign in (1, -1)]
        exact = float((sides[0] - sides[1]).detach()) / (2 * step)
        assert float(slopes[k]) == pytest.approx(exact, rel=0.03, abs=400)  # MeV
        if k == 0:
            assert abs(float(naive[k]) - exact) > 0.1 * abs(exact)


def test_derivatives_by_differences_also_where_the_mirror_image_takes_over():
    middle = (WINDOW[0] * WINDOW[1]) ** 0.5
    masses = [middle * (1 + shift) for shift in (-0.2, -0.1, -1e-4, 1e-4, 0.1, 0.2)]
    mass = torch.tensor(masses, dtype=torch.float64)
    uniform = torch.tensor([0.1, 0.9, 0.3, 0.7, 0.5, 0.2], dtype=torch.float64)
    inputs = (mass.requires_grad_(), number(1.0), number(0.04))

    def logarithms(m, s, r):
        found, passed = through_window(m, s, r, uniform, WINDOW)
        return found.log(), passed

    assert torch.autograd.gradcheck(logarithms, inputs, eps=1e-7, atol=1e-5, rtol=1e-4)
    nearly = torch.tensor([middle * (1 - 1e-9), middle * (1 + 1e-9)], dtype=torch.float64)
    found, _ = through_window(nearly, number(1.0), number(0.04), torch.tensor([0.3, 0.3]), WINDOW)
    assert float(found[0].detach()) == pytest.approx(float(found[1].detach()), rel=1e-6)


def test_masses_far_away_have_no_weight_and_no_infinite_derivative():
    mass = torch.tensor([1.0, 60e3, 90e3, 150e3, 1e7], dtype=torch.float64)
    scale, resolution = number(1.0), number(0.005)
    found, passed = through_window(mass, scale, resolution, torch.full((5,), 0.5, dtype=torch.float64), WINDOW)
    assert passed.tolist() == [0.0, 0.0, pytest.approx(1.0), 0.0, 0.0]
    slopes = torch.autograd.grad((found * passed).sum(), (scale, resolution))
    assert all(bool(torch.isfinite(slope)) for slope in slopes) and float(slopes[0]) == pytest.approx(90e3)
    assert bool(((found >= WINDOW[0]) & (found <= WINDOW[1])).all())


def test_the_simulators_agree_and_event_i_draws_alike_for_all_designs():
    primaries = MuonPairs(LineShape(), (60e3, 135e3)).sample(60_000, torch.Generator().manual_seed(0))
    phi = DesignPoint.of(scale=torch.tensor([[0.99], [0.99]]), resolution=torch.tensor([[0.02], [0.02]]))
    events = WindowedSmearing(WINDOW)(phi, primaries, torch.Generator().manual_seed(1))
    assert torch.equal(events.hits[0], events.hits[1]) and events.truth.shape == (2, 60_000, 1)
    hard = CutSmearing(WINDOW)(phi, primaries, torch.Generator().manual_seed(2))
    assert set(hard.weight.unique().tolist()) == {0.0, 1.0}
    for moment in (1, 2):
        values = [mean((part.hits[0, :, 0, 0] / 9e4) ** moment, part.weight[0]) for part in (events, hard)]
        assert float(values[0]) == pytest.approx(float(values[1]), abs=4 * moment * 0.04 / 50_000**0.5)


def test_what_is_no_window_or_no_mass():
    for window in ((100e3, 80e3), (0.0, 1.0), (1.0,)):
        with pytest.raises(ConfigurationError, match=r"detector\.window"):
            WindowedSmearing(window)
    two = Events.of(torch.ones(1, 3, 1), torch.ones(1, 3, 1, 2))
    for simulator in (WindowedSmearing(WINDOW), CutSmearing(WINDOW)):
        with pytest.raises(ShapeError, match="the true mass"):
            simulator(DesignPoint.of(scale=1.0, resolution=0.02), two)
