import math
from dataclasses import replace

import pytest
import torch
from programs import Formula, Problem, bernoulli, binomial, categorical, mean, rejection, row, significance, threshold
from programs import two_coins as two_coins_problem

from mode_opt.errors import ConfigurationError, ShapeError, SimulationError
from mode_opt.gradients import ControlVariate, Relaxed, ScoreFunction
from mode_opt.simulation import Chain, Counted, DifferentiableSimulator, stream

BATCHES, EVENTS = 40, 4096


def gradients(estimator, problem, events=EVENTS, batches=BATCHES, simulator=None):
    design, primaries = problem.design(), problem.primaries(events)
    (slope,) = torch.autograd.grad(design().values.sum(), design.psi)
    found = []
    for batch in range(batches):
        generator = stream("cpu", 43, batch)
        loss = estimator.loss(simulator or problem.simulator, design, primaries, problem.score, generator)
        found.append(torch.autograd.grad(loss, design.psi)[0][0] / slope[0])
    return torch.stack(found)


def agrees(found, expected, exact, resolution=0.02):
    """Within 4σ, σ below 2 % of the gradient (``resolution``); 1e-4 of it is float32."""
    error, exact = found.std(0) / len(found) ** 0.5, torch.as_tensor(exact)
    assert (error < resolution * exact.abs()).all(), error / exact
    assert ((found.mean(0) - torch.as_tensor(expected)).abs() < 4 * error + 1e-4 * exact.abs()).all(), found.mean(0)


def soft_threshold(width, at=1.0):
    """A cut smeared by a normal number of this width, in the place of the hard one: Φ((x − at)/width)."""
    return Formula(
        lambda phi, choices: torch.special.ndtr(
            (choices.gaussian(row(phi, "m", choices), row(phi, "s", choices)) - at) / width
        )
    )


def test_a_wrong_surrogate_is_biased_by_what_it_owes_and_unbiased_as_control_variate():
    """Φ((x − 1)/τ) with x ~ N(m, s) has the mean Φ((m − 1)/√(s² + τ²)): the slope of the soft cut is known."""
    problem, width = threshold(), 1.5
    surrogate = soft_threshold(width)
    m, s = problem.start["m"], problem.start["s"]
    total = math.hypot(s, width)
    u = (m - 1) / total
    density = math.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    predicted = density / total, -u * density / total * s / total
    direct = gradients(Relaxed(), replace(problem, simulator=surrogate))
    agrees(direct, predicted, predicted)
    assert ((direct.mean(0) - torch.tensor(problem.exact_gradient)).abs() > 0.2 * direct.mean(0).abs()).all()
    agrees(gradients(ControlVariate(surrogate), problem), problem.exact_gradient, problem.exact_gradient)


@pytest.mark.parametrize("alpha", [1.0, -1.0, None], ids=str)
@pytest.mark.parametrize("at", [0.0, 2.5])
def test_any_surrogate_and_any_coefficient_are_unbiased(at, alpha):
    problem = threshold()
    found = gradients(ControlVariate(soft_threshold(0.3, at), alpha), problem, batches=120)
    agrees(found, problem.exact_gradient, problem.exact_gradient)


@pytest.mark.parametrize("problem", [bernoulli(), categorical(), two_coins_problem()], ids=lambda p: p.name)
@pytest.mark.parametrize("temperature", [0.2, 2.0])
def test_relaxed_choices_are_conditioned_on_the_outcomes(problem, temperature):
    """α = 1: whatever the temperature, the mean is right only if ∂c/∂u · ∇ũ is."""
    found = gradients(ControlVariate(alpha=1.0, temperature=temperature), problem)
    agrees(found, problem.exact_gradient, problem.exact_gradient)


def wrong_coins():
    """The second coin of the twin has another probability, and a third choice that the program does not make."""

    def draw(phi, choices):
        p = row(phi, "p", choices)
        first = choices.bernoulli(p)
        second = choices.bernoulli(0.9 - 0.5 * p - first / 3)
        return 2 * first - second * choices.gaussian(p, torch.ones_like(p))

    return Formula(draw)


def test_a_twin_that_draws_by_other_laws_is_unbiased():
    problem = two_coins_problem()
    agrees(gradients(ControlVariate(wrong_coins(), 0.5), problem), problem.exact_gradient, problem.exact_gradient)


def test_a_population_objective_with_a_twin():
    problem = significance()
    agrees(gradients(ControlVariate(alpha=0.7), problem), problem.exact_gradient, problem.exact_gradient)


@pytest.mark.parametrize(
    ("problem", "twin", "gain"),
    [(threshold(), soft_threshold(1.0), 3.0), (categorical(), None, 1.2), (two_coins_problem(), None, 1.4)],
    ids=["threshold", "categorical", "two coins"],
)
def test_a_good_twin_lowers_the_variance(problem, twin, gain):
    """Against leave-one-out; measured 6.3 and 8.5 for the threshold (two parameters), 1.6 and 1.9 for the others."""
    plain = gradients(ScoreFunction(controls=False), problem, batches=100).var(0)
    better = gradients(ControlVariate(twin, temperature=2.0), problem, batches=100).var(0)
    assert (plain > gain * better).all(), plain / better


