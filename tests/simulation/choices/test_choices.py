import math

import pytest
import torch
from scipy import stats
from statistical import assert_mean

from mode_opt.errors import ConfigurationError, ShapeError, SimulationError
from mode_opt.simulation.choices import Choices, Drawing, Lineages, fork

N = 40_000


def choices(designs=1, count=N, seed=1):
    return Choices(Lineages.of_events(designs, count, seed), Drawing())


def particles(count=N, seed=1):
    lineages = Lineages.of_events(1, count, seed).flat(torch.arange(count))
    return Choices(lineages, Drawing())


def correlation(first, second):
    return float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]).double())[0, 1])


def test_shapes():
    some = choices(2, 3)
    assert some.shape == (2, 3)
    p = torch.full((2, 3, 4), 0.25)
    assert some.bernoulli(p).shape == p.shape and some.bernoulli(p[..., 0]).shape == (2, 3)
    assert some.categorical(p).shape == p.shape and (some.categorical(p).sum(-1) == 1).all()
    assert some.poisson(p).shape == some.geometric(p).shape == some.exponential(p).shape == p.shape
    assert some.binomial(p * 20, p).shape == some.gaussian(p, p).shape == p.shape
    assert some.uniform().shape == (2, 3) and some.normal(5, 2).shape == (2, 3, 5, 2)
    assert some.uniform(dtype=torch.float64).dtype == torch.float64
    assert some.normal(dtype=torch.float64).dtype == torch.float64
    assert some.bernoulli(p.double()).dtype == torch.float64


@pytest.mark.parametrize("shape", [(), (2,), (3,), (3, 2), (1, 3), (2, 1), (4, 2, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match=r"random choice: got shape .*, expected \(2, 3\) \(events or particles\)"):
        choices(2, 3).bernoulli(torch.full(shape, 0.5))


def test_bad_parameters_are_refused_when_a_choice_is_made():
    with pytest.raises(SimulationError, match=r"Bernoulli: 1 of 2 choices .* probability = 1\.5"):
        choices(1, 2).bernoulli(torch.tensor([[0.5, 1.5]]))


def test_numbers_of_one_call_and_of_successive_calls_are_independent():
    some = choices(count=N)
    table = torch.cat([some.uniform(3), some.uniform(3), some.uniform().unsqueeze(-1)], -1)[0]
    assert stats.kstest(table.flatten().numpy(), "uniform").pvalue > 1e-3
    matrix = torch.corrcoef(table.double().T) - torch.eye(7, dtype=torch.float64)
    assert matrix.abs().max() < 4.5 / math.sqrt(N)
    # Neighbouring events, too.
    assert abs(correlation(table[1:], table[:-1])) < 4.5 / math.sqrt(7 * N)


def test_every_kind_of_choice_moves_the_stream_on():
    calls = [
        lambda c, p: c.bernoulli(p),
        lambda c, p: c.categorical(torch.stack([p, 1 - p], -1)),
        lambda c, p: c.poisson(p),
        lambda c, p: c.binomial(torch.full_like(p, 3), p),
        lambda c, p: c.geometric(p),
        lambda c, p: c.exponential(p),
        lambda c, p: c.gaussian(p, p),
        lambda c, p: c.uniform(),
        lambda c, p: c.normal(2),
    ]
    p = torch.full((1, N), 0.5)
    for call in calls:
        some = choices()
        call(some, p)
        assert (some.lineages.counter == 1).all()
        untouched = choices().uniform()
        assert abs(correlation(some.uniform(), untouched)) < 4.5 / math.sqrt(N)


def test_numbers_depend_on_seed_design_and_event_alone():
    first = choices(3, 50).uniform(2)
    assert torch.equal(first[:1], choices(1, 50).uniform(2))
    assert torch.equal(first[:2, :20], choices(2, 20).uniform(2))
    assert abs(correlation(choices(1).uniform(), choices(1, seed=2).uniform())) < 4.5 / math.sqrt(N)
    assert abs(correlation(*choices(2).uniform())) < 4.5 / math.sqrt(N)
    assert Lineages.of_events(3, 4, 0).event.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_runs_of_one_seed_share_their_numbers():
    """Common random numbers: outcomes rise with the design."""
    low, high = torch.full((1, 1000), 0.2), torch.full((1, 1000), 0.5)
    for draw in (lambda c, p: c.bernoulli(p), lambda c, p: c.poisson(5 * p), lambda c, p: c.binomial(p.round() + 9, p)):
        assert (draw(choices(count=1000), low) <= draw(choices(count=1000), high)).all()


@pytest.mark.parametrize("bound", [choices, particles])
def test_accepted_values_follow_their_law(bound):
    """A uniform number accepted with probability x has the density 2x; E x = 2/3."""
    some = bound()
    values = some.accepted(lambda c, index: c.uniform(), lambda x, index: x)
    assert values.shape == some.shape
    assert stats.kstest(values.flatten().numpy(), lambda x: x**2).pvalue > 1e-3


def test_accepting_knows_which_lineage_proposes():
    """Lineage i wants numbers above its own threshold; further numbers are independent of the accepted ones."""
    some = particles()
    threshold = torch.linspace(0, 0.9, N)
    values = some.accepted(
        lambda c, index: torch.stack([c.uniform(), threshold[index]], -1), lambda x, index: (x[:, 0] > x[:, 1]).float()
    )
    assert values.shape == (N, 2) and torch.equal(values[:, 1], threshold) and (values[:, 0] > threshold).all()
    relative = (values[:, 0] - threshold) / (1 - threshold)
    assert stats.kstest(relative.numpy(), "uniform").pvalue > 1e-3
    assert abs(correlation(some.uniform(), relative)) < 4.5 / math.sqrt(N)
    rounds = some.lineages.counter.double() / 2
    assert_mean((rounds - 0.5) * (1 - threshold), 1.0)  # one further number; p rounds are geometric


def test_accepting_counts_each_lineage_by_itself():
    """Whether others still wait does not change the numbers of a lineage."""
    together = particles(200)
    alone = Choices(particles(200).lineages.flat(torch.tensor([17])), Drawing())
    found = [
        (some.accepted(lambda c, index: c.normal(), lambda x, index: torch.exp(-(x**2))), some.uniform())
        for some in (together, alone)
    ]
    assert found[0][0][17] == found[1][0][0] and found[0][1][17] == found[1][1][0]


def test_rejecting_for_ever_is_an_error():
    with pytest.raises(SimulationError, match="7 proposals were still rejected after 20 rounds"):
        choices(1, 7).accepted(lambda c, index: c.uniform(), lambda x, index: 0 * x, limit=20)


def test_nobody_waits():
    assert particles(0).accepted(lambda c, index: c.uniform(2), lambda x, index: x[:, 0]).shape == (0, 2)


def test_accepted_values_may_carry_a_derivative():
    scale = torch.tensor(2.0, requires_grad=True)
    values = choices(1, 100).accepted(lambda c, index: scale * c.uniform(), lambda x, index: x.detach() / 2)
    (slope,) = torch.autograd.grad(values.sum(), scale)
    assert torch.allclose(slope, values.sum() / 2)


def test_forks():
    assert 0 <= fork(3, 0) < 2**62 and len({fork(seed, part) for seed in range(50) for part in range(20)}) == 1000
    for seed in (-1, 2**62):
        with pytest.raises(ConfigurationError, match="seed: got"):
            fork(seed, 0)
