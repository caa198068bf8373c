import pytest
import torch
from branching_programs import Point, Poissonian, Shower, Thinning, quiet, sampled, shaped
from programs import Offspring, mean, two_coins
from statistical import assert_mean

from mode_opt.errors import ConfigurationError
from mode_opt.gradients import LineageCredit, ScoreFunction
from mode_opt.simulation import Chain, Counted, DifferentiableSimulator

CASES = {
    "mean": (Offspring(5, False), {"p": 0.3}, mean(lambda n: n), 5 * 1.3**4),
    "mean, dying": (Offspring(5, True), {"p": 0.6}, mean(lambda n: n), 10 * 1.2**4),
    "mean of Poisson": (Poissonian(4), {"m": 1.2}, mean(lambda n: n), 4 * 1.2**3),
    "E[1/N₈]": (Offspring(8, False), {"p": 0.3}, mean(lambda n: 1 / n), -1.31305),
    "extinction": (Offspring(6, True), {"p": 0.6}, mean(lambda n: (n == 0).float()), -1.97744),
    "E[N₄²]": (
        Offspring(4, False),
        {"p": 0.3},
        mean(torch.square),
        8 * 1.3**7 - 1.3**3 * (1.3**4 - 1) + 0.7 * (3 * 1.3**2 * (1.3**4 - 1) + 4 * 1.3**6),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_exact_gradients(case, weighted):
    program, start, score, exact = CASES[case]
    weight = 0.1 + 3 * torch.rand(1, 800, generator=torch.Generator().manual_seed(1)) if weighted else None
    found = sampled(LineageCredit(), program, Point(**start), score, quiet(800, weight), 20)
    assert_mean(found[:, 0], exact)
    assert found.std() / 20**0.5 < 0.09 * abs(exact)


@pytest.mark.parametrize(("depth", "bound", "without"), [(5, 1.0, 1.5), (10, 1.0, 1.7), (15, 1.0, 2.2)])
def test_the_noise_does_not_grow_with_the_generations(depth, bound, without):
    """sd/|g| of one event stays below 1; leave-one-out: about 1.8, 2.2 and 2.9 at 5, 10 and 15 generations."""
    exact, program, count = depth * 1.3 ** (depth - 1), Offspring(depth, False), 128
    spread = {}
    for estimator in (LineageCredit(), ScoreFunction(controls=False)):
        found = sampled(estimator, program, Point(p=0.3), mean(lambda n: n), quiet(count), 50)
        assert_mean(found[:, 0], exact)
        spread[type(estimator).__name__] = float(found.std()) * count**0.5 / exact
    assert spread["LineageCredit"] < bound and spread["ScoreFunction"] > without, spread


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("weighted", [False, True])
def test_few_events_are_unbiased(count, weighted):
    """8 events are the fewest with a regression on one cell."""
    weight = torch.tensor([[3.0] + [0.3] * (count - 1)]) if weighted else None
    found = sampled(LineageCredit(), Offspring(3, False), Point(p=0.3), mean(lambda n: n), quiet(count, weight), 300)
    assert_mean(found[:, 0], 3 * 1.3**2)


def test_one_event_has_no_others():
    for estimator in (LineageCredit(), ScoreFunction(), ScoreFunction("learned")):
        with pytest.raises(ConfigurationError, match="events per step: got 1, expected at least 2"):
            sampled(estimator, Offspring(3, False), Point(p=0.3), mean(lambda n: n), quiet(1), 1)
    alone = sampled(ScoreFunction("none"), Offspring(3, False), Point(p=0.3), mean(lambda n: n), quiet(1), 120)
    assert_mean(alone[:, 0], 3 * 1.3**2)


@pytest.mark.parametrize("looped", [False, True])
def test_a_shower_with_several_cells_features_and_particles(looped):
    """Against the score function, for a linear and a curved objective of two parameters' worth of cells."""

    def score(events, phi):
        energy, number = events.hits.unbind(-1)
        value = energy[..., 2] + number[..., 1:].sum(-1) / 10 + (number.sum(-1) ** 2) / 200
        return (events.weight * value).sum(-1) / events.weight.sum(-1)

    program, primaries = Shower(looped=looped), shaped(200, torch.arange(200) % 3)
    estimators = LineageCredit(), ScoreFunction()
    lineage, others = (sampled(each, program, Point(a=0.8), score, primaries, 30) for each in estimators)
    assert (lineage.mean() - others.mean()).abs() < 4 * (lineage.var() / 30 + others.var() / 30).sqrt()
    assert lineage.mean().abs() > 5 * lineage.std() / 30**0.5


def test_later_parts_of_a_chain():
    """Of N particles each is kept with probability q: E[K] = q mⁿ, and K² for the curved case."""
    chain, p, q, m = Chain({"shower": Offspring(3, False), "thinning": Thinning()}), 0.3, 0.6, 1.3
    found = sampled(LineageCredit(), chain, Point(p=p, q=q), mean(lambda k: k), quiet(600), 60)
    assert_mean(found, torch.tensor([q * 3 * m**2, m**3]))


class Scaled(DifferentiableSimulator):
    def forward(self, phi, primaries, generator=None):
        return type(primaries)(
            primaries.truth,
            primaries.hits * phi["q"][:, :, None, None],
            primaries.mask,
            primaries.weight,
            primaries.log_probability,
        )


def test_derivatives_of_a_following_simulator_are_kept():
    chain = Counted(Chain({"shower": Offspring(3, False), "scaled": Scaled()}))
    found = sampled(LineageCredit(), chain, Point(p=0.3, q=0.6), mean(lambda k: k), quiet(600), 40)
    assert_mean(found, torch.tensor([0.6 * 3 * 1.3**2, 1.3**3]))
    assert chain.calls == 40 * 600


def test_an_objective_of_the_design_alone():
    program, point = Offspring(3, False), Point(p=0.3)
    found = sampled(LineageCredit(), program, point, lambda events, phi: phi["p"][:, 0] ** 2, quiet(20), 1)
    assert torch.allclose(found, torch.tensor(0.6))


@pytest.mark.parametrize(
    ("simulator", "name"), [(two_coins().simulator, "Formula"), (Shower(moving=True), "Shower"), (Scaled(), "Scaled")]
)
def test_other_simulators_are_refused_by_name(simulator, name):
    with pytest.raises(ConfigurationError, match=f"score_function, because {name} is no branching program"):
        LineageCredit().check(simulator)


def test_nobody_enters():
    found = sampled(LineageCredit(), Shower(), Point(a=0.5), mean(lambda e: e), shaped(20, 0), 1)
    assert found.tolist() == [[0.0]]
