import pytest
import torch
from branching_programs import Point, quiet, sampled
from programs import Formula, Offspring, mean, row
from statistical import assert_mean

from mode_opt.errors import ConfigurationError
from mode_opt.gradients import MeasureValued, PrunedAlternative
from mode_opt.simulation import Chain, Counted, stream


def coins(number):
    return Formula(lambda phi, c: c.bernoulli(row(phi, "p", c).unsqueeze(-1).expand(-1, -1, number)).sum(-1))


def test_one_coin_has_no_noise():
    found = sampled(MeasureValued(), coins(1), Point(p=0.3), mean(lambda x: (x + 1) ** 2), quiet(20), 3)
    assert torch.allclose(found, torch.tensor(3.0))


@pytest.mark.parametrize("controls", [True, False])
def test_every_choice_counts(controls):
    """X binomial of 6 coins: dE[X²] = n (1 − 2p) + 2 n² p."""
    exact = 6 * 0.4 + 72 * 0.3
    every = sampled(MeasureValued(controls=controls), coins(6), Point(p=0.3), mean(torch.square), quiet(200), 60)
    assert_mean(every[:, 0], exact)
    one = sampled(PrunedAlternative(controls=False), coins(6), Point(p=0.3), mean(torch.square), quiet(200), 60)
    assert every.var() < one.var()


def test_events_may_differ_in_their_number_of_choices():
    """Coins until the first 1: E = 1/p (an accept/reject loop)."""
    program = Formula(
        lambda phi, c: c.accepted(
            lambda some, index: some.lineages.counter.float() + 1, lambda x, index: phi["p"][0, 0].expand(x.shape)
        )
    )
    found = sampled(MeasureValued(), program, Point(p=0.5), mean(lambda x: x), quiet(50), 60)
    assert_mean(found[:, 0], -1 / 0.25)


def test_the_limit():
    counted = Counted(coins(6))
    with pytest.raises(ConfigurationError, match=r"gradient\.limit: got '6 alternatives an event', expected at most 5"):
        sampled(MeasureValued(5), counted, Point(p=0.3), mean(lambda x: x), quiet(10), 1)
    sampled(MeasureValued(6), counted, Point(p=0.3), mean(lambda x: x), quiet(10), 1)
    assert counted.calls == 70
    with pytest.raises(ConfigurationError, match=r"gradient\.limit: got 0, expected a positive whole number"):
        MeasureValued(0)


def test_branching_programs_are_refused():
    chain = Chain({"coins": coins(2), "shower": Offspring(3, True)})
    with pytest.raises(ConfigurationError, match="Offspring has any number of choices an event, use gradient=pruned"):
        MeasureValued().check(chain)
    MeasureValued().check(Chain({"coins": coins(2)}))


def test_two_runs_of_one_seed_agree():
    losses = [
        MeasureValued().loss(coins(3), Point(p=0.3), quiet(10), mean(torch.square), stream("cpu", 4)) for _ in range(2)
    ]
    assert losses[0] == losses[1]
