"""The widths of `Resolution` that are not a plain RMS: all are σ for a Gaussian, value and gradient."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives import PosteriorBound, Resolution
from mode_opt.objectives.resolution import WIDTHS, trimmed_spread, wrapped
from mode_opt.reconstruction import log_normal, normal

PHI = DesignPoint.of(x=1.0)


def gaussian(count: int) -> torch.Tensor:
    """Quantiles of a unit Gaussian at equal steps of probability: a sample without noise."""
    return torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)


def measured(objective: Resolution, truth: torch.Tensor, mean: torch.Tensor, spread: torch.Tensor | None = None):
    truth, mean = truth.reshape(1, -1, 1), mean.reshape(1, -1, 1)
    events = Events.of(truth, torch.zeros(*truth.shape[:2], 1, 1, dtype=truth.dtype))
    return objective(events, normal(mean, torch.ones_like(mean) if spread is None else spread.reshape(mean.shape)), PHI)


@given(
    st.sampled_from(WIDTHS),
    st.floats(0.01, 3.0),
    st.floats(2.0, 50.0),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_every_width_is_sigma_for_a_gaussian_and_so_is_its_derivative(width, sigma, truth, relative, dtype):
    """Calibrated belief: mean x + σ z, spread σ. Quantile bands and finite samples are worth 0.1 %."""
    size = torch.tensor(sigma, dtype=dtype, requires_grad=True)
    true = torch.full((20_000,), truth, dtype=dtype)
    objective = Resolution(width=width, relative=relative)
    found = measured(objective, true, true + size * gaussian(20_000).to(dtype), size.expand(20_000))[0]
    (slope,) = torch.autograd.grad(found, size)
    unit = truth if relative else 1.0
    assert found.item() == pytest.approx(sigma / unit, rel=2e-3)
    assert slope.item() == pytest.approx(1 / unit, rel=2e-3)


@given(st.floats(0.3, 0.99), st.floats(-5.0, 5.0), st.floats(0.1, 4.0))
def test_trimmed_spread_of_a_uniform_sample(kept, centre, length):
    """A uniform sample of length L keeps the length kL, of variance (kL)²/12, over that of the trimmed Gaussian."""
    x = centre + length * ((torch.arange(5000, dtype=torch.float64) + 0.5) / 5000 - 0.5)
    z = gaussian(200_000)
    inside = z.abs() < torch.special.ndtri(torch.tensor((1 + kept) / 2, dtype=torch.float64))
    expected = kept * length / math.sqrt(12) / z[inside].square().mean().sqrt().item()
    assert trimmed_spread(x, torch.ones_like(x), kept).item() == pytest.approx(expected, rel=2e-3)


@given(st.lists(st.integers(0, 3), min_size=5, max_size=9).filter(lambda w: sum(w) > 3), st.floats(0.2, 0.95))
def test_integer_weights_are_repeated_events_for_the_trimmed_spread(weights, kept):
    weight = torch.tensor(weights)
    x = torch.randn(len(weights), generator=torch.Generator().manual_seed(sum(weights)), dtype=torch.float64)
    repeated = x.repeat_interleave(weight)
    expected = trimmed_spread(repeated, torch.ones_like(repeated), kept)
    torch.testing.assert_close(trimmed_spread(x, weight.double(), kept), expected)
    positive = (weight.double() + 0.37).requires_grad_()
    torch.autograd.gradcheck(lambda v, w: trimmed_spread(v, w, kept), (x.requires_grad_(), positive))


@pytest.mark.parametrize(("width", "tail"), [("iqr", 0.05), ("trimmed", 0.05), ("quantile", 0.05)])
def test_robust_widths_see_little_of_a_tail(width, tail):
    """Five percent of the events a hundred times as wide: σ becomes 22; of the core 1/0.95 of the events is asked."""
    z = gaussian(20_000)
    wild = torch.randperm(20_000, generator=torch.Generator().manual_seed(1))[: int(tail * 20_000)]
    z[wild] *= 100.0
    truth = torch.full_like(z, 10.0)
    assert measured(Resolution(relative=False, width=width), truth, truth + z).item() < 1.2
    assert measured(Resolution(relative=False, width="rms"), truth, truth + z).item() > 20.0


@given(st.floats(-30.0, 30.0))
def test_angles_are_wrapped_to_the_half_open_interval(angle):
    found = wrapped(torch.tensor(angle, dtype=torch.float64)).item()
    assert -math.pi - 1e-12 < found <= math.pi + 1e-12
    assert math.cos(found) == pytest.approx(math.cos(angle), abs=1e-12)
    assert math.sin(found) == pytest.approx(math.sin(angle), abs=1e-12)
    tiny = torch.tensor(1e-7 * angle, requires_grad=True)
    assert wrapped(tiny) == tiny and torch.autograd.grad(wrapped(tiny), tiny)[0] == 1.0
    assert wrapped(torch.tensor(-math.pi, dtype=torch.float64)).item() == math.pi


@pytest.mark.parametrize("width", WIDTHS)
def test_an_angle_across_the_cut_has_the_width_it_has_elsewhere(width):
    z, size = 0.05 * gaussian(2000), torch.full((2000,), 0.05, dtype=torch.float64)
    objective = Resolution(relative=False, angular=True, width=width)
    values = [measured(objective, torch.full_like(z, at), wrapped(at + z), size).item() for at in (0.0, 3.14)]
    assert values[0] == pytest.approx(values[1], rel=1e-9)
    plain = Resolution(relative=False, width="rms")
    assert measured(plain, torch.full_like(z, 3.14), wrapped(3.14 + z)).item() > 4.0


@pytest.mark.parametrize("relative", [False, True])
def test_likelihood_width_is_the_surprise_and_grows_with_a_wrong_spread(relative):
    z = gaussian(5000)
    truth = 20.0 + 5 * torch.rand(5000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    objective = Resolution(relative=relative, width="likelihood")
    right, small, large = (
        measured(objective, truth, truth * (1 + 0.1 * z), f * 0.1 * truth).item() for f in (1, 0.7, 1.4)
    )
    assert right < small and right < large
    if relative:
        assert right == pytest.approx(0.1, rel=1e-3)
        return
    events = Events.of(truth.reshape(1, -1, 1), torch.zeros(1, 5000, 1, 1, dtype=torch.float64))
    spread = 0.1 * events.truth
    surprise = PosteriorBound()(events, normal(events.truth * (1 + 0.1 * z[:, None]), spread), PHI).item()
    assert right == pytest.approx(math.exp(surprise) / math.sqrt(2 * math.pi * math.e))


def test_likelihood_and_predicted_of_one_of_several_features():
    truth = torch.tensor([[[2.0, 50.0], [4.0, 70.0]]], dtype=torch.float64)
    events = Events.of(truth, torch.zeros(1, 2, 1, 1, dtype=torch.float64))
    belief = normal(truth, torch.tensor([1.0, 3.0], dtype=torch.float64).expand_as(truth))
    for width, expected in (
        ("predicted", 3.0),
        ("likelihood", 3.0 / math.sqrt(math.e)),
    ):  # no residual: half a nat less
        objective = Resolution(target=1, relative=False, width=width)
        assert objective(events, belief, PHI).item() == pytest.approx(expected)
    joint = torch.distributions.MultivariateNormal(truth, torch.eye(2, dtype=torch.float64))
    with pytest.raises(ConfigurationError, match="independent features"):
        Resolution(width="likelihood")(events, joint, PHI)


def test_predicted_width_of_a_log_normal_belief():
    truth = torch.full((1, 10, 1), 3.0, dtype=torch.float64)
    belief = log_normal(truth.log(), torch.full_like(truth, 0.2))
    spread = 3.0 * math.tanh(0.2 / 3.0)
    events = Events.of(truth, torch.zeros(1, 10, 1, 1, dtype=torch.float64))
    expected = math.sqrt((math.exp(spread**2) - 1) * math.exp(spread**2))
    assert Resolution(width="predicted")(events, belief, PHI).item() == pytest.approx(expected)


def test_bins_of_another_feature_and_their_values():
    """Feature 0 is measured, 10 % off below and 30 % off above feature 1 = 5; nothing is between 6 and 7."""
    truth = torch.tensor([[[1.0, 1.0], [1.0, 2.0], [1.0, 5.5], [1.0, 8.0]]])
    events = Events.of(truth, torch.zeros(1, 4, 1, 1))
    belief = normal(truth * torch.tensor([[1.1], [1.1], [1.3], [0.5]]), torch.ones_like(truth))
    objective = Resolution(width="rms", bins=[0.0, 5.0, 6.0, 7.0], binned_by=1)
    found = objective.per_bin(events, belief)[:, 0]
    torch.testing.assert_close(found, torch.tensor([0.1, 0.3, math.nan]), equal_nan=True)
    assert objective(events, belief, PHI).item() == pytest.approx(0.2)


@pytest.mark.parametrize("width", WIDTHS)
def test_one_event_and_equal_weights_are_finite(width):
    mean = torch.tensor([11.0], requires_grad=True)
    found = measured(Resolution(width=width), torch.tensor([10.0]), mean, 0.1 * mean)
    (slope,) = torch.autograd.grad(found.sum(), mean, allow_unused=True, materialize_grads=True)
    assert torch.isfinite(found).all() and torch.isfinite(slope).all()


@pytest.mark.parametrize(
    ("arguments", "key"),
    [({"angular": True}, "relative"), ({"band": 0.0}, "band"), ({"kept": 1.0}, "kept"), ({"width": "std"}, "width")],
)
def test_bad_settings_are_refused(arguments, key):
    with pytest.raises(ConfigurationError, match=rf"objective\.{key}"):
        Resolution(**arguments)
