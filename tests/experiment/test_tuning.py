"""Tuning to recorded numbers with a known best answer, its errors and its quality."""

import math
from dataclasses import replace

import pytest
import torch
import uproot

from mode_opt import Design, Experiment
from mode_opt.data import RootReader
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.experiment import tune
from mode_opt.objectives import DesignCost, Sinkhorn, WeightedSum, resampled, toy_recorded
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import DifferentiableSimulator, Opaque, PrimarySource

COUNT = 900


class Normals(PrimarySource):
    """Standard normal numbers, one from each of equally likely intervals."""

    truth_names = ("z",)
    truth_units = ("",)

    def sample(self, count, generator=None):
        uniform = (torch.arange(count) + torch.rand(count, generator=generator).clamp(0.01, 0.99)) / count
        z = torch.special.ndtri(uniform.double()).float().reshape(1, count, 1)
        return Events.of(z, z.unsqueeze(-1))


class Straight(DifferentiableSimulator):
    """``centre + width z``."""

    def __init__(self, power=1.0):
        super().__init__()
        self.power = power

    def forward(self, phi, primaries, generator=None):
        events = primaries.expand(phi.designs)
        z = events.hits.abs() ** self.power * events.hits.sign()
        return replace(events, hits=phi["centre"][..., None, None] + phi["width"][..., None, None] * z)


@pytest.fixture
def recorded(tmp_path):
    numbers = 2 + 1.5 * torch.randn(COUNT, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with uproot.recreate(tmp_path / "numbers.root") as file:
        file.mktree("t", {"x": "f8"}).extend({"x": numbers.numpy()})
    return RootReader(tmp_path / "numbers.root", ["x"]), numbers


def experiment(reader, simulator=None, objective=None, parameters=None):
    free = parameters or {"centre": {"start": 0.0, "bounds": [-9, 9]}, "width": {"start": 4.0, "bounds": [0.1, 9]}}
    distance = objective or Sinkhorn(source="hits", recorded=reader, blur=0.0, size=None)
    return Experiment(Design(free), simulator or Straight(), Normals(), PriorBelief.fitting, distance)


def test_centre_and_width_of_normal_numbers(recorded):
    """The least transport from c + w z: c = ⟨x⟩ and w = ∫ z(u) x(u) du; errors σ/√n and σ/√2n, no bias."""
    reader, x = recorded
    subject = experiment(reader)
    tuned = tune(subject, samples=40, toys=40, events=1024)
    quantiles = torch.special.ndtri((torch.arange(COUNT, dtype=torch.float64) + 0.5) / COUNT)
    assert tuned.names == ("centre", "width")
    assert float(tuned.values[0]) == pytest.approx(float(x.mean()), abs=2e-3)
    assert float(tuned.values[1]) == pytest.approx(float((quantiles * x.sort().values).mean()), rel=5e-3)
    assert list(subject.design.columns().values()) == pytest.approx(tuned.values.tolist())
    exact = 1.5 / math.sqrt(COUNT), 1.5 / math.sqrt(2 * COUNT)
    for error, spread, expected in zip(tuned.errors.tolist(), tuned.toys.std(0).tolist(), exact, strict=True):
        assert 0.6 < error / expected < 1.6 and 0.6 < spread / expected < 1.6  # ± 11 % for 40 samples
    assert bool((tuned.bias.abs() < 5 * torch.tensor(exact) / math.sqrt(40)).all())
    assert bool((tuned.simulation_errors < 0.2 * tuned.errors).all())
    assert tuned.covariance.shape == (2, 2) and abs(float(tuned.covariance[0, 1])) < 0.5 * exact[0] * exact[1]
    assert 0.02 < tuned.probability <= 1 and "centre = " in str(tuned)


def test_a_wrong_model_is_found_out(recorded):
    """|z|³ has tails that no centre and width take away."""
    assert tune(experiment(recorded[0], Straight(3.0)), samples=2, toys=20, events=1024, repetitions=2).probability == 0


def test_one_parameter_and_an_objective_made_of_others(recorded):
    reader, x = recorded
    distance = Sinkhorn(source="hits", recorded=reader, blur=0.0, size=None)
    both = WeightedSum({"a": distance, "b": DesignCost("width")}, {"a": 1.0, "b": 1e-9})
    fixed = {"centre": {"start": 0.0, "bounds": [-9, 9]}, "width": {"start": 1.5, "free": False}}
    tuned = tune(experiment(reader, objective=both, parameters=fixed), samples=10, toys=5, events=1024)
    assert tuned.names == ("centre",) and tuned.covariance.shape == (1, 1)
    assert float(tuned.values[0]) == pytest.approx(float(x.mean()), abs=5e-3)


def test_samples_of_the_recorded_events(recorded):
    distance = Sinkhorn(source="hits", recorded=recorded[0], blur=0.0, size=None)
    other = resampled(distance, torch.Generator().manual_seed(0))
    assert float(other.weights.sum()) == COUNT and other.weights.unique().tolist()[:3] == [0.0, 1.0, 2.0]
    assert bool((distance.weights == 1).all()) and torch.equal(other.values, distance.values)
    simulated = Events.of(torch.zeros(1, 4, 1), torch.tensor([1.0, 2, 3, 4]).reshape(1, 4, 1, 1))
    simulated = simulated.reweighted(torch.tensor([[0.0, 1.0, 3.0, 0.0]]))
    toy = toy_recorded(distance, simulated, None, torch.Generator().manual_seed(0))
    assert toy.values.unique().tolist() == [2.0, 3.0] and toy.values.shape == (COUNT, 1)
    assert float((toy.values == 3).double().mean()) == pytest.approx(0.75, abs=0.06)
    for function in (resampled, lambda objective: toy_recorded(objective, simulated, None)):
        with pytest.raises(ConfigurationError, match="compares with recorded events"):
            function(Sinkhorn(source="hits"))


def test_what_cannot_be_tuned_this_way(recorded):
    reader = recorded[0]
    with pytest.raises(ConfigurationError, match="a differentiable one"):
        tune(experiment(reader, Opaque(Straight())))
    whole = {"centre": {"kind": "integer", "start": 1, "bounds": [0, 9]}, "width": {"start": 1.0, "bounds": [0.1, 9]}}
    with pytest.raises(ConfigurationError, match="real parameters"):
        tune(experiment(reader, parameters=whole))
    for key in ("samples", "toys", "events", "repetitions"):
        with pytest.raises(ConfigurationError, match=f"{key}: got 0, expected at least"):
            tune(experiment(reader), **{key: 0})


def test_a_simulator_that_breaks_is_named(recorded):
    class Broken(DifferentiableSimulator):
        def forward(self, phi, primaries, generator=None):
            events = Straight()(phi, primaries, generator)
            return events.reweighted(torch.where(phi["width"] < 3, float("nan"), 1.0))

    with pytest.raises(NonFiniteError):
        tune(experiment(recorded[0], Broken()), samples=2, toys=2, events=64, repetitions=2)
