"""Risk over scenarios: the conditional value at risk against its definition, and what each scenario changes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives import (
    DeadCells,
    DesignCost,
    Interval,
    Miscalibration,
    MistakenDesign,
    Noise,
    Nominal,
    Rate,
    Resolution,
    Robust,
    Spectrum,
    WeightedSum,
    conditional_value_at_risk,
    jackknife,
)
from mode_opt.reconstruction import normal

PHI = DesignPoint.of(x=2.0, y=3.0)
VALUES = st.lists(st.floats(-5.0, 5.0), min_size=1, max_size=7)


def events(designs: int = 1) -> Events:
    hits = torch.arange(1.0, 13.0, dtype=torch.float64).reshape(1, 3, 2, 2)
    truth = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64).reshape(1, 3, 1)
    return Events.of(truth, hits, mask=torch.tensor([[[True, True], [True, False], [True, True]]])).expand(designs)


def belief(found: Events):
    """Reads the first hit as the truth."""
    return normal(found.hits[:, :, 0, :1], torch.ones_like(found.truth))


@given(VALUES, st.floats(0.0, 0.95), st.data())
def test_the_sharp_value_is_the_minimum_of_rockafellar_and_uryasev(values, level, data):
    """min over t of t + Σ p (J − t)₊/(1 − α) is reached at one of the J."""
    j = torch.tensor(values, dtype=torch.float64)
    p = torch.tensor([data.draw(st.floats(0.1, 1.0)) for _ in values], dtype=torch.float64)
    p = p / p.sum()
    expected = min((t + (p * torch.relu(j - t)).sum() / (1 - level)).item() for t in j)
    found = conditional_value_at_risk(j[:, None], level, p)
    assert found.item() == pytest.approx(expected, abs=1e-9)
    assert (p * j).sum().item() - 1e-9 <= found.item() <= j.max().item() + 1e-9


@given(VALUES, st.floats(0.0, 0.95), st.floats(0.01, 2.0))
def test_the_smooth_value_is_the_minimum_over_t_and_its_derivative_exact(values, level, tau):
    j = torch.tensor(values, dtype=torch.float64).unsqueeze(1).requires_grad_()
    found = conditional_value_at_risk(j, level, smoothing=tau)
    torch.autograd.gradcheck(lambda v: conditional_value_at_risk(v, level, smoothing=tau), (j,), atol=1e-6)
    (share,) = torch.autograd.grad(found, j)
    assert share.sum().item() == pytest.approx(1.0) and (share >= 0).all()
    sharp = conditional_value_at_risk(j, level).item()
    assert sharp - 1e-9 <= found.item() <= sharp + tau * math.log(2) / (1 - level) + 1e-9
    if level > 0:
        t = torch.linspace(-40, 40, 4001, dtype=torch.float64)
        hinge = tau * torch.nn.functional.softplus((j.detach() - t) / tau, threshold=50.0)
        assert found.item() <= (t + hinge.mean(0) / (1 - level)).min().item() + 1e-9


def test_known_values_at_risk():
    j = torch.tensor([[1.0], [2.0], [3.0], [10.0]], dtype=torch.float64, requires_grad=True)
    assert conditional_value_at_risk(j, 0.0).item() == 4.0
    assert conditional_value_at_risk(j, 0.5).item() == 6.5
    assert conditional_value_at_risk(j, 0.6).item() == pytest.approx((0.25 * 10 + 0.15 * 3) / 0.4)
    assert conditional_value_at_risk(j, 0.99).item() == pytest.approx(10.0)
    (share,) = torch.autograd.grad(conditional_value_at_risk(j, 0.6).sum(), j)
    assert share[:, 0].tolist() == pytest.approx([0, 0, 0.375, 0.625])


def test_what_scenarios_do_to_hits():
    start = events()
    gained, _ = Miscalibration(1, factor=2.0, shift=1.0, cells=[1])(start, PHI)
    assert gained.hits[0, :, 1, 1].tolist() == [9.0, 8.0, 25.0]  # the padded hit stays
    assert torch.equal(gained.hits[..., 0], start.hits[..., 0]) and torch.equal(
        gained.hits[:, :, 0], start.hits[:, :, 0]
    )
    dead, _ = DeadCells([0])(start, PHI)
    assert not dead.mask[:, :, 0].any() and dead.hits[:, :, 0].eq(0).all()
    assert torch.equal(dead.hits[:, :, 1], start.hits[:, :, 1])
    noisy = [Noise(0, 0.5, seed=3)(events(b), PHI)[0].hits for b in (1, 2)]
    assert torch.equal(noisy[1][0], noisy[0][0]) and torch.equal(noisy[1][1], noisy[0][0])  # common to all designs
    change = noisy[0] - start.hits
    assert change[..., 1].eq(0).all() and change[0, 1, 1].eq(0).all() and change[0, 0, 0, 0] != 0
    many = Events.of(torch.zeros(1, 20_000, 1), torch.zeros(1, 20_000, 1, 1))
    assert Noise(0, 0.5)(many, PHI)[0].hits.std().item() == pytest.approx(0.5, abs=0.01)


def test_another_spectrum_is_linear_between_its_points():
    spectrum = Spectrum(0, at=[1.0, 3.0, 5.0], factor=[1.0, 2.0, 0.0])
    found = spectrum.ratio(torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 9.0]))
    assert found.tolist() == pytest.approx([1.0, 1.0, 1.5, 2.0, 1.0, 0.0])
    changed, _ = spectrum(events(), PHI)
    assert changed.weight[0].tolist() == pytest.approx([1.0, 1.5, 1.0])


def test_a_mistaken_design_changes_what_is_derived_from_it():
    design = Design(
        {"x": {"start": 2.0, "bounds": [1.0, 4.0]}, "y": {"start": 3.0, "bounds": [1.0, 4.0]}},
        derived={"area": {"expression": "x * y"}},
    )
    dear = Robust(DesignCost("area"), {"nominal": Nominal(), "dear": MistakenDesign("x", factor=1.5)})
    phi = design()
    found = dear(events(), belief(events()), phi)
    (slope,) = torch.autograd.grad(found.sum(), phi.values)
    assert found.item() == pytest.approx((6 + 9) / 2, rel=1e-5)
    assert slope[0].tolist() == pytest.approx([3.75, 2.5], rel=1e-5)
    with pytest.raises(ConfigurationError, match=r"objective\.scenarios\.parameter.*one of x, y"):
        Robust(DesignCost("x"), {"wrong": MistakenDesign("z")})(events(), belief(events()), PHI)


def reconstruct(found: Events, phi: DesignPoint):
    return belief(found)


@given(st.floats(0.5, 2.0), st.floats(0.0, 0.9), st.booleans())
def test_a_risk_of_a_rate_over_gains_is_that_of_its_values(gain, level, double):
    """R is linear in the gain: 1·R, gain·R; with weights doubled, too."""
    found = events().reweighted(torch.full((1, 3), 2.0 if double else 1.0))
    rate = Rate(value=0)
    plain = rate(found, belief(found), PHI)
    robust = Robust(rate, {"nominal": Nominal(), "gain": Miscalibration(factor=gain)}, "cvar", level)
    expected = conditional_value_at_risk(torch.stack([plain, gain * plain]), level)
    torch.testing.assert_close(robust(found, belief(found), PHI), expected)


def test_a_reconstruction_sees_the_scenario_also_inside_a_sum_and_in_the_jackknife():
    """Reads 1, 5, 9 for 1, 2, 4; after a gain of 2 it reads twice as much."""
    found, width = events(), Resolution(relative=False, width="rms")
    robust = Robust(width, {"nominal": Nominal(), "gain": Miscalibration(0, factor=2.0)})
    truth, read = found.truth[0, :, 0], found.hits[0, :, 0, 0]
    expected = [((f * read - truth) ** 2).mean().sqrt().item() for f in (1, 2)]
    whole = WeightedSum({"robust": robust, "cost": DesignCost("x")}, {"robust": 1.0, "cost": 1.0})
    value = whole.judged(found, belief(found), PHI, reconstruct)
    assert value.item() == pytest.approx(sum(expected) / 2 + 2.0)
    assert jackknife(whole, found, belief(found), PHI, 3, reconstruct).value.item() == pytest.approx(value.item())
    values = robust.values(found, belief(found), PHI, reconstruct)
    assert values[:, 0].tolist() == pytest.approx(expected)
    with pytest.raises(ConfigurationError, match="with a reconstruction"):
        robust(found, belief(found), PHI)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_gradients_through_hits_and_weights_agree_with_central_differences(smoothing):
    start = events()
    scenarios = {
        "nominal": Nominal(),
        "gain": Miscalibration(0, factor=1.3, shift=0.4),
        "noise": Noise(0, 0.2),
        "dead": DeadCells([1]),
        "softer": Spectrum(0, [1.0, 4.0], [2.0, 0.5]),
    }
    robust = Robust(Resolution(relative=False, width="rms"), scenarios, "cvar", 0.5, smoothing=smoothing)

    def value(hits, weight):
        found = Events(start.truth, hits, start.mask, weight)
        return robust.judged(found, belief(found), PHI, reconstruct)

    inputs = (start.hits.clone().requires_grad_(), torch.tensor([[1.0, 0.5, 2.0]]).double().requires_grad_())
    assert torch.autograd.gradcheck(value, inputs)


def test_additive_only_where_one_event_has_a_value():
    gain = {"gain": Miscalibration()}
    assert Robust(Rate(), gain).additive
    assert not Robust(Rate(), gain, "cvar").additive
    assert not Robust(Resolution(), gain).additive
    assert not Robust(Rate(), {"other": Spectrum()}).additive and not Robust(Rate(), {"noise": Noise()}).additive


def test_bad_settings_are_refused():
    one = {"nominal": Nominal()}
    bad = {
        "scenarios": lambda: Robust(Rate(), {}),
        "risk": lambda: Robust(Rate(), one, risk="worst"),
        "level": lambda: Robust(Rate(), one, "cvar", 1.0),
        "smoothing": lambda: Robust(Rate(), one, smoothing=-1.0),
        "probabilities": lambda: Robust(Rate(), one, probabilities={"other": 1.0}),
        "scenarios.sigma": lambda: Noise(sigma=-1.0),
        "scenarios.at": lambda: Spectrum(0, [2.0, 1.0], [1.0, 1.0]),
        "scenarios.factor": lambda: Spectrum(0, [1.0], [-1.0]),
        "scenarios.cells": lambda: DeadCells([5])(events(), PHI),
    }
    for key, build in bad.items():
        with pytest.raises(ConfigurationError, match=rf"objective\.{key}"):
            build()


def test_probabilities_are_scaled_and_soft_intervals_see_misalignment():
    """A plane moved by 1 mm: the events between 2 and 3 no longer pass; three times as likely as not."""
    hits = torch.tensor([[[[1.5]], [[2.5]], [[3.5]]]])
    found = Events.of(torch.ones(1, 3, 1), hits)
    robust = Robust(
        Rate([Interval(0, 2.0)], primaries=3.0),
        {"nominal": Nominal(), "moved": Miscalibration(0, shift=-1.0)},
        probabilities={"nominal": 1.0, "moved": 3.0},
    )
    assert robust(found, belief(found), PHI).item() == pytest.approx((2 + 3 * 1) / 4)
