from dataclasses import replace

import pytest
import torch
from programs import Formula, bernoulli, binomial, categorical, mean, poisson, row, significance, threshold
from toys import Counter, Gauge, gun, one_parameter

from mode_opt.errors import ConfigurationError
from mode_opt.gradients import Relaxed, StraightThrough
from mode_opt.simulation import Chain, Counted, stream


def gradients(estimator, problem, events=4096, batches=30):
    design, primaries = problem.design(), problem.primaries(events)
    (slope,) = torch.autograd.grad(design().values.sum(), design.psi)
    values, found = [], []
    for batch in range(batches):
        loss = estimator.loss(problem.simulator, design, primaries, problem.score, stream("cpu", 47, batch))
        found.append(torch.autograd.grad(loss, design.psi)[0][0] / slope[0])
        values.append(loss.detach())
    return torch.stack(values), torch.stack(found)


def agrees(found, expected):
    error = found.std(0) / len(found) ** 0.5
    expected = torch.as_tensor(expected)
    assert ((found.mean(0) - expected).abs() < 4 * error + 1e-4 * expected.abs()).all(), (found.mean(0), expected)


def linear(problem, slope):
    return replace(problem, score=mean(lambda x: 3 * x), exact_gradient=(3 * slope,))


@pytest.mark.parametrize("temperature", [None, 0.7])
def test_straight_through_values_are_those_of_hard_outcomes(temperature):
    for problem in (bernoulli(), categorical(), significance()):
        agrees(gradients(StraightThrough(temperature), problem)[0], problem.value)


def test_straight_through_is_exact_for_what_is_linear_in_the_outcomes():
    p = 0.3
    for problem in (linear(bernoulli(), 1.0), linear(categorical(), 1 + 10 * p - 2 - 4 * p), significance()):
        agrees(gradients(StraightThrough(), problem)[1], problem.exact_gradient)


def test_straight_through_has_the_predicted_bias_for_a_square():
    """f = (b + 1)²: dp (2b + 2) has the mean 2p + 2 where 3 is right."""
    agrees(gradients(StraightThrough(), bernoulli())[1], 2 * 0.3 + 2)


def test_the_mean_in_the_place_of_the_outcome_is_the_soft_cut():
    """(p + 1)² and its derivative, with no noise at all."""
    values, found = gradients(Relaxed(noise=False), bernoulli(), batches=2)
    assert torch.allclose(values, torch.tensor(1.3**2))
    assert torch.allclose(found, torch.tensor(2 * 1.3))


def relaxed_square(p, temperature):
    """∫ (1 + σ((logit p + logit u)/T))² du by the midpoint rule."""
    u = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    p = torch.tensor(p, dtype=torch.float64, requires_grad=True)
    value = ((1 + torch.sigmoid((torch.logit(p) + torch.logit(u)) / temperature)) ** 2).mean()
    return value.item(), torch.autograd.grad(value, p)[0].item()


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_the_relaxed_coin_has_the_value_and_gradient_of_its_integral(temperature):
    values, found = gradients(Relaxed(temperature), bernoulli())
    value, slope = relaxed_square(0.3, temperature)
    agrees(values, value)
    agrees(found, slope)
    _, through = gradients(StraightThrough(temperature), linear(bernoulli(), 1.0))
    assert through.std() > 0  # the derivative of the relaxation is random, that of the mean is not


def test_the_bias_of_the_relaxation_falls_with_the_temperature():
    exact = bernoulli().exact_gradient[0]
    bias = [abs(relaxed_square(0.3, t)[1] - exact) for t in (2.0, 0.5, 0.1)]
    assert bias[0] > bias[1] > bias[2] and bias[2] < 0.02 * exact and bias[0] > 0.05 * exact


def test_real_numbers_are_reparameterised():
    """x ~ N(m, s), mean of x²: 2m and 2s."""
    problem = threshold()
    normal = Formula(lambda phi, choices: choices.gaussian(row(phi, "m", choices), row(phi, "s", choices)))
    for estimator in (StraightThrough(), Relaxed()):
        agrees(gradients(estimator, replace(problem, simulator=normal, score=mean(torch.square)))[1], (1.0, 2.4))


@pytest.mark.parametrize("problem", [binomial(), poisson("square")], ids=lambda p: p.name)
@pytest.mark.parametrize("estimator", [StraightThrough(), Relaxed()], ids=lambda e: type(e).__name__)
def test_counts_are_refused_by_name(estimator, problem):
    with pytest.raises(ConfigurationError, match=problem.name.split()[0].capitalize()):
        gradients(estimator, problem, events=10, batches=1)


@pytest.mark.parametrize("estimator", [StraightThrough(), Relaxed()], ids=lambda e: type(e).__name__)
def test_a_recorded_log_probability_alone_is_refused(estimator):
    score = mean(lambda x: x)
    with pytest.raises(ConfigurationError, match="'Counter', expected a simulator written in random choices"):
        estimator.loss(Counter(), one_parameter(), gun().sample(3, stream("cpu", 0)), score, stream("cpu", 0))


def test_differentiable_simulators_need_no_choices_and_are_counted():
    simulator = Counted(Chain({"gauge": Gauge()}))
    loss = Relaxed().loss(simulator, one_parameter(), gun().sample(5, stream("cpu", 0)), mean(torch.square))
    assert loss.requires_grad and simulator.calls == 5


@pytest.mark.parametrize("build", [Relaxed, StraightThrough])
def test_the_temperature_must_be_positive(build):
    with pytest.raises(ConfigurationError, match=r"gradient\.temperature: got -1"):
        build(temperature=-1)