def test_a_bad_twin_is_not_used_by_the_fit():
    problem = threshold()
    plain = gradients(ScoreFunction(controls=False), problem, batches=100).var(0)
    useless = gradients(ControlVariate(soft_threshold(0.3, at=30.0)), problem, batches=100).var(0)
    assert (useless < 1.3 * plain).all()


def test_few_events_are_unbiased_too():
    """n = 4: the own event in the baselines would cost a quarter of the gradient. Fitted, n = 20: in α, an eighth."""
    problem = bernoulli()
    for estimator, events in ((ControlVariate(alpha=1.0, temperature=0.5), 4), (ControlVariate(temperature=0.3), 20)):
        found = gradients(estimator, problem, events, 600)
        agrees(found, problem.exact_gradient, problem.exact_gradient, resolution=0.04)


class Doubling(DifferentiableSimulator):
    def forward(self, phi, primaries, generator=None):
        return replace(primaries, hits=2 * primaries.hits)


def test_a_chain_is_taken_apart_and_both_runs_are_counted():
    problem = bernoulli()
    simulator = Counted(Chain({"coin": problem.simulator, "scale": Doubling()}))
    doubled = replace(problem, score=mean(lambda x: (x / 2 + 1) ** 2))
    found = gradients(ControlVariate(), doubled, batches=20, simulator=simulator)
    agrees(found, problem.exact_gradient, problem.exact_gradient)
    assert simulator.calls == 2 * 20 * EVENTS


def loss(estimator, problem, events=500):
    return estimator.loss(
        problem.simulator, problem.design(), problem.primaries(events), problem.score, stream("cpu", 1)
    )


@pytest.mark.parametrize("problem", [threshold(), replace(bernoulli(), simulator=None)], ids=["x > t", "b > 0.5"])
def test_a_twin_that_compares_is_refused(problem):
    coin = Formula(lambda phi, choices: (choices.bernoulli(row(phi, "p", choices)) > 0.5).float())
    problem = replace(problem, simulator=problem.simulator or coin)
    for events in (50, 5000):
        with pytest.raises(SimulationError, match="cannot be the twin of a control variate"):
            loss(ControlVariate(), problem, events)


def test_a_twin_that_compares_here_and_there_is_found_by_its_mean():
    problem = bernoulli()

    def draw(phi, choices):
        coin = choices.bernoulli(row(phi, "p", choices))
        return coin * 0.1 + (coin > 0.5).float()

    with pytest.raises(SimulationError, match="compares outcomes"):
        loss(ControlVariate(Formula(draw)), problem, events=20000)


def test_a_batch_in_which_nothing_happens_is_no_reason_to_refuse():
    problem = bernoulli()
    never = replace(problem, simulator=Formula(lambda phi, choices: 0 * choices.bernoulli(row(phi, "p", choices))))
    assert torch.isfinite(loss(ControlVariate(), never))


@pytest.mark.parametrize("problem", [binomial(), rejection()], ids=lambda p: p.name)
def test_what_cannot_be_relaxed_is_refused(problem):
    with pytest.raises((ConfigurationError, SimulationError), match=r"no counts|compares outcomes"):
        loss(ControlVariate(), problem)


def test_plain_noise_in_the_place_of_a_choice_is_found_by_its_mean():
    noise = Formula(lambda phi, choices: choices.normal())
    with pytest.raises(SimulationError, match="plain noise in the place of a choice"):
        loss(ControlVariate(noise), bernoulli(), events=20000)


def test_a_real_number_in_the_place_of_a_count_is_refused():
    problem = binomial()
    normal = Formula(lambda phi, choices: choices.gaussian(row(phi, "p", choices), torch.ones(choices.shape)))
    with pytest.raises(ConfigurationError, match="Gaussian"):
        loss(ControlVariate(normal), problem)


def test_a_twin_without_choices_is_a_baseline():
    problem = binomial()
    noise = Formula(lambda phi, choices: (choices.uniform(), choices.normal())[1])
    agrees(gradients(ControlVariate(noise), problem), problem.exact_gradient, problem.exact_gradient)


def test_bad_input():
    with pytest.raises(ConfigurationError, match=r"gradient\.temperature: got 0"):
        ControlVariate(temperature=0)
    with pytest.raises(ConfigurationError, match="events per step: got 19, expected at least 20"):
        loss(ControlVariate(), bernoulli(), events=19)
    two = Formula(lambda phi, choices: choices.bernoulli(row(phi, "p", choices)).unsqueeze(-1).expand(-1, -1, 2))
    with pytest.raises(ShapeError, match="hits of the twin"):
        loss(ControlVariate(two), bernoulli())


def test_without_choices_that_depend_on_the_design_the_pathwise_part_is_all():
    noise = Formula(lambda phi, choices: row(phi, "p", choices) * (1 + choices.normal()))
    problem = Problem("noise", noise, {"p": 0.5}, mean(lambda x: x), 0.5, (1.0,), (1.0,))
    agrees(gradients(ControlVariate(), problem), (1.0,), (1.0,))
