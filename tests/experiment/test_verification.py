"""What the verification promises: the same effort, the same primaries, and events no training has seen."""

import pytest
import torch
from exact import Mirror, Noted, Reading, reading_experiment, sigma
from torch import nn
from toys import Gauge, gun, one_parameter

from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.experiment import Experiment, VerificationEffort, verify
from mode_opt.objectives import Objective, Resolution, weighted_mean
from mode_opt.reconstruction import PriorBelief, Reconstruction, normal
from mode_opt.simulation import Recorded


def two(start=1.0, end=3.0):
    return {"initial": one_parameter(start)().detach(), "final": one_parameter(end)().detach()}


def test_both_designs_get_the_same_events_and_none_of_them_twice():
    """Seed and number of events of each call: equal for both designs; measured on events that trained nothing."""
    simulator = Noted(Gauge())
    built = reading_experiment(simulator)
    simulator.calls.clear()  # of a first look when it was built
    verify(built, two(), VerificationEffort(steps=3, batch=64, events=500, replicas=2), seed=4)
    calls = {
        x: [(seed, count) for seed, phi, count in simulator.calls if phi.item() == pytest.approx(x, abs=1e-3)]
        for x in (1.0, 3.0)
    }
    assert calls[1.0] == calls[3.0] and len(calls[1.0]) == 2 * (3 + 1)
    training = [seed for seed, count in calls[1.0] if count == 64]
    measuring = [seed for seed, count in calls[1.0] if count == 500]
    assert len(training) == len(set(training)) == 6
    assert len(measuring) == 2 and len(set(measuring)) == 1 and not set(measuring) & set(training)


def test_a_pool_is_simulated_once_for_each_training():
    """Events cost pool + measurement, whatever the number of steps; batches are drawn from all of the pool."""
    simulator = Noted(Gauge())
    built = reading_experiment(simulator)
    simulator.calls.clear()
    effort = VerificationEffort(steps=50, batch=64, pool=300, events=500, replicas=2)
    measured = verify(built, two(), effort, seed=4)
    counts = sorted(count for _, phi, count in simulator.calls if phi.item() == pytest.approx(1.0, abs=1e-3))
    assert counts == [300, 300, 500, 500]
    seeds = {seed for seed, _, count in simulator.calls if count == 300}
    assert len(seeds) == 2 and not seeds & {seed for seed, _, count in simulator.calls if count == 500}
    assert measured.improvement.value != 0


def test_a_pool_smaller_than_a_batch_is_refused():
    with pytest.raises(ConfigurationError, match=r"verification\.pool.*at least 64"):
        VerificationEffort(batch=64, pool=10)


def test_the_error_of_common_events_does_not_average_down_over_trainings():
    """A reconstruction with nothing to train: three replicas are one measurement, made three times."""
    built = reading_experiment()
    built.reconstruction.requires_grad_(False)
    once, thrice = (verify(built, two(), VerificationEffort(events=2000, replicas=k)) for k in (1, 3))
    assert thrice.initial.standard_error == pytest.approx(once.initial.standard_error)
    assert thrice.initial.value == pytest.approx(once.initial.value)
    assert once.initial.standard_error == pytest.approx(sigma(1.0) / (2 * 2000) ** 0.5, rel=0.5)  # 19 degrees: 16 %


def test_the_scatter_of_trainings_is_an_error_too():
    """With two trainings of values a and b the variance of their mean holds (a − b)²/4."""
    built = reading_experiment(gain=1.2)
    hasty = {"steps": 4, "batch": 2, "events": 4000, "learning_rate": 0.1}
    first = verify(built, two(), VerificationEffort(replicas=1, **hasty)).final
    both = verify(built, two(), VerificationEffort(replicas=2, **hasty)).final
    half = abs(both.value - first.value)
    assert half > 3 * first.standard_error, "the trainings must differ for this test to say anything"
    assert both.standard_error > half


