import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Independent, Normal

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives import Resolution, weighted_mean, weighted_quantile


def case(truth: torch.Tensor, estimate: torch.Tensor, weight: torch.Tensor | None = None):
    truth, estimate = truth.reshape(1, -1, 1), estimate.reshape(1, -1, 1)
    events = Events.of(truth, torch.zeros(*truth.shape[:2], 1, 1), weight=weight)
    return events, Independent(Normal(estimate, torch.ones_like(estimate)), 1), DesignPoint.of(x=1.0)


def test_rms_of_known_residuals():
    events, belief, phi = case(torch.tensor([10.0, 20.0]), torch.tensor([11.0, 16.0]))
    assert Resolution(width="rms")(events, belief, phi).item() == pytest.approx(math.sqrt((0.01 + 0.04) / 2))
    assert Resolution(relative=False, width="rms")(events, belief, phi).item() == pytest.approx(math.sqrt((1 + 16) / 2))


def test_a_bias_counts_for_rms_and_not_for_the_quantile_width():
    truth = torch.full((5000,), 10.0)
    estimate = 10.0 + 1.0 + torch.randn(5000, generator=torch.Generator().manual_seed(1))
    events, belief, phi = case(truth, estimate)
    # rms: sqrt(0.1² + 0.1²), statistical error 0.1/sqrt(2·5000)·… < 0.0015
    assert Resolution(width="rms")(events, belief, phi).item() == pytest.approx(0.1 * math.sqrt(2), abs=0.004)
    assert Resolution(width="quantile")(events, belief, phi).item() == pytest.approx(0.1, abs=0.006)


def test_spread_is_sigma_over_mean_and_forgets_a_calibration_error():
    truth = torch.full((5000,), 10.0)
    noise = torch.randn(5000, generator=torch.Generator().manual_seed(1))
    scale = torch.tensor(1.3, requires_grad=True)
    events, belief, phi = case(truth, scale * (truth + 0.5 * noise))
    value = Resolution(width="spread")(events, belief, phi)
    assert value.item() == pytest.approx((0.05 * noise).std(correction=0).item(), rel=0.01)
    (slope,) = torch.autograd.grad(value.sum(), scale)
    assert abs(slope.item()) < 1e-6
    shifted = Resolution(relative=False, width="spread")(*case(truth, truth + 3 + 0.5 * noise))
    assert shifted.item() == pytest.approx((0.5 * noise).std(correction=0).item(), rel=1e-4)


def test_without_its_gradient_the_bias_still_counts_in_the_value():
    truth = torch.full((5000,), 10.0)
    noise = torch.randn(5000, generator=torch.Generator().manual_seed(1))

    def derivatives(**arguments):
        """Of rms² with respect to a common shift of the estimates and to the size of their noise."""
        shift, size = torch.tensor(1.0, requires_grad=True), torch.tensor(0.5, requires_grad=True)
        value = Resolution(width="rms", **arguments)(*case(truth, truth + shift + size * noise)).sum()
        return value.item(), *torch.autograd.grad(value, (shift, size))

    full, frozen = derivatives(), derivatives(bias_gradient=False)
    assert frozen[0] == pytest.approx(full[0]) == pytest.approx((0.1**2 + 0.05**2) ** 0.5, rel=0.02)
    assert frozen[1].abs() < 1e-6 and full[1].item() == pytest.approx(0.01 * 1.0 / full[0], rel=0.02)
    assert frozen[2].item() == pytest.approx(0.01 * 0.5 / full[0], rel=0.05)


def test_quantile_width_ignores_tails():
    residual = torch.randn(20_000, generator=torch.Generator().manual_seed(2))
    residual[:20] = 1000.0
    events, belief, phi = case(torch.full((20_000,), 1.0), 1.0 + 0.05 * residual)
    assert Resolution(width="quantile")(events, belief, phi).item() == pytest.approx(0.05, rel=0.03)
    assert Resolution(width="rms")(events, belief, phi).item() > 1.0


def test_bins_count_the_same_whatever_their_population():
    truth = torch.tensor([1.0] * 9 + [100.0])
    estimate = truth * torch.tensor([1.1] * 9 + [1.5])
    events, belief, phi = case(truth, estimate)
    bins = [0.5, 10.0, 50.0, 200.0]  # the middle one is empty
    value = Resolution(width="rms", bins=bins)(events, belief, phi).item()
    assert value == pytest.approx((0.1 + 0.5) / 2, rel=1e-5)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12).filter(lambda w: sum(w) > 0))
def test_integer_weights_are_repeated_events(weights):
    generator = torch.Generator().manual_seed(len(weights))
    truth = 1 + torch.rand(len(weights), generator=generator, dtype=torch.float64)
    estimate = truth + torch.randn(len(weights), generator=generator, dtype=torch.float64)
    repeated = torch.tensor(weights)
    weighted = case(truth, estimate, repeated.double().reshape(1, -1))
    plain = case(truth.repeat_interleave(repeated), estimate.repeat_interleave(repeated))
    assert Resolution(width="rms")(*weighted).item() == pytest.approx(Resolution(width="rms")(*plain).item())


def test_gradient_through_weights_is_the_derivative_of_the_weighted_mean():
    values = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    weight = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda w: weighted_mean(values, w), (weight,))


def test_quantile_of_a_uniform_sample_and_its_gradient():
    values = torch.linspace(0, 1, 2001, dtype=torch.float64)[torch.randperm(2001)].requires_grad_()
    value = weighted_quantile(values, torch.ones_like(values), 0.25, width=0.05)
    (slope,) = torch.autograd.grad(value, values)
    assert value.item() == pytest.approx(0.25, abs=1e-3)
    assert slope.sum().item() == pytest.approx(1.0)  # moving all values moves the quantile
    assert int((slope > 0).sum()) == pytest.approx(0.05 * 2001, abs=2)  # the derivative is spread over the band


def test_exactly_right_estimates_have_a_finite_gradient():
    truth = torch.tensor([1.0, 2.0])
    estimate = truth.clone().requires_grad_()
    events, belief, phi = case(truth, estimate)
    Resolution(width="rms")(events, belief, phi).sum().backward()
    assert estimate.grad is not None and torch.isfinite(estimate.grad).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": "fwhm"}, "objective.width: got 'fwhm', expected rms, spread, quantile"),
        ({"bins": [3.0]}, "objective.bins: .* at least two rising edges"),
        ({"bins": [3.0, 1.0]}, "objective.bins"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Resolution(**arguments)


def test_the_last_bin_is_closed():
    events, belief, phi = case(torch.tensor([1.0, 2.0]), torch.tensor([1.1, 2.6]))
    assert Resolution(width="rms", bins=[1.0, 2.0])(events, belief, phi).item() == pytest.approx(
        (0.1 / 2) ** 0.5, rel=1e-5
    )


def test_no_events_between_the_edges():
    with pytest.raises(ConfigurationError, match="between which there are events"):
        Resolution(bins=[5.0, 6.0])(*case(torch.tensor([1.0]), torch.tensor([1.0])))


def test_no_weight_at_all():
    with pytest.raises(NonFiniteError, match="no event with weight"):
        weighted_mean(torch.ones(3), torch.zeros(3))
