"""The store of simulated designs: what is near, what is thrown away, what a checkpoint brings back."""

import io

import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.gradients.replay import Batch, Replay


def batch(psi, events=1, mark=0.0):
    """Designs ``b x d`` whose inputs and outputs carry the design: input = sum of ψ, output = 10 × it + ``mark``."""
    psi = torch.as_tensor(psi, dtype=torch.float32)
    number = psi.sum(1)[:, None, None, None].expand(-1, events, 1, 1)
    truth = torch.zeros(len(psi), events, 1)
    phi = DesignPoint.of(x=2 * psi)
    return Batch(psi, phi, Events.of(truth, number.clone()), Events.of(truth, 10 * number + mark))


def line(*positions, **options):
    return batch([[float(p), 0.0] for p in positions], **options)


def consistent(found):
    """Whether every row still holds one design with its own events."""
    number = found.psi.sum(1)
    return (
        torch.equal(found.phi["x"], 2 * found.psi)
        and torch.equal(found.inputs.hits[:, 0, 0, 0], number)
        and torch.equal(found.outputs.hits[:, 0, 0, 0], 10 * number)
    )


def test_the_nearest_designs_come_first():
    replay = Replay()
    replay.add(line(5, 1, 4))
    replay.add(line(2, 3, 0))
    found = replay.near(torch.tensor([[3.2, 0.0]]), calls=4)
    assert found.psi[:, 0].tolist() == [3.0, 4.0, 2.0, 5.0] and consistent(found)
    assert len(replay.near(torch.zeros(1, 2), calls=100).psi) == 6


def test_calls_are_events_and_at_least_one_design_comes_back():
    replay = Replay()
    replay.add(line(*range(8), events=5))
    assert replay.calls == 40 and replay.batches[0].calls == 40
    assert len(replay.near(torch.zeros(1, 2), calls=17).psi) == 3
    assert len(replay.near(torch.zeros(1, 2), calls=2).psi) == 1


def test_the_farthest_from_the_last_neighbourhood_go_when_it_is_full():
    replay = Replay(capacity=5)
    replay.add(line(-3, 10, 1, 9))
    replay.add(line(2, 1.5, 2.5, 2.25))
    kept = replay.batches[0]
    assert sorted(kept.psi[:, 0].tolist()) == [1.0, 1.5, 2.0, 2.25, 2.5] and consistent(kept)


def test_a_batch_larger_than_the_capacity_is_cut_and_one_design_always_stays():
    replay = Replay(capacity=3)
    replay.add(line(0, 1, 2, 3, 4))
    assert sorted(replay.batches[0].psi[:, 0].tolist()) == [1.0, 2.0, 3.0]
    small = Replay(capacity=3)
    small.add(line(0, events=8))
    assert small.calls == 8


def test_designs_with_other_numbers_of_events_are_kept_apart():
    replay = Replay()
    replay.add(line(0, 1))
    replay.add(line(2, 3, events=4))
    assert [b.outputs.count for b in replay.batches] == [1, 4] and replay.calls == 10
    assert sorted(replay.near(torch.zeros(1, 2), 100).psi[:, 0].tolist()) == [2.0, 3.0]
    replay.add(line(4))
    assert sorted(replay.near(torch.zeros(1, 2), 100).psi[:, 0].tolist()) == [0.0, 1.0, 4.0]


def test_designs_of_other_numbers_of_events_count_against_the_capacity():
    replay = Replay(capacity=10)
    replay.add(line(0, 1, events=4))
    replay.add(line(2, 3, 4))
    assert replay.calls == 10 and len(replay.batches[-1].psi) == 2


def test_rows_of_a_batch_and_their_joining():
    whole = line(0, 1, 2, 3)
    parts = [whole[torch.tensor([3, 1])], whole[torch.tensor([True, False, False, False])]]
    joined = Batch.cat(parts)
    assert joined.psi[:, 0].tolist() == [3.0, 1.0, 0.0] and consistent(joined)


def test_a_state_passes_a_file_and_comes_back():
    replay, other = Replay(), Replay()
    replay.add(line(0, 1))
    replay.add(line(2, 3, events=4))
    file = io.BytesIO()
    torch.save(replay.state(), file)
    file.seek(0)
    other.load(torch.load(file, weights_only=True), replay.batches[0].phi.layout)
    assert len(other.batches) == 2
    for mine, theirs in zip(replay.batches, other.batches, strict=True):
        assert torch.equal(mine.psi, theirs.psi) and torch.equal(mine.phi["x"], theirs.phi["x"])
        for name in ("inputs", "outputs"):
            a, b = getattr(mine, name), getattr(theirs, name)
            assert torch.equal(a.hits, b.hits) and torch.equal(a.mask, b.mask) and torch.equal(a.weight, b.weight)
            assert b.log_probability is None and b.controls is None


@pytest.mark.parametrize("recorded", [True, False])
def test_recorded_choices_are_kept_too(recorded):
    one = line(0, 1)
    events = one.outputs.with_choices(torch.ones(2, 1), torch.ones(2, 1, 3)) if recorded else one.outputs
    replay, other = Replay(), Replay()
    replay.add(Batch(one.psi, one.phi, one.inputs, events))
    other.load(replay.state(), one.phi.layout)
    assert (other.batches[0].outputs.log_probability is not None) is recorded
    assert (other.batches[0].outputs.controls is not None) is recorded
