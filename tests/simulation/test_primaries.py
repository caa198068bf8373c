import math

import pytest
import torch

from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
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


def test_recorded_primaries_are_drawn_at_random_with_replacement():
    """Each of 50 events comes 200 ± 14 times in 10 000 draws, in an order that the seed decides."""
    events = Events.of(torch.arange(50.0).reshape(1, 50, 1), torch.zeros(1, 50, 1, 1))
    source = Recorded(events, ["energy"], ["MeV"])
    first, second = (source.sample(10_000, torch.Generator().manual_seed(k)).truth.flatten() for k in (0, 1))
    counts = torch.bincount(first.long(), minlength=50).double()
    chi_square = ((counts - 200) ** 2 / 200).sum().item()
    assert abs(chi_square - 49) < 4 * 98**0.5 and not torch.equal(first, second)
