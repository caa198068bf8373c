import torch
from scipy import stats

from mode_opt.gradients.race import Race
from mode_opt.simulation.choices import hashed, uniform


def raced(weights, instalments, count=20000, seed=3):
    """Winner of each of ``count`` events with the same candidates, offered in instalments."""
    race, winner = Race(count, torch.zeros(1)), torch.full((count,), -1)
    numbers = uniform(hashed(torch.tensor(seed), torch.arange(count * len(weights))), torch.float64)
    numbers = numbers.reshape(count, len(weights))
    for part in instalments:
        event = torch.arange(count).repeat_interleave(len(part))
        candidate = torch.tensor(part).repeat(count)
        leads = race.offer(event, torch.tensor(weights)[candidate], numbers[event, candidate])
        assert len(event[leads].unique()) == len(leads)  # at most one an event
        winner[event[leads]] = candidate[leads]
    return race, winner


def test_each_wins_in_proportion_to_its_weight_however_it_arrives():
    weights = [0.5, 2.0, 0.0, 1e-3, 1.499]
    for instalments in ([[0, 1, 2, 3, 4]], [[0], [1, 2], [3, 4]], [[4], [3], [2], [1], [0]]):
        race, winner = raced(weights, instalments)
        assert torch.allclose(race.total, torch.full((20000,), sum(weights), dtype=torch.float64))
        counts = torch.bincount(winner, minlength=5).double()
        assert counts[2] == 0
        observed, expected = counts[[0, 1, 3, 4]], torch.tensor([0.5, 2.0, 1e-3, 1.499]).double() / sum(weights) * 20000
        assert stats.chisquare(observed.numpy(), (expected * 20000 / expected.sum()).numpy()).pvalue > 1e-3


def test_instalments_do_not_change_the_winner():
    weights = [0.5, 2.0, 1.0]
    winners = [raced(weights, parts, 500)[1] for parts in ([[0, 1, 2]], [[2], [1], [0]], [[1], [0, 2]])]
    assert torch.equal(winners[0], winners[1]) and torch.equal(winners[0], winners[2])


def test_without_weight_nobody_wins():
    race = Race(3, torch.zeros(1))
    leads = race.offer(torch.tensor([0, 0, 2]), torch.tensor([0.0, 0.0, 1e-40]), torch.full((3,), 0.5))
    assert leads.tolist() == [2] and race.total[:2].tolist() == [0.0, 0.0]
    assert len(race.offer(torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros(0))) == 0


def test_equal_times_have_one_winner():
    race = Race(1, torch.zeros(1))
    assert len(race.offer(torch.zeros(4, dtype=torch.int64), torch.ones(4), torch.full((4,), 0.3))) == 1
    assert len(race.offer(torch.zeros(1, dtype=torch.int64), torch.ones(1), torch.full((1,), 0.3))) == 0