class Far(Reconstruction):
    """A bias so large that each step of Adam moves it by the learning rate."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(10_000.0))

    def forward(self, events, phi):
        return normal(events.hits[:, :, 0] + self.bias, torch.full_like(events.truth, 100.0))


class Bias(Objective):
    def forward(self, events, belief, phi):
        return weighted_mean((belief.mean - events.truth)[..., 0], events.weight)


def test_the_learning_rate_falls_to_zero_as_a_cosine():
    """Σ_t η/2 (1 + cos πt/T) = η (T + 1)/2."""
    built = Experiment(one_parameter(), Mirror(), gun(), Far(), Bias())
    effort = VerificationEffort(steps=100, batch=4, events=100, replicas=1, learning_rate=2.0)
    moved = 10_000 - verify(built, two(), effort).final.value
    assert moved == pytest.approx(2.0 * 101 / 2, rel=5e-3)  # the slope falls by 1 %


def test_residuals_of_a_known_bias_and_the_weights_of_the_events():
    """Half of the primaries have weight and are read 10 % high, the others are read five times as high."""
    truth = torch.linspace(100, 1000, 400).reshape(1, 400, 1)
    good = (torch.arange(400) % 2 == 0).float().reshape(1, 400)
    hits = (truth * (1.1 * good + 5.0 * (1 - good)).unsqueeze(-1)).unsqueeze(-1)
    primaries = Recorded(Events.of(truth, hits, weight=good), ["energy"], ["MeV"])
    built = reading_experiment(Mirror(), primaries=primaries)
    result = verify(built, two(), VerificationEffort(steps=0, events=2000, replicas=1, bins=3))
    assert len(result.curves) == 6
    for row in result.curves:
        assert row["bias"] == pytest.approx(0.1, abs=1e-4) and row["resolution"] == pytest.approx(0.1, abs=1e-4)
    assert result.final.value == pytest.approx(0.1, abs=1e-4)


def test_standard_errors_of_the_curves_are_those_of_a_gaussian():
    """σ/√n of the bias, σ/√2n of the resolution; of √n of 5000, the scatter of both is far below 10 %."""
    rows = verify(reading_experiment(), two(), VerificationEffort(steps=0, events=20_000, replicas=1, bins=4)).curves
    for row in rows:
        width = sigma(1.0 if row["design"] == "initial" else 3.0)
        assert row["events"] == 5000
        assert row["bias_standard_error"] == pytest.approx(width / 5000**0.5, rel=0.1)
        assert row["resolution_standard_error"] == pytest.approx(width / 10_000**0.5, rel=0.1)
        assert abs(row["bias"]) < 4 * row["bias_standard_error"]
        assert abs(row["resolution"] - width) < 4 * row["resolution_standard_error"]


def test_improvement_is_paired_and_positive_where_the_final_design_is_better():
    """Read off without training: J = σ(x). The noise is common, so r ∝ σ(x) and the difference is σ₁ − σ₃ times one
    sample rms: its relative error is that of J itself, 1/√2n."""
    built = reading_experiment()
    result = verify(built, two(), VerificationEffort(steps=0, events=20_000, replicas=1))
    exact = sigma(1.0) - sigma(3.0)
    assert abs(result.improvement.value - exact) < 4 * exact / 40_000**0.5
    assert 0 < result.improvement.standard_error < 1.8 * exact / 40_000**0.5


def test_truth_of_either_sign_has_absolute_residuals():
    truth = torch.linspace(-1, 1, 200).reshape(1, 200, 1)
    primaries = Recorded(Events.of(truth, truth.unsqueeze(-1) + 0.5), ["angle"], ["rad"])
    built = reading_experiment(Mirror(), primaries=primaries, objective=Resolution(relative=False, width="rms"))
    assert isinstance(built.reconstruction, Reading)
    for row in verify(built, two(), VerificationEffort(steps=0, events=1000, replicas=1, bins=2)).curves:
        assert row["residual"] == "absolute" and row["bias"] == pytest.approx(0.5, abs=1e-5)


def test_without_a_reconstruction_there_is_one_replica_and_no_resolution_to_show():
    """A `PriorBelief` has nothing to train: replicas would be copies, and its residuals say nothing of a design."""
    experiment = Experiment(one_parameter(1.5), Gauge(), gun(), PriorBelief(), Resolution())
    calls = experiment.simulator_calls
    found = verify(experiment, two(), VerificationEffort(events=200, replicas=3), 1)
    assert found.curves == []
    assert experiment.simulator_calls - calls == 2 * 200
