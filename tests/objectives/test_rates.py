"""Rates and doses against closed forms and published numbers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Independent, Normal

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives import Dose, Interval, MuonShield, Rate, generalised_uniform_dose, volume_fraction

PHI = DesignPoint.of(x=1.0)
SHIP = 1_915_820.0
FLOATS = st.floats(-3.0, 3.0)


def hits_of(hits: torch.Tensor, weight: torch.Tensor | None = None, mask: torch.Tensor | None = None) -> Events:
    """Events with these hits, ``n x h x f``."""
    truth = torch.ones(1, len(hits), 1, dtype=hits.dtype)
    return Events.of(truth, hits.unsqueeze(0), mask=mask, weight=None if weight is None else weight.unsqueeze(0))


def belief(events: Events) -> Independent:
    return Independent(Normal(events.truth, 1.0), 1)


def value(objective, events, phi=PHI):
    return objective(events, belief(events), phi)[0]


def test_a_sharp_rate_counts_weighted_particles_in_the_region():
    hits = torch.tensor([[[1.0, 5.0], [2.0, 7.0]], [[0.5, 3.0], [9.0, 9.0]]])
    mask = torch.tensor([[[True, True], [True, False]]])
    events = hits_of(hits, torch.tensor([1.0, 3.0]), mask)
    assert value(Rate([Interval(0, 0.7, 3.0)], primaries=8.0), events).item() == pytest.approx(8 * 2 / 4)
    assert value(Rate(value=1), events).item() == pytest.approx((12 + 3 * 3) / 4)
    assert value(Rate([Interval([0, 1], None, 6.0)], wanted=True), events).item() == pytest.approx(-1.0)


@given(FLOATS, st.floats(0.1, 2.0), st.floats(0.05, 1.0))
def test_the_soft_edge_is_the_sharp_one_smeared(cut, sigma, soft):
    """⟨Φ((x − c)/h)⟩ over Gaussian x, at its quantiles, is Φ(−c/√(σ² + h²)); and its slope in a common shift."""
    u = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    x = sigma * torch.special.ndtri(u) + shift
    found = value(Rate([Interval(0, cut, None, soft)]), hits_of(x.reshape(-1, 1, 1)))
    total = math.hypot(sigma, soft)
    assert found.item() == pytest.approx(0.5 * math.erfc(cut / total / math.sqrt(2)), abs=2e-4)
    (slope,) = torch.autograd.grad(found, shift)
    expected = math.exp(-((cut / total) ** 2) / 2) / math.sqrt(2 * math.pi) / total
    assert slope.item() == pytest.approx(expected, abs=2e-3 / soft)


def test_soft_interval_reference_numbers():
    x = torch.tensor([0.3, 1.0], dtype=torch.float64, requires_grad=True)
    degree = Interval(0, 0.0, 1.0, 0.1).of(x)
    (slope,) = torch.autograd.grad(degree.sum(), x)
    torch.testing.assert_close(degree, torch.tensor([0.998650, 0.5]).double(), atol=5e-7, rtol=0)
    torch.testing.assert_close(slope, torch.tensor([0.044318, -3.989423]).double(), atol=5e-7, rtol=0)


@given(st.lists(st.integers(0, 4), min_size=3, max_size=8).filter(lambda w: sum(w) > 0))
def test_rates_and_doses_know_the_weights(weights):
    """Repeated events, doubled weights, another order; the derivative in the weights."""
    generator = torch.Generator().manual_seed(len(weights))
    hits = torch.rand(len(weights), 3, 1, generator=generator, dtype=torch.float64)
    weight = torch.tensor(weights, dtype=torch.float64)
    for objective in (Rate([Interval(0, 0.5)]), Dose("geud", a=3.0), Dose("volume", level=0.5, soft=0.1)):
        found = value(objective, hits_of(hits, weight))
        repeated = hits.repeat_interleave(torch.tensor(weights), 0)
        order = torch.randperm(len(weights), generator=generator)
        torch.testing.assert_close(found, value(objective, hits_of(repeated)))
        torch.testing.assert_close(found, value(objective, hits_of(hits, 2 * weight)))
        torch.testing.assert_close(found, value(objective, hits_of(hits[order], weight[order])))
        torch.autograd.gradcheck(
            lambda w, objective=objective: value(objective, hits_of(hits, w)), (weight.clone().requires_grad_(),)
        )


def ship(mass: float, muons: float):
    """The loss for so many central muons of weight 1 (x at the left edge, from inside), and its derivatives."""
    objective = MuonShield("mass", charge=None)
    x = torch.full((1, 1, 3), 5000.0, dtype=torch.float64)
    x[..., 0], x[..., 1] = -3000.0 + 1e-9, 0.0
    w = torch.tensor([muons], dtype=torch.float64, requires_grad=True)
    phi = DesignPoint.of(mass=torch.tensor([[mass * SHIP]]).double())
    values = phi.values.double().requires_grad_()
    objective.muons = w  # so that S = w, and has a derivative
    loss = objective(hits_of(x), None, DesignPoint(values, phi.layout))[0]
    return loss, *torch.autograd.grad(loss, (w, values))


def test_the_published_loss_of_the_muon_shield():
    assert ship(1.0, 0.0)[0].item() == pytest.approx(2.0, abs=1e-7)
    loss, per_muon, per_mass = ship(1.1, 3.0)
    assert loss.item() == pytest.approx(14.873127, rel=1e-6)
    assert per_muon.item() == pytest.approx(3.718282, rel=1e-6)
    assert SHIP * per_mass.item() == pytest.approx(108.731273, rel=1e-6)
    assert ship(0.9, 10.0)[0].item() == pytest.approx(15.046674, rel=1e-6)
    assert all(torch.isfinite(part).all() for part in ship(100.0, 10.0))


def test_the_published_weight_of_a_muon():
    x = torch.tensor([-3000.0, -200.0, 2590.0, 2700.0], dtype=torch.float64, requires_grad=True)
    weight = MuonShield().weight(x)
    (slope,) = torch.autograd.grad(weight.sum(), x)
    assert weight.tolist() == pytest.approx([1.0, 0.707107, 0.042258, 0.0], abs=1e-6)
    assert slope[1:].tolist() == pytest.approx([-0.0001263, -0.0021129, 0.0], abs=1e-7)  # per mm


def muons(x, y=0.0, p=5000.0, charge=1.0):
    rows = torch.stack([torch.as_tensor(x).double(), *(torch.full((len(x),), v).double() for v in (y, p, charge))], -1)
    return hits_of(rows.unsqueeze(1))


def arriving(events, **options):
    return MuonShield(**options).arriving(events)[0].item()


def test_acceptance_of_the_muon_shield():
    assert arriving(muons([-200.0])) == pytest.approx(0.5**0.5)
    assert arriving(muons([200.0], charge=-1.0)) == pytest.approx(0.5**0.5)  # mirrored by its charge
    for away in (muons([2601.0]), muons([-3001.0]), muons([0.0], y=5001.0), muons([0.0], p=999.0)):
        assert arriving(away) == 0.0
    assert arriving(muons([-200.0, 9000.0]), muons=10.0) == pytest.approx(5 * 0.5**0.5)
    heavy = MuonShield("mass", heaviest=3e6)
    assert heavy(muons([0.0]), None, DesignPoint.of(mass=3.1e6)).item() == pytest.approx(1e8)


@given(st.floats(-4000.0, 4000.0), st.sampled_from([10.0, 100.0]))
def test_the_smooth_muon_weight_has_finite_slopes_that_are_those_of_its_values(x, soft):
    where = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    rate = MuonShield(soft=soft, soft_momentum=50.0, charge=None)

    def seen(at):
        return rate.arriving(hits_of(torch.stack([at, 0 * at, 0 * at + 5000.0], -1).unsqueeze(1)))[0]

    assert torch.autograd.gradcheck(seen, (where,), eps=1e-4, atol=1e-6)
    if -2400 < x < 1000:  # far from the edges: √((u + √(u² + δ²))/2) = √u (1 + δ²/(8 u²) − …)
        u, delta = (2600 - x) / 5600, soft / 5600
        assert seen(where).item() == pytest.approx(arriving(muons([x])) * (1 + delta**2 / (8 * u**2)), rel=1e-5)


def test_equivalent_uniform_dose_reference_numbers():
    dose = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    found = generalised_uniform_dose(dose, 2.0)
    (slope,) = torch.autograd.grad(found, dose)
    assert found.item() == pytest.approx(1.581139, abs=1e-6)
    assert slope.tolist() == pytest.approx([0.316228, 0.632456], abs=1e-6)


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=6), st.floats(-8.0, 8.0).filter(lambda a: abs(a) > 0.05))
def test_equivalent_uniform_dose_is_the_power_mean(doses, a):
    dose = torch.tensor(doses, dtype=torch.float64, requires_grad=True)
    assert generalised_uniform_dose(dose, a).item() == pytest.approx(((dose**a).mean() ** (1 / a)).item(), rel=1e-9)
    torch.autograd.gradcheck(lambda d: generalised_uniform_dose(d, a), (dose,))
    single = generalised_uniform_dose(dose.float(), a)
    assert single.item() == pytest.approx(generalised_uniform_dose(dose, a).item(), rel=1e-4)
    scaled = generalised_uniform_dose(3.0 * dose, a)
    torch.testing.assert_close(scaled, 3.0 * generalised_uniform_dose(dose, a))


@pytest.mark.parametrize("a", [-10.0, -1.0, 1.0, 2.0, 40.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_voxels_without_dose_have_a_value_and_a_slope(a, dtype):
    """One cold voxel of four: the minimum-like means vanish with slope 4^(−1/a) in it, as they do close to zero."""
    dose = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=dtype, requires_grad=True)
    found = generalised_uniform_dose(dose, a)
    (slope,) = torch.autograd.grad(found, dose)
    assert torch.isfinite(slope).all()
    if a < 0:
        assert found.item() == pytest.approx(0.0, abs=1e-6)
        assert slope[0].item() == pytest.approx(4 ** (-1 / a), rel=1e-3)
    none = torch.zeros(3, dtype=dtype, requires_grad=True)
    (slope,) = torch.autograd.grad(generalised_uniform_dose(none, a), none)
    assert torch.isfinite(slope).all() and slope.sum().item() == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [("mean", 2.0), ("geud", 14.0**0.5 / 3**0.5), ("volume", 2 / 3), ("deviation", 2.75 / 3), ("excess", 2.5 / 3)],
)
def test_statistics_of_a_dose(statistic, expected):
    """Doses 1, 2, 3 in three of four voxels; level 1.5."""
    hits = torch.tensor([[[0.5], [1.0], [1.5], [9.0]], [[0.5], [1.0], [1.5], [9.0]]], dtype=torch.float64)
    objective = Dose(statistic, voxels=[0, 1, 2], scale=2.0, a=2.0, level=1.5)
    assert value(objective, hits_of(hits)).item() == pytest.approx(expected)


def test_soft_volume_fraction_tends_to_the_sharp_one():
    dose = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    assert volume_fraction(dose, 2.5).item() == 0.5
    assert volume_fraction(dose, 2.1, 0.01).item() == pytest.approx(0.5, abs=1e-4)
    assert volume_fraction(dose[:1], 1.0, 0.3).item() == 0.5


def test_no_weight_and_bad_settings_are_refused():
    empty = hits_of(torch.ones(2, 1, 1), torch.zeros(2))
    for objective in (Rate(), Dose()):
        with pytest.raises(NonFiniteError, match="no event with weight"):
            value(objective, empty)
    bad = {
        "primaries": lambda: Rate(primaries=0.0),
        "accepted": lambda: Interval(0, 2.0, 1.0),
        "soft": lambda: Interval(0, 0.0, 1.0, -1.0),
        "statistic": lambda: Dose("median"),
        "a": lambda: Dose("geud", a=0.0),
        "scale": lambda: Dose(scale=0.0),
        "reference": lambda: MuonShield(reference=0.0),
    }
    for key, build in bad.items():
        with pytest.raises(ConfigurationError, match=rf"objective\.\w*\.?{key}"):
            build()
