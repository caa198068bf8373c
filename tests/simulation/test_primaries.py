import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives import jackknife_of, weighted_mean
from mode_opt.simulation import ParticleGun, Recorded


@pytest.mark.parametrize("stratified", [True, False])
def test_log_uniform_spectrum(stratified):
    gun = ParticleGun((500.0, 10_000.0), stratified=stratified)
    energy = gun.sample(50_000, torch.Generator().manual_seed(0)).truth
    assert energy.min() >= 500 and energy.max() <= 10_000
    position = (energy / 500).log() / math.log(20)
    assert position.mean().item() == pytest.approx(0.5, abs=4 * 0.289 / 50_000**0.5)
    assert position.var().item() == pytest.approx(1 / 12, rel=0.03)


def test_uniform_spectrum_and_lines():
    uniform = ParticleGun((1.0, 3.0), "uniform").sample(50_000, torch.Generator().manual_seed(0)).truth
    assert uniform.mean().item() == pytest.approx(2.0, abs=4 * 0.577 / 50_000**0.5)
    lines = ParticleGun((1.0, 2.0, 5.0), "lines").sample(3000, torch.Generator().manual_seed(0)).truth
    values, counts = lines.unique(return_counts=True)
    assert values.tolist() == [1.0, 2.0, 5.0] and counts.tolist() == [1000, 1000, 1000]  # stratified


def test_stratified_energies_make_averages_quieter():
    def scatter(stratified):
        gun = ParticleGun((500.0, 10_000.0), stratified=stratified)
        return torch.stack(
            [gun.sample(100, torch.Generator().manual_seed(k)).truth.log().mean() for k in range(100)]
        ).std()

    assert scatter(True) < 0.1 * scatter(False)


def test_the_same_seed_gives_the_same_primaries():
    gun = ParticleGun()
    first, second = (gun.sample(10, torch.Generator().manual_seed(4)).truth for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("energy", "spectrum", "message"),
    [
        ((0.0, 1.0), "uniform", "primaries.energy"),
        ((5.0, 1.0), "uniform", "positive, rising"),
        ((1.0, float("nan")), "uniform", "primaries.energy"),
        ((1.0, 2.0, 3.0), "log_uniform", r"\[low, high\]"),
        ((1.0, 2.0), "gaussian", "primaries.spectrum"),
    ],
)
def test_bad_spectra_are_refused(energy, spectrum, message):
    with pytest.raises(ConfigurationError, match=message):
        ParticleGun(energy, spectrum)


def test_recorded_primaries_are_replayed_with_their_weights():
    numbers = torch.arange(5.0).reshape(1, 5)
    events = Events.of(numbers[..., None], torch.zeros(1, 5, 2, 3), weight=numbers)
    replayed = Recorded(events, ["energy"], ["MeV"]).sample(100, torch.Generator().manual_seed(0))
    assert torch.equal(replayed.truth[..., 0], replayed.weight)
    assert set(replayed.weight.unique().tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}


def test_recorded_primaries_need_events_and_names():
    empty = Events.of(torch.zeros(1, 0, 1), torch.zeros(1, 0, 1, 1))
    with pytest.raises(ConfigurationError, match="at least one event"):
        Recorded(empty, ["energy"], ["MeV"])
    with pytest.raises(ConfigurationError, match="1 names and units"):
        Recorded(Events.of(torch.zeros(1, 2, 1), torch.zeros(1, 2, 1, 1)), ["a", "b"], ["mm", "mm"])


def numbered(count):
    """Recorded events that carry their number."""
    numbers = torch.arange(float(count)).reshape(1, count, 1)
    return Recorded(Events.of(numbers, torch.zeros(1, count, 1, 1)), ["energy"], ["MeV"])


def drawn(known, count, seed=0):
    return numbered(known).sample(count, torch.Generator().manual_seed(seed)).truth.flatten().long()


@settings(deadline=None, max_examples=60)
@given(known=st.integers(40, 500), count=st.integers(1, 3000), seed=st.integers(0, 5))
def test_repetitions_of_a_record_are_in_one_group_of_the_jackknife(known, count, seed):
    """As long as there are enough, none comes twice; if not, all come, each in one group of 8, 10 or 20."""
    numbers = drawn(known, count, seed)
    times = torch.bincount(numbers, minlength=known)
    if known >= 16 * count:
        return
    if count <= known:
        assert times.max() == 1
        return
    length = -(-known // 40) * 40
    assert count < length or (times.min() >= count // length and times.max() <= 2 * -(-count // length))
    for groups in (8, 10, 20):
        group = torch.arange(count) % groups
        first = torch.full((known,), groups).scatter_reduce(0, numbers, group, "amin")
        assert torch.equal(first[numbers], group)


@pytest.mark.parametrize("known", [7, 50, 224, 1000])
def test_each_record_comes_equally_often_on_average(known):
    """Over 400 seeds; more asked for than there are, and less."""
    for count in (known // 2, 5 * known):
        times = sum(torch.bincount(drawn(known, count, seed), minlength=known).double() for seed in range(400))
        expected = 400 * count / known
        assert times.sum() == 400 * count
        # A record comes at most twice as often as the others in a call: its variance is that of few draws at most.
        assert ((times - expected).abs() < 5 * (2 * expected * max(1.0, count / known)) ** 0.5 + 1e-9).all()


def test_far_more_records_than_are_asked_for_are_drawn_with_few_repetitions():
    numbers = drawn(100_000, 5000)
    assert len(numbers.unique()) > 4800 and not torch.equal(numbers, drawn(100_000, 5000, seed=1))


def test_a_standard_error_is_that_of_the_records():
    """The mean of 200 records, replayed 2000 times: its scatter over sets of records is 1/√200, and so is its error."""
    means, errors = [], []
    for seed in range(60):
        x = torch.randn(1, 200, 1, generator=torch.Generator().manual_seed(seed))
        source = Recorded(Events.of(x, x.unsqueeze(2)), ["x"], [""])
        events = source.sample(2000, torch.Generator().manual_seed(1000 + seed))
        found = jackknife_of(lambda e, phi: weighted_mean(e.truth[..., 0], e.weight), events, DesignPoint.of(x=1.0))
        means.append(found.estimate().value)
        errors.append(found.estimate().standard_error)
    pulls = torch.tensor(means) / torch.tensor(errors)
    assert abs(pulls.std().item() - 1) < 4 * 0.1  # 60 pulls, 19 degrees each; with repetitions taken for events: 3.2
    assert torch.tensor(errors).mean().item() == pytest.approx(200**-0.5, rel=0.1)
