"""The pruned alternative and the score function on branching programs and populations with known gradients."""

import pytest
import torch
from branching_programs import Point, Poissonian, Shower, quiet, sampled, shaped
from programs import Offspring, mean, significance
from statistical import assert_mean

from mode_opt.gradients import MeasureValued, PrunedAlternative, ScoreFunction
from mode_opt.simulation import BranchingProgram, Deposits, Step

ESTIMATORS = {
    "pruned alternative": PrunedAlternative(),
    "without controls": PrunedAlternative(controls=False),
    "score function, none": ScoreFunction("none", controls=False),
    "score function": ScoreFunction(controls=False),
    "score function, controls": ScoreFunction(),
    "score function, learned": ScoreFunction("learned"),
}

BRANCHING = {
    "E[1/N₈]": (Offspring(8, False), {"p": 0.3}, mean(lambda n: 1 / n), -1.31305, 0.1),
    "extinction": (Offspring(6, True), {"p": 0.6}, mean(lambda n: (n == 0).float()), -1.97744, 0.05),
    "mean": (Offspring(5, False), {"p": 0.3}, mean(lambda n: n), 5 * 1.3**4, 0.05),
    "mean of Poisson": (Poissonian(4), {"m": 1.2}, mean(lambda n: n), 4 * 1.2**3, 0.05),
}


def inverse_slope(generations, p, step=1e-5):
    """d E[1/N]/dp of the Yule process by its generating function: E[1/N] = ∫ G(s)/s ds over (0, 1)."""
    s = (torch.arange(200000, dtype=torch.float64) + 0.5) / 200000

    def value(q):
        g = s
        for _ in range(generations):
            g = g * (1 - q + q * g)
        return (g / s).mean()

    return float((value(p + step) - value(p - step)) / (2 * step))


def test_the_exact_slope():
    assert abs(inverse_slope(8, 0.3) + 1.31305) < 1e-5


@pytest.mark.parametrize("problem", BRANCHING)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_branching_programs(problem, estimator):
    program, start, score, exact, precision = BRANCHING[problem]
    found = sampled(ESTIMATORS[estimator], program, Point(**start), score, quiet(600), 15)
    assert_mean(found[:, 0], exact)
    assert found.std() / 15**0.5 < 1.4 * precision * abs(exact) * (4 if "none" in estimator else 1)


@pytest.mark.parametrize("estimator", [*ESTIMATORS, "measure-valued"])
def test_a_significance_of_cut_yields(estimator):
    problem = significance()
    chosen = MeasureValued() if estimator == "measure-valued" else ESTIMATORS[estimator]
    primaries = problem.primaries(4000)
    found = sampled(chosen, problem.simulator, Point(**problem.start), problem.score, primaries, 15)
    assert_mean(found[:, 0], problem.exact_gradient[0])


@pytest.mark.parametrize("looped", [False, True])
def test_all_estimators_agree_on_a_shower(looped):
    """No exact gradient: a jump in the deposited energy of two particles an event."""

    def score(events, phi):
        energy, number = events.hits.unbind(-1)
        passed = (number.sum(-1) > 20).float() + (energy[..., 2] > 0.4).float()
        return (events.weight * passed).sum(-1) / events.weight.sum(-1)

    samples = [
        sampled(ESTIMATORS[name], Shower(looped=looped), Point(a=0.8), score, shaped(300, 2), 16)
        for name in ("pruned alternative", "score function", "score function, controls")
    ]
    for other in samples[1:]:
        difference = samples[0].mean() - other.mean()
        assert difference.abs() < 4 * (samples[0].var() / 16 + other.var() / 16).sqrt()
    assert samples[0].mean().abs() > 2 * samples[0].std() / 16**0.5


@pytest.mark.parametrize("estimator", [PrunedAlternative(), ScoreFunction()])
def test_weighted_events(estimator):
    weight = 0.1 + 3 * torch.rand(1, 200, generator=torch.Generator().manual_seed(1))
    program = Offspring(5, False)
    found = sampled(estimator, program, Point(p=0.3), mean(lambda n: n), quiet(200, weight), 40)
    assert_mean(found[:, 0], 5 * 1.3**4)


@pytest.mark.parametrize("estimator", [PrunedAlternative(), ScoreFunction(), ScoreFunction("learned")])
@pytest.mark.parametrize("count", [2])
def test_few_events(estimator, count):
    found = sampled(estimator, Offspring(3, False), Point(p=0.3), mean(lambda n: n), quiet(count), 100)
    assert_mean(found[:, 0], 3 * 1.3**2)


def test_one_event():
    found = sampled(PrunedAlternative(), Offspring(3, False), Point(p=0.3), mean(lambda n: n), quiet(1), 120)
    assert_mean(found[:, 0], 3 * 1.3**2)


class Sharp(BranchingProgram):
    """Coins whose probability is ``sigmoid(x s)``: from 0 over 1/2 to 1 in single precision."""

    def start(self, phi, primaries, choices):
        x = torch.linspace(-1, 1, primaries.count)
        return torch.arange(primaries.count), {"x": x}

    def step(self, phi, state, choices):
        coin = choices.bernoulli(torch.sigmoid(state["x"] * phi["s"][:, 0]))
        return Step(state, coin < 0, (), [Deposits(torch.zeros_like(coin).long(), coin)])


@pytest.mark.parametrize("slope", [10.0, 200.0, 1e5])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_probabilities_that_underflow_leave_finite_gradients(estimator, slope):
    found = sampled(ESTIMATORS[estimator], Sharp(1), Point(s=slope), mean(lambda n: n), quiet(500), 3)
    assert torch.isfinite(found).all()
