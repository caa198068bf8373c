"""Digitisation: closed forms of mean and variance, pathwise and score-function derivatives, limits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from statistical import assert_mean
from torch import Tensor
from torch.distributions import Normal

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, ShapeError
from mode_opt.events import Events
from mode_opt.simulation import Promise
from mode_opt.simulation.digitisation import Digitisation, StochasticDigitisation


def deposits(energy: float, count: int, cells: int = 1, dtype: torch.dtype = torch.float64) -> Events:
    """Events whose cells all hold the same energy."""
    return Events.of(torch.zeros(1, count, 1, dtype=dtype), torch.full((1, count, cells, 1), energy, dtype=dtype))


def design(**values: float) -> DesignPoint:
    """Parameters whose values carry derivatives, in double precision."""
    phi = DesignPoint.of(**values) if values else DesignPoint.of(unused=1.0)
    return DesignPoint(phi.values.double().requires_grad_(), phi.layout)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def digitised(part: Digitisation | StochasticDigitisation, events: Events, **values: float) -> Tensor:
    """Output of every cell, flat."""
    return part(design(**values), events, seeded()).hits.detach().flatten()


def assert_moments(sample: Tensor, mean: float, variance: float) -> None:
    """Both within 4 sigma."""
    assert_mean(sample, mean)
    assert_mean((sample - mean) ** 2, variance)


def test_switched_off_it_is_the_identity():
    events = Events.of(torch.zeros(1, 5, 1), 3 * torch.rand(1, 5, 4, 2, generator=seeded()))
    assert torch.equal(Digitisation()(design(), events, seeded()).hits, events.hits)
    nearly = Digitisation(1e12, 1e-7, 1.0, 1e-6, 1e-7, 1e6)(design(), events, seeded()).hits
    torch.testing.assert_close(nearly, events.hits, atol=1e-4, rtol=0)
    counted = StochasticDigitisation(1e6)(design(), events, seeded())
    torch.testing.assert_close(counted.hits[..., 0], events.hits[..., 0], atol=0.01, rtol=0)
    assert torch.equal(counted.hits[..., 1], events.hits[..., 1])


def test_photostatistics_noise_and_gain_have_their_variances():
    """Var = gain^2 (e / N + noise^2)."""
    sample = digitised(Digitisation(20.0, 0.3, 2.5), deposits(4.0, 200_000))
    assert_moments(sample, 10.0, 2.5**2 * (4.0 / 20 + 0.09))


def test_few_photoelectrons_are_biased_as_stated():
    """One expected photoelectron: + phi(1) - Phi(-1) = 8.3 % (and the 0.05 % of the softened root)."""
    sample = digitised(Digitisation(1.0), deposits(1.0, 400_000))
    normal = Normal(torch.tensor(0.0), torch.tensor(1.0))
    excess = float(normal.log_prob(torch.tensor(1.0)).exp() - normal.cdf(torch.tensor(-1.0)))
    assert excess == pytest.approx(0.083, abs=5e-4)
    assert float(sample.mean()) == pytest.approx(1 + excess, abs=4 * float(sample.std()) / 400_000**0.5 + 5e-4)


def test_saturation_is_linear_for_small_signals_and_never_exceeds_its_level():
    low = digitised(Digitisation(saturation=50.0), deposits(1e-3, 1))
    high = digitised(Digitisation(saturation=50.0), deposits(1e4, 1))
    assert float(low) == pytest.approx(1e-3, rel=1e-4) and float(high) == pytest.approx(50.0)
    assert float(digitised(Digitisation(saturation=50.0), deposits(50.0, 1))) == pytest.approx(50 * (1 - math.exp(-1)))


def test_the_smooth_gate_keeps_half_at_the_threshold_and_has_the_stated_bias():
    gate = Digitisation(threshold=2.0, threshold_width=0.2)
    assert float(digitised(gate, deposits(2.0, 1))) == pytest.approx(1.0)
    assert float(digitised(gate, deposits(1.2, 1))) == pytest.approx(1.2 * 0.01799, rel=1e-3)
    x = torch.linspace(0, 4, 400_001, dtype=torch.double)
    flat = Events.of(torch.zeros(1, len(x), 1, dtype=torch.double), x.reshape(1, -1, 1, 1))
    bias = (digitised(gate, flat) - x * (x > 2)).mean() * 4
    assert float(bias) == pytest.approx(-(math.pi**2) / 6 * 0.2**2, rel=0.01)


ALL = {"light": 8.0, "noise": 0.2, "gain": 1.5, "cut": 2.0, "width": 0.3, "level": 40.0}


@pytest.mark.parametrize("name", ALL)
def test_derivatives_agree_with_central_differences(name):
    """Common random numbers; every constant is a design parameter; a random weight for every cell."""
    part = Digitisation("light", "noise", "gain", "cut", "width", "level")
    energy = 5 * torch.rand(1, 200, 6, 1, generator=seeded(1), dtype=torch.double)
    events = Events.of(torch.zeros(1, 200, 1, dtype=torch.double), energy)
    weight = torch.randn(6, 1, generator=seeded(2), dtype=torch.double)
    phi = design(**ALL)
    column = phi.layout.columns[name].start

    def response(values: Tensor) -> Tensor:
        return (part(DesignPoint(values, phi.layout), events, seeded(3)).hits * weight).sum()

    (slope,) = torch.autograd.grad(response(phi.values), phi.values)
    step = torch.zeros_like(phi.values)
    step[0, column] = 1e-5
    with torch.no_grad():
        central = (response(phi.values + step) - response(phi.values - step)) / 2e-5
    assert float(slope[0, column]) == pytest.approx(float(central), rel=1e-5, abs=1e-7)


def test_an_empty_cell_has_a_finite_derivative():
    energy = torch.zeros(1, 50, 4, 1, requires_grad=True)
    events = Events.of(torch.zeros(1, 50, 1), energy)
    hits = Digitisation(10.0, 0.1, 1.0, 0.5)(design(), events, seeded()).hits
    assert bool(torch.isfinite(torch.autograd.grad(hits.sum(), energy)[0]).all())
    counted = StochasticDigitisation(10.0, 0.1, threshold=0.5)(design(), events, seeded())
    assert counted.log_probability is not None
    assert bool(torch.isfinite(torch.autograd.grad(counted.log_probability.sum(), energy)[0]).all())


@pytest.mark.parametrize("part", [Digitisation(5.0, 0.2), StochasticDigitisation(5.0, 0.2, dark_counts=3.0)])
def test_padded_hits_stay_zero_and_other_features_pass(part):
    hits = torch.rand(1, 8, 5, 3, generator=seeded())
    mask = torch.arange(5).expand(1, 8, 5) < 3
    events = Events.of(torch.zeros(1, 8, 1), hits * mask.unsqueeze(-1), mask)
    found = part(design(), events, seeded())
    assert float(found.hits[..., 3:, :].abs().sum()) == 0 and torch.equal(found.mask, mask)
    assert torch.equal(found.hits[..., :3, 1:], hits[..., :3, 1:])


def test_a_constant_can_be_one_value_per_cell_and_per_design():
    phi = DesignPoint.of(gain=torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    found = Digitisation(gain="gain")(phi, deposits(2.0, 4, cells=3), seeded()).hits
    assert torch.equal(found[:, 0, :, 0], 2 * phi.values.double())


def test_poisson_counts_have_their_mean_variance_and_third_moment():
    """Mean r, variance r, third central moment r (the Gaussian has 0); r = N e + d, in photoelectrons."""
    count = digitised(StochasticDigitisation(2.0, gain=2.0, dark_counts=1.0), deposits(1.5, 400_000))
    assert_moments(count, 4.0, 4.0)
    assert_mean((count - 4) ** 3, 4.0)


def scored(part: StochasticDigitisation, events: Events, phi: DesignPoint, value) -> tuple[Tensor, Tensor]:
    """Value of each event (``n``) and its share in the derivative of the mean (``n x d``)."""
    per_event = phi.values.expand(events.count, -1).clone().requires_grad_()
    each = Events(*(getattr(events, n).transpose(0, 1) for n in ("truth", "hits", "mask", "weight")))
    found = part(DesignPoint(per_event, phi.layout), each, seeded(7))
    assert found.log_probability is not None
    result = value(found)[:, 0]
    total = (result.detach() * found.log_probability[:, 0] + result).sum()
    return result.detach(), torch.autograd.grad(total, per_event)[0]


def test_the_mean_score_is_zero():
    """E[d log p] = 0 within 4 sigma, for light, threshold, gain and noise at once."""
    part = StochasticDigitisation("light", "noise", "gain", "cut")
    phi = design(light=2.0, noise=0.4, gain=1.3, cut=1.5)
    _, score = scored(part, deposits(1.2, 100_000, cells=2), phi, lambda found: torch.ones_like(found.weight))
    assert bool((score.std(0) > 0).all())
    assert_mean(score, 0.0)


def test_score_function_gradients_of_counts_have_their_closed_forms():
    """k ~ Poisson(N e): d E[k]/dN = e, d E[k^2]/dN = e (2 N e + 1); within 4 sigma."""
    part, phi = StochasticDigitisation("light", gain="light"), design(light=2.0)

    def count(found: Events) -> Tensor:
        return found.hits.sum((2, 3)).detach()  # gain = N: the output is the count itself

    _, slope = scored(part, deposits(1.5, 400_000), phi, count)
    assert_mean(slope[:, 0], 1.5)
    _, slope = scored(part, deposits(1.5, 400_000), phi, lambda found: count(found) ** 2)
    assert_mean(slope[:, 0], 1.5 * (2 * 3.0 + 1))


def expected_output(values: Tensor, energy: float) -> tuple[Tensor, Tensor]:
    """Mean number of kept cells and mean output: sums over counts of Normal integrals above the threshold."""
    light, noise, gain, cut = values
    count = torch.arange(60, dtype=torch.double)
    rate = light * energy
    weight = (count * rate.log() - rate - (count + 1).lgamma()).exp()
    signal, spread = gain * count / light, gain * noise
    u = (signal - cut) / spread
    kept, density = torch.special.ndtr(u), torch.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    return (weight * kept).sum(), (weight * (signal * kept + spread * density)).sum()


@pytest.mark.parametrize("which", [0, 1], ids=["kept", "output"])
def test_zero_suppression_has_the_means_and_derivatives_of_noise_and_a_hard_cut(which):
    """Values and all four derivatives within 4 sigma of the closed form."""
    part = StochasticDigitisation("light", "noise", "gain", "cut")
    phi = design(light=2.0, noise=0.4, gain=1.3, cut=1.5)
    exact = expected_output(phi.values[0], energy=1.2)[which]
    (slopes,) = torch.autograd.grad(exact, phi.values)

    def value(found: Events) -> Tensor:
        return found.hits.sum((2, 3)) if which else found.mask.sum(2).double()

    result, slope = scored(part, deposits(1.2, 300_000), phi, value)
    assert_mean(result, float(exact.detach()))
    assert_mean(slope, slopes[0])


def test_lost_cells_are_masked_and_kept_ones_are_above_the_threshold():
    found = StochasticDigitisation(3.0, 0.3, threshold=1.0)(design(), deposits(1.0, 500, cells=3), seeded())
    assert 0.1 < float(found.mask.double().mean()) < 0.9
    assert (
        float(found.hits[..., 0][found.mask].min()) >= 1.0 and float(found.hits[..., 0][~found.mask].abs().sum()) == 0
    )


def test_the_derivative_of_the_energies_passes_through_the_score():
    """A differentiable shower before the counter: d E[k^2]/de = N (2 N e + 1), within 4 sigma."""
    energy = torch.full((1, 300_000, 1, 1), 1.5, dtype=torch.double, requires_grad=True)
    found = StochasticDigitisation(2.0)(design(), Events.of(torch.zeros(1, 300_000, 1).double(), energy), seeded())
    assert found.log_probability is not None
    square = (2 * found.hits.detach()).square().sum((2, 3))
    slope = torch.autograd.grad((square * found.log_probability).sum(), energy)[0].flatten()
    assert_mean(slope, 2 * (2 * 3.0 + 1))


def test_log_probabilities_add_to_those_recorded_before():
    before = torch.randn(1, 6, generator=seeded()).double()
    events = deposits(1.0, 6, cells=2)
    plain = StochasticDigitisation(2.0)(design(), events, seeded()).log_probability
    added = StochasticDigitisation(2.0)(design(), events.with_choices(before), seeded()).log_probability
    assert plain is not None and added is not None
    torch.testing.assert_close(added, plain + before)


def test_the_types_are_the_promises():
    assert Digitisation().promise == Promise.DIFFERENTIABLE
    assert StochasticDigitisation(1.0).promise == Promise.STOCHASTIC


@settings(max_examples=50, deadline=None)
@given(
    light=st.floats(0.01, 1e6),
    noise=st.floats(0.0, 10.0),
    gain=st.floats(1e-3, 1e3),
    cut=st.floats(0.0, 1e3),
    energy=st.floats(0.0, 1e4),
)
def test_any_constants_give_finite_output_and_derivatives(light, noise, gain, cut, energy):
    for part in (Digitisation(light, noise, gain, cut), StochasticDigitisation(light, noise, gain, cut)):
        e = torch.full((1, 20, 2, 1), energy, requires_grad=True)
        found = part(design(), Events.of(torch.zeros(1, 20, 1), e), seeded())
        total = found.hits.sum() if found.log_probability is None else found.log_probability.sum()
        assert bool(torch.isfinite(found.hits).all())
        assert bool(torch.isfinite(torch.autograd.grad(total, e)[0]).all())


def test_bad_constants_are_refused_in_words():
    with pytest.raises(ConfigurationError, match=r"digitisation.gain: got 0.0, expected a positive number"):
        Digitisation(gain=0.0)
    with pytest.raises(ConfigurationError, match=r"digitisation.noise: got -1.0, expected a number, 0 or more"):
        StochasticDigitisation(1.0, noise=-1.0)
    with pytest.raises(ConfigurationError, match=r"digitisation.noise: got 0.0, expected noise > 0: a cut without"):
        StochasticDigitisation(1.0, threshold="cut")
    with pytest.raises(ConfigurationError, match="got 'gian', expected one of gain"):
        Digitisation(gain="gian")(DesignPoint.of(gain=1.0), deposits(1.0, 2), seeded())
    with pytest.raises(ShapeError, match=r"design parameter gain: got shape \(1, 2\), expected b x 1 or b x 3"):
        Digitisation(gain="gain")(DesignPoint.of(gain=torch.ones(1, 2)), deposits(1.0, 2, cells=3), seeded())
