"""Each law against scipy, its alternatives by enumeration, its corners and its refusals."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from statistical import assert_mean

from mode_opt.errors import SimulationError
from mode_opt.simulation.choices import (
    Bernoulli,
    Binomial,
    Categorical,
    Exponential,
    Gaussian,
    Geometric,
    Poisson,
    hashed,
    uniform,
)

N = 100_000


def t(value):
    return torch.as_tensor(value, dtype=torch.float64)


def numbers(count, seed=1, dtype=torch.float64):
    return uniform(hashed(torch.tensor(seed), torch.arange(count)), dtype)


def drawn(law_of, count=N, dtype=torch.float64, seed=1):
    """Encoded outcomes of ``count`` choices of the law that ``law_of`` makes of a column of ones."""
    law = law_of(torch.ones(count, dtype=dtype))
    return law.encode(law.draw(numbers(count, seed, dtype)))


def categorical(ones, probabilities):
    return Categorical(ones.unsqueeze(-1) * torch.tensor(probabilities, dtype=ones.dtype))


DISCRETE = {
    "coin": (lambda o: Bernoulli(0.3 * o), stats.bernoulli(0.3)),
    "classes": (
        lambda o: categorical(o, [0.4, 0.0, 1.0, 0.6]),
        stats.rv_discrete(values=([0, 1, 2, 3], [0.2, 0.0, 0.5, 0.3])),
    ),
    "poisson 0.01": (lambda o: Poisson(0.01 * o), stats.poisson(0.01)),
    "poisson 3": (lambda o: Poisson(3 * o), stats.poisson(3)),
    "poisson 1e4": (lambda o: Poisson(1e4 * o), stats.poisson(1e4)),
    "poisson 1e6": (lambda o: Poisson(1e6 * o), stats.poisson(1e6)),
    "binomial": (lambda o: Binomial(7 * o, 0.4 * o), stats.binom(7, 0.4)),
    "binomial 1000": (lambda o: Binomial(1000 * o, 0.9 * o), stats.binom(1000, 0.9)),
    "binomial 1000, even": (lambda o: Binomial(1000 * o, 0.5 * o), stats.binom(1000, 0.5)),
    "binomial 3000": (lambda o: Binomial(3000 * o, 0.3 * o), stats.binom(3000, 0.3)),
    "binomial, rare": (lambda o: Binomial(1000 * o, 0.001 * o), stats.binom(1000, 0.001)),
    "binomial 1e6, rare": (lambda o: Binomial(1e6 * o, 2e-6 * o), stats.binom(10**6, 2e-6)),
    "geometric": (lambda o: Geometric(0.3 * o), stats.geom(0.3, loc=-1)),
    "geometric, rare": (lambda o: Geometric(0.001 * o), stats.geom(0.001, loc=-1)),
}
CONTINUOUS = {
    "exponential": (lambda o: Exponential(2 * o), stats.expon(scale=0.5)),
    "gaussian": (lambda o: Gaussian(-3 * o, 0.5 * o), stats.norm(-3, 0.5)),
}


def chi_square(outcomes, truth):
    """p-value in cells of at least 20 expected outcomes."""
    low, high = int(outcomes.min()), int(outcomes.max())
    width = max(1, (high - low) // 60)
    edges = torch.arange(low - 1, high + width, width)[:-1]
    cumulative = truth.cdf(edges.numpy()).tolist()
    expected = torch.tensor([*cumulative, 1.0]).diff(prepend=torch.zeros(1)) * len(outcomes)
    cell = torch.searchsorted(edges.double(), outcomes.double())
    counts = torch.bincount(cell, minlength=len(expected)).double()
    rare = expected < 20
    joined = [torch.cat([v[~rare], v[rare].sum().reshape(1)]) for v in (counts, expected.double())]
    if joined[1][-1] < 20:  # too rare altogether: part of the first cell
        joined = [torch.cat([v[:1] + v[-1:], v[1:-1]]) for v in joined]
    observed, expected = (value.numpy() for value in joined)
    return stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue


@pytest.mark.parametrize("name", DISCRETE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_counts_follow_their_law(name, dtype):
    law_of, truth = DISCRETE[name]
    outcomes = drawn(law_of, dtype=dtype)
    assert outcomes.dtype == dtype
    assert chi_square(outcomes, truth) > 1e-3
    assert abs(outcomes.double().mean() - truth.mean()) < 4 * truth.std() / N**0.5


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_real_numbers_follow_their_law(name, dtype):
    law_of, truth = CONTINUOUS[name]
    assert stats.kstest(drawn(law_of, dtype=dtype).numpy(), truth.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", [*DISCRETE, *CONTINUOUS])
def test_outcomes_rise_with_the_number(name):
    """And are the quantiles: the smallest outcome whose cumulative probability reaches u."""
    law_of, truth = {**DISCRETE, **CONTINUOUS}[name]
    rising = numbers(2000).sort().values
    law = law_of(torch.ones(2000, dtype=torch.float64))
    outcomes = law.encode(law.draw(rising))
    assert (outcomes.diff() >= 0).all()
    wanted = torch.from_numpy(truth.ppf(rising.numpy())).double()
    assert torch.allclose(outcomes, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_certain_outcomes(dtype):
    u = torch.cat([numbers(1000, dtype=dtype), uniform(torch.tensor([0, -1]), dtype)])
    zeros, ones = torch.zeros_like(u), torch.ones_like(u)
    assert (Bernoulli(zeros).draw(u) == 0).all() and (Bernoulli(ones).draw(u) == 1).all()
    assert (Poisson(zeros).draw(u) == 0).all()
    assert (Poisson(1e-12 * ones).draw(u)[:1000] == 0).all()
    assert (Binomial(9 * ones, zeros).draw(u) == 0).all() and (Binomial(9 * ones, ones).draw(u) == 9).all()
    assert (Binomial(zeros, 0.3 * ones).draw(u) == 0).all() and (Binomial(zeros, 0.8 * ones).draw(u) == 0).all()
    assert (Geometric(ones).draw(u) == 0).all()
    for certain in range(3):
        p = torch.eye(3, dtype=dtype)[certain].expand(len(u), 3)
        assert (Categorical(p).draw(u).argmax(-1) == certain).all()


def scalar_cases():
    """Law of θ, θ, and (all but 1e-14 of) its encoded outcomes."""
    few = torch.arange(60, dtype=torch.float64)
    many = torch.arange(2000, dtype=torch.float64)
    return [
        pytest.param(lambda p: Bernoulli(p), 0.3, few[:2], id="coin"),
        pytest.param(lambda p: Categorical(torch.stack([p, p**2, 1 + p, 0 * p], -1)), 0.4, few[:3], id="classes"),
        pytest.param(lambda p: Poisson(p), 2.5, few, id="poisson"),
        pytest.param(lambda p: Binomial(t(6).expand(p.shape), p), 0.35, few[:7], id="binomial"),
        pytest.param(lambda p: Geometric(p), 0.4, few, id="geometric"),
        pytest.param(lambda p: Bernoulli(p), 1e-9, few[:2], id="rare coin"),
        pytest.param(lambda p: Poisson(p), 1e-9, few[:10], id="rare poisson"),
        pytest.param(lambda p: Binomial(t(300).expand(p.shape), p), 0.99, many[:301], id="binomial of 300"),
        pytest.param(lambda p: Geometric(p), 0.02, many, id="long geometric"),
    ]


def enumerated(law_of, theta, outcomes):
    """The law at every outcome (a column), θ as a leaf, and the outcomes decoded."""
    leaf = t(theta).requires_grad_()
    law = law_of(leaf.expand(len(outcomes)))
    return leaf, law, law.decode(outcomes)


def f(x):
    return torch.cos(x) + 0.1 * x


@pytest.mark.parametrize(("law_of", "theta", "outcomes"), scalar_cases())
def test_probabilities_sum_to_one_and_give_the_mean(law_of, theta, outcomes):
    leaf, law, values = enumerated(law_of, theta, outcomes)
    p = law.log_probability(values).exp()
    assert torch.allclose(p.sum(), t(1), atol=1e-9)
    assert torch.allclose((p * law.encode(values)).sum(), law.expected[0], rtol=1e-9)
    assert torch.allclose(law.expected, law.expected[0].expand(law.shape))
    (slope,) = torch.autograd.grad(law.expected[0], leaf, retain_graph=True)
    (wanted,) = torch.autograd.grad((p * law.encode(values)).sum(), leaf)
    assert torch.allclose(slope, wanted, rtol=1e-6)


@pytest.mark.parametrize(("law_of", "theta", "outcomes"), scalar_cases())
def test_alternatives_give_the_derivative_of_every_expectation(law_of, theta, outcomes):
    """``dE[f] = E[Σ_j d tangent_j (f(other_j) − f(x))]``, summed over all outcomes."""
    leaf, law, values = enumerated(law_of, theta, outcomes)
    p = law.log_probability(values).exp()
    (wanted,) = torch.autograd.grad((p * f(law.encode(values))).sum(), leaf, retain_graph=True)
    alternatives = law.alternatives(values, torch.full_like(outcomes, 0.5))
    found = t(0.0)
    for other, tangent in zip(alternatives.outcome, alternatives.tangent, strict=True):
        gain = f(law.encode(other)) - f(law.encode(values))
        found = found + torch.autograd.grad((p.detach() * tangent * gain).sum(), leaf, retain_graph=True)[0]
    assert torch.allclose(found, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["exponential", "mean", "deviation"])
def test_alternatives_of_real_numbers(name):
    """4σ, for a function with a jump and a curved one."""
    law_of, exact = {
        "exponential": (Exponential, lambda x: 0.7 * math.exp(-0.7 * x)),
        "mean": (lambda m: Gaussian(m, torch.full_like(m, 1.3)), lambda x: stats.norm(0.7, 1.3).pdf(x)),
        "deviation": (
            lambda s: Gaussian(torch.full_like(s, 0.2), s),
            lambda x: (x - 0.2) / 0.7 * stats.norm(0.2, 0.7).pdf(x),
        ),
    }[name]
    leaf = torch.full((N,), 0.7, dtype=torch.float64, requires_grad=True)
    law = law_of(leaf)
    x = law.draw(numbers(N))
    alternatives = law.alternatives(x, numbers(N, 2))
    for point in (0.4, 1.9):
        # P(x > point): of the exponential −point e^{−λ point}.
        wanted = -point * math.exp(-0.7 * point) if name == "exponential" else exact(point)
        gain = (alternatives.outcome > point).double() - (x > point).double()
        (found,) = torch.autograd.grad((alternatives.tangent * gain).sum(), leaf, retain_graph=True)
        assert_mean(found, wanted)
    gain = alternatives.outcome**2 - x**2
    (found,) = torch.autograd.grad((alternatives.tangent * gain).sum(), leaf)
    assert_mean(found, {"exponential": -4 / 0.7**3, "mean": 1.4, "deviation": 1.4}[name])


SCIPY = [
    (
        lambda: Bernoulli(t([0.3, 0.3, 1e-9, 1 - 1e-9])),
        [0, 1, 1, 0],
        lambda: stats.bernoulli([0.3, 0.3, 1e-9, 1 - 1e-9]),
    ),
    (lambda: Poisson(t([2.5, 1e4, 1e-12, 1e-12])), [4, 1e4, 0, 1], lambda: stats.poisson([2.5, 1e4, 1e-12, 1e-12])),
    (
        lambda: Binomial(t([6, 1000, 9]), t([0.3, 0.999, 1e-9])),
        [2, 998, 1],
        lambda: stats.binom([6, 1000, 9], [0.3, 0.999, 1e-9]),
    ),
    (lambda: Geometric(t([0.3, 1e-6])), [3, 10**6], lambda: stats.geom([0.3, 1e-6], loc=-1)),
]


@pytest.mark.parametrize(("law", "outcome", "truth"), SCIPY, ids=lambda value: None)
def test_log_probabilities_of_counts(law, outcome, truth):
    found = law().log_probability(t(outcome))
    assert torch.allclose(found, torch.from_numpy(truth().logpmf(outcome)), rtol=1e-7)


def test_rare_successes_in_single_precision():
    """``1 − p`` would round p away."""
    p = torch.tensor(1.1e-7)
    assert torch.allclose(Geometric(p).log_probability(torch.tensor(3e7)), p.log() - 3.3, rtol=1e-5)
    none = Binomial(torch.tensor(1e7), p).log_probability(torch.tensor(0.0))
    assert torch.allclose(none, torch.tensor(-1.1), rtol=1e-5)


def test_log_probabilities_of_real_numbers():
    x = t([0.1, 3.0])
    exponential, gaussian = Exponential(t([2.0, 0.1])), Gaussian(t([1.0, -2.0]), t([0.3, 4.0]))
    wanted = stats.expon(scale=[0.5, 10]).logpdf(x.numpy()), stats.norm([1, -2], [0.3, 4]).logpdf(x.numpy())
    for law, value in zip((exponential, gaussian), wanted, strict=True):
        assert torch.allclose(law.log_probability(x), torch.from_numpy(value))


@pytest.mark.parametrize(
    ("law_of", "outcome", "slope"),
    [
        (Bernoulli, 0, {0.0: -1}),
        (Bernoulli, 1, {1.0: 1}),
        (lambda p: Binomial(torch.full_like(p, 5.0), p), 0, {0.0: -5}),
        (lambda p: Binomial(torch.full_like(p, 5.0), p), 5, {1.0: 5}),
        (lambda p: Binomial(torch.zeros_like(p), p), 0, {0.0: 0, 1.0: 0}),
        (Geometric, 0, {1.0: 1}),
        (Poisson, 0, {0.0: -1, 1e-30: -1}),
        (lambda p: Categorical(torch.stack([p, 1 - p], -1)), 0, {1.0: 1}),
        (lambda p: Categorical(torch.stack([p, 1 - p], -1)), 1, {0.0: -1}),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivatives_at_the_edge_are_finite_for_what_can_happen(law_of, outcome, slope, dtype):
    for value, wanted in slope.items():
        parameter = torch.full((1,), value, dtype=dtype, requires_grad=True)
        law = law_of(parameter)
        number = torch.full((1,), float(outcome), dtype=dtype)
        log_probability = law.log_probability(law.decode(number))
        assert log_probability.abs() < 1e-6
        (found,) = torch.autograd.grad(log_probability.sum(), parameter, retain_graph=True)
        assert found == wanted, value
        alternatives = law.alternatives(law.decode(number), torch.full_like(number, 0.5))
        tangent, mean = alternatives.tangent.sum(), (law.encode(law.decode(number)) - law.expected).sum()
        assert tangent.isfinite() and mean.abs() < 1e-6
        for quantity in (tangent, mean):
            assert torch.isfinite(torch.autograd.grad(quantity, parameter, retain_graph=True)[0]).all()


def test_impossible_outcomes_have_no_probability():
    assert Bernoulli(t([0.0])).log_probability(t([1.0])) == -math.inf
    assert Poisson(t([0.0])).log_probability(t([1.0])) == -math.inf
    assert Binomial(t([3.0]), t([0.0])).log_probability(t([1.0])) == -math.inf
    assert Geometric(t([1.0])).log_probability(t([1.0])) == -math.inf


def test_what_is_encoded_can_be_decoded():
    one_hot = torch.eye(4)
    classes = Categorical(torch.full((4, 4), 0.25))
    assert torch.equal(classes.encode(one_hot), torch.arange(4.0))
    assert torch.equal(classes.decode(classes.encode(one_hot)), one_hot)
    for law in (Bernoulli(torch.full((2,), 0.5)), Poisson(torch.ones(2)), Gaussian(torch.zeros(2), torch.ones(2))):
        outcome = law.draw(torch.tensor([0.2, 0.9]))
        assert torch.equal(law.decode(law.encode(outcome)), outcome)


def test_draws_and_probabilities_broadcast():
    assert Gaussian(torch.zeros(3, 1), torch.ones(2)).shape == (3, 2)
    assert Binomial(torch.ones(3, 2), torch.tensor(0.5)).shape == (3, 2)
    law = Categorical(torch.ones(2, 3, 5))
    assert law.shape == law.expected.shape == (2, 3) and law.draw(torch.full((2, 3), 0.5)).shape == (2, 3, 5)
    assert law.log_probability(law.draw(torch.full((2, 3), 0.5))).shape == (2, 3)


BOUNDS = {
    "Bernoulli": (Bernoulli, lambda v: 0 <= v <= 1, "probability"),
    "Poisson": (Poisson, lambda v: 0 <= v < math.inf, "rate"),
    "Geometric": (Geometric, lambda v: 0 < v <= 1, "probability"),
    "Exponential": (Exponential, lambda v: 0 < v < math.inf, "rate"),
    "Categorical": (lambda p: Categorical(torch.stack([p, p], 0)), lambda v: 0 <= v < math.inf, "probabilities"),
    "Binomial": (lambda p: Binomial(torch.full_like(p, 3.0), p), lambda v: 0 <= v <= 1, "probability"),
    "Gaussian": (lambda p: Gaussian(torch.zeros_like(p), p), lambda v: 0 < v < math.inf, "deviation"),
}


@pytest.mark.parametrize("name", BOUNDS)
@given(value=st.floats(allow_nan=True, allow_infinity=True, width=32))
@example(value=0.0)
@example(value=math.nan)
@example(value=math.inf)
@example(value=-1e-30)
def test_parameters_out_of_range_are_refused_by_name_and_value(name, value):
    law_of, valid, key = BOUNDS[name]
    law = law_of(torch.tensor([0.5, value], dtype=torch.float64))
    if valid(value):
        law.check()
        return
    message = f"{name}: . of . choices .* out of range, the first .*{key} = "
    with pytest.raises(SimulationError, match=message) as caught:
        law.check()
    assert str(caught.value).endswith(f"{key} = {value:g}")


def test_other_refusals():
    with pytest.raises(SimulationError, match=r"Gaussian: 1 of 1 .* mean = nan, deviation = 1"):
        Gaussian(t([math.nan]), t([1.0])).check()
    with pytest.raises(SimulationError, match="Categorical"):
        Categorical(torch.zeros(1, 3)).check()
    for count in (-1.0, 2.5, math.nan, math.inf):
        with pytest.raises(SimulationError, match=f"Binomial: 1 of 2 .* count = {count:g}, probability = 0.5"):
            Binomial(t([3.0, count]), t([0.5, 0.5])).check()
