"""The significance against published numbers, its limits, and the objective on top of it."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Independent

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.experiment import jackknife
from mode_opt.objectives import Significance, discovery_significance

POINT = DesignPoint.of(x=0.0)
BELIEF = Independent(Bernoulli(logits=torch.zeros(1, 1, 1)), 1)


def numbers(*values):
    return [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values]


def with_slopes(*values):
    inputs = numbers(*values)
    z = discovery_significance(*inputs)
    return [z.item(), *(slope.item() for slope in torch.autograd.grad(z, inputs))]


def test_reference_values_and_derivatives():
    """Computed independently: objectives_and_ecosystem.md 1.1, gradients.md 4.9."""
    assert with_slopes(10.0, 100.0) == pytest.approx([0.983991644757, 0.096860761280, -0.004766117904], abs=1e-11)
    expected = [0.690196063297, 0.067401160495, -0.001536248554, -0.035057743586]
    assert with_slopes(10.0, 100.0, 10.0) == pytest.approx(expected, abs=1e-11)
    assert with_slopes(7.0, 20.0)[1:] == pytest.approx([0.202071, -0.0335964], abs=1e-6)


@pytest.mark.parametrize(
    ("s", "b", "d", "z", "slope_s", "slope_d"),
    [
        ((5, 10), (50, 60), (5, 12), 0.876070322, (0.0713645, 0.0489973), (-0.0248158, -0.0305408)),
        ((12, 11), (50, 52), (3, 7), 1.823696621, (0.0982375, 0.0516506), (-0.0664333, -0.0426356)),
    ],
)
def test_two_bins_agree_with_pyhf(s, b, d, z, slope_s, slope_d):
    """pyhf 0.7.6, uncorrelated background: the squares of the bins add."""
    inputs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (s, b, d)]
    total = discovery_significance(*inputs).square().sum().sqrt()
    slopes = torch.autograd.grad(total, inputs)
    assert total.item() == pytest.approx(z, abs=1e-9)
    assert slopes[0].tolist() == pytest.approx(slope_s, abs=1e-7)
    assert slopes[2].tolist() == pytest.approx(slope_d, abs=1e-7)


@given(st.floats(0.1, 1e3), st.floats(0.1, 1e4), st.floats(0.01, 2.0))
def test_it_is_the_formula_as_published(s, b, relative):
    d2 = (relative * b) ** 2
    first = (s + b) * math.log((s + b) * (b + d2) / (b * b + (s + b) * d2))
    square = 2 * (first - b * b / d2 * math.log1p(d2 * s / (b * (b + d2))))
    found = discovery_significance(*numbers(s, b, relative * b)).item()
    # The published form subtracts two terms of order s.
    assert found**2 == pytest.approx(square, rel=1e-9, abs=1e-11 * (s + b) * (1 + 1 / relative**2))


@given(st.floats(1e-8, 1e-3), st.floats(0.1, 1e4), st.floats(0.0, 1.0))
def test_a_small_signal_has_the_gaussian_limit(ratio, b, relative):
    s = ratio * b
    expected = s / math.sqrt(b + (relative * b) ** 2)
    assert discovery_significance(*numbers(s, b, relative * b)).item() == pytest.approx(expected, rel=ratio)


@settings(deadline=None)
@given(st.floats(-3.0, 2.0), st.floats(-1.0, 3.0), st.floats(0.0, 0.5))
def test_derivatives_by_gradcheck(log_ratio, log_background, relative):
    b = 10.0**log_background
    inputs = numbers(b * 10.0**log_ratio, b, (relative + 0.01) * b)
    assert torch.autograd.gradcheck(discovery_significance, inputs, eps=1e-6 * b, atol=1e-7, rtol=1e-4)


def test_nothing_jumps_where_the_series_takes_over():
    edge = 100 * torch.tensor([0.02 - 1e-9, 0.02 + 1e-9], dtype=torch.float64)
    edge.requires_grad_()
    z = discovery_significance(edge, torch.full_like(edge, 100.0), 10.0)
    (slope,) = torch.autograd.grad(z.sum(), edge)
    assert slope[0].item() == pytest.approx(slope[1].item(), rel=1e-9)
    assert (z[1] - z[0]).item() == pytest.approx(2e-7 * slope[0].item(), rel=1e-5)


def test_no_signal_has_a_finite_slope_in_both_precisions():
    for dtype in (torch.float32, torch.float64):
        s = torch.zeros((), dtype=dtype, requires_grad=True)
        z = discovery_significance(s, torch.tensor(100.0, dtype=dtype), 10.0)
        (slope,) = torch.autograd.grad(z, s)
        assert z.dtype == dtype and z.item() == 0 and slope.item() == pytest.approx(200**-0.5)


def test_uncertainty_only_hurts_and_a_background_of_zero_is_refused():
    errors = torch.tensor([0.0, 1e-6, 1.0, 10.0, 1e4], dtype=torch.float64)
    z = discovery_significance(torch.full_like(errors, 10.0), torch.full_like(errors, 100.0), errors)
    assert (z.diff() <= 0).all() and z[1].item() == pytest.approx(z[0].item(), rel=1e-12) and 0 < z[4] < 1e-2
    with pytest.raises(NonFiniteError, match=r"expected background is 0\.0"):
        discovery_significance(torch.tensor(1.0), torch.tensor(0.0))


def sample(photons=40, electrons=60, kept_photons=10, kept_electrons=3, weight=None):
    """Events of one hit whose only feature is the decision."""
    truth = torch.cat([torch.ones(photons), torch.zeros(electrons)])
    decided = torch.zeros(photons + electrons)
    decided[:kept_photons] = 1
    decided[photons : photons + kept_electrons] = 1
    return Events.of(truth.reshape(1, -1, 1), decided.reshape(1, -1, 1, 1), weight=weight)


def test_yields_are_rates_times_efficiencies_and_weights_count():
    objective = Significance(100.0, 1000.0, 0.1)
    s, b, floor = objective.yields(sample())
    assert (s.item(), b.item(), floor.item()) == pytest.approx((25.0, 50.0, 1000 / 60))
    expected = discovery_significance(torch.tensor(25.0), torch.tensor(50.0), 5.0)
    assert objective(sample(), BELIEF, POINT).item() == pytest.approx(-expected.item())
    weight = torch.ones(1, 100)
    weight[0, :10], weight[0, 40:43] = 3.0, 0.5
    s, b, floor = objective.yields(sample(weight=weight))
    assert s.item() == pytest.approx(100 * 30 / 60) and b.item() == pytest.approx(1000 * 1.5 / 58.5)
    assert floor.item() == pytest.approx(1000 * (57 + 0.75) / 58.5**2)
    rescaled = objective.yields(sample(weight=7 * weight))
    torch.testing.assert_close(torch.stack(rescaled), torch.stack([s, b, floor]))


def test_soft_decisions_and_no_decision_at_all():
    events = sample()
    half = replace(events, hits=0.5 * torch.ones_like(events.hits))
    s, b, _ = Significance(100.0, 1000.0).yields(half)
    assert (s.item(), b.item()) == pytest.approx((50.0, 500.0))
    s, b, _ = Significance(100.0, 1000.0, selected=None).yields(events)
    assert (s.item(), b.item()) == pytest.approx((100.0, 1000.0))


@pytest.mark.parametrize("kept", [(0, 0), (0, 3), (10, 0), (40, 60), (40, 0)])
def test_value_and_gradient_are_finite_whatever_survives(kept):
    events = sample(40, 60, *kept)
    hits, weight = events.hits.clone().requires_grad_(), events.weight.clone().requires_grad_()
    value = Significance()(replace(events, hits=hits, weight=weight), BELIEF, POINT)
    slopes = torch.autograd.grad(value.sum(), (hits, weight))
    assert torch.isfinite(value).all() and all(torch.isfinite(slope).all() for slope in slopes)
    assert value.item() == 0 if kept[0] == 0 else value.item() < 0
    assert (slopes[0][0, :40] < 0).all()  # one more photon is always welcome, the first one included
    if kept[1] > 1:
        assert (slopes[0][0, 40:] >= 0).all()


def test_below_the_floor_nothing_is_gained_by_removing_background():
    one, none = (Significance()(sample(kept_electrons=k), BELIEF, POINT).item() for k in (1, 0))
    assert one == pytest.approx(none)
    lower = Significance(floor=1.0)(sample(kept_electrons=0), BELIEF, POINT).item()
    expected = discovery_significance(torch.tensor(25.0), torch.tensor(1.0), 0.1)
    assert lower == pytest.approx(-expected.item()) and lower < none


def test_the_jackknife_agrees_with_binomial_errors():
    """Yields do not depend on how many events a part of the sample happens to hold."""
    generator = torch.Generator().manual_seed(4)
    truth = (torch.rand(8000, generator=generator) < 0.3).float()
    decided = (torch.rand(8000, generator=generator) < torch.where(truth > 0.5, 0.5, 0.1)).float()
    events = Events.of(truth.reshape(1, -1, 1), decided.reshape(1, -1, 1, 1))
    objective = Significance()
    found = jackknife(objective, events, Independent(Bernoulli(logits=torch.zeros(1, 8000, 1)), 1), POINT, 400)
    inputs = numbers(*(x.item() for x in objective.yields(events)[:2]))
    slopes = torch.autograd.grad(discovery_significance(*inputs, 0.1 * inputs[1]), inputs)
    counts = (float((truth > 0.5).sum()), float((truth < 0.5).sum()))
    spread = [rate**2 * e * (1 - e) / n for rate, e, n in zip((100, 1000), (0.5, 0.1), counts, strict=True)]
    expected = sum(slope.item() ** 2 * v for slope, v in zip(slopes, spread, strict=True)) ** 0.5
    assert found.estimate().standard_error == pytest.approx(expected, rel=0.15)  # 400 groups: 3.5 %, and efficiencies


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"signal": 0.0}, "objective.signal: got 0.0"),
        ({"background": -1.0}, "objective.background"),
        ({"background": float("nan")}, "objective.background"),
        ({"floor": 0.0}, "objective.floor"),
        ({"uncertainty": -0.1}, "objective.uncertainty"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Significance(**arguments)


def test_a_class_without_events_is_an_error():
    with pytest.raises(NonFiniteError, match="the signal has no event with weight"):
        Significance()(sample(photons=0, kept_photons=0), BELIEF, POINT)
    with pytest.raises(NonFiniteError, match="the background has no event with weight"):
        Significance()(sample(electrons=0, kept_electrons=0), BELIEF, POINT)
