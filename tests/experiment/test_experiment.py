import copy

import pytest
import torch
from toys import ClosedGauge, Counter, Gauge, gun, network, one_parameter, resolution

from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.experiment import (
    Alternation,
    Detector,
    Effort,
    Experiment,
    Optimisers,
    VerificationEffort,
    optimise,
    verify,
)
from mode_opt.gradients import Pathwise
from mode_opt.objectives import Objective

SMALL = Effort(events=256, warm_up=50, reconstruction_steps=2, designs=4, events_per_design=64, validation_events=512)
QUICK = VerificationEffort(steps=200, batch=256, events=5000, replicas=2, bins=4)


def experiment(simulator=None, start=1.0, seed=0, **parts):
    torch.manual_seed(seed)
    return Experiment(one_parameter(start), simulator or Gauge(), gun(), network, resolution(), **parts)


def optimisers(built, rate=0.1):
    return Optimisers(
        torch.optim.Adam(built.reconstruction.parameters(), lr=3e-3), torch.optim.Adam([built.design.psi], lr=rate)
    )


@pytest.mark.parametrize("simulator", [Gauge(), ClosedGauge()], ids=["pathwise", "finite differences"])
def test_the_optimum_is_found_and_verified(simulator):
    """Best at x = 3 with resolution 0.05 (the mean of a log-normal belief); the start, x = 1, has 0.206."""
    outcome = optimise(experiment(simulator), steps=80, effort=SMALL, verification=QUICK, learning_rates=(3e-3, 0.1))
    assert outcome.final["x"]["value"] == pytest.approx(3.0, abs=0.3)
    assert outcome.initial["x"]["value"] == pytest.approx(1.0, abs=1e-4)
    result = outcome.verification
    assert result.final.value == pytest.approx(0.05, rel=0.06)
    assert result.initial.value == pytest.approx(0.2, rel=0.1)
    assert result.improvement.value == pytest.approx(result.initial.value - result.final.value)
    assert result.improvement.value > 10 * result.improvement.standard_error
    assert "x" in str(outcome) and "improvement" in str(outcome)


def test_no_improvement_is_claimed_where_there_is_none():
    """Start and final are the same design: the difference is exactly zero, as everything is paired."""
    built = experiment(start=3.0)
    result = verify(built, {"initial": built.design().detach(), "final": built.design().detach()}, QUICK)
    assert result.improvement.value == 0.0
    assert result.initial == result.final


def test_equal_designs_with_other_seeds_agree_within_their_errors():
    built = experiment(start=2.0)
    point = built.design().detach()
    estimates = [verify(built, {"initial": point, "final": point}, QUICK, seed).initial for seed in range(6)]
    values = torch.tensor([e.value for e in estimates])
    error = torch.tensor([e.standard_error for e in estimates]).square().mean().sqrt()
    assert 0.4 < values.std() / error < 2.0  # 5 degrees of freedom, about 99 %


def test_curves_hold_resolution_and_bias_per_bin():
    built = experiment(start=3.0)
    rows = verify(built, {"initial": built.design().detach(), "final": built.design().detach()}, QUICK).curves
    assert len(rows) == 2 * QUICK.bins and {row["design"] for row in rows} == {"initial", "final"}
    for row in rows:
        assert row["low"] <= row["mean"] <= row["high"] and row["quantity"] == "energy" and row["unit"] == "MeV"
        assert row["resolution"] == pytest.approx(0.05, abs=5 * row["resolution_standard_error"] + 0.01)


def test_steps_are_reproducible_and_a_saved_state_continues_bit_for_bit():
    whole = Alternation(experiment(), SMALL, seed=3)
    first = optimisers(whole.experiment)
    list(whole.warm_up(first))
    for _ in range(3):
        whole.step(first)
    state = copy.deepcopy((whole.state_dict(), first.design.state_dict(), first.reconstruction.state_dict()))
    expected = [whole.step(first).columns for _ in range(3)]

    resumed = Alternation(experiment(seed=99), SMALL, seed=3)
    resumed.load_state_dict(state[0])
    second = optimisers(resumed.experiment)
    second.design.load_state_dict(state[1])
    second.reconstruction.load_state_dict(state[2])
    assert [resumed.step(second).columns for _ in range(3)] == expected
    assert torch.equal(resumed.average, whole.average)


def test_calls_are_counted():
    built = Alternation(experiment(), SMALL)
    before = built.experiment.simulator_calls
    built.step(optimisers(built.experiment))
    assert built.experiment.simulator_calls - before == 256 + 2 * 4 * 64


def test_a_wrong_pair_is_refused_when_the_experiment_is_built():
    with pytest.raises(ConfigurationError, match=r"Pathwise.*Counter"):
        experiment(Counter(), gradient=Pathwise())


class Broken(Objective):
    def forward(self, events, belief, phi):
        return phi["x"].sum(-1) * float("nan")


def test_a_nan_objective_stops_before_anything_of_the_design_changes():
    built = Experiment(one_parameter(), Gauge(), gun(), network, Broken())
    alternation = Alternation(built, SMALL)
    before = built.design.psi.detach().clone()
    with pytest.raises(NonFiniteError, match="objective is nan at step 0"):
        alternation.step(optimisers(built))
    assert torch.equal(built.design.psi, before) and int(alternation.steps) == 0


def test_a_design_with_nothing_free_cannot_be_optimised():
    design = one_parameter()
    fixed = type(design)({"x": {"start": 1.0, "bounds": [0.5, 6.0], "unit": "mm", "free": False}})
    built = Experiment(fixed, Gauge(), gun(), network, resolution())
    with pytest.raises(ConfigurationError, match="free"):
        Alternation(built)


def test_the_detector_builds_a_simulator_only_when_it_is_chosen():
    built = []

    def factory(progress):
        built.append(1)
        progress("training", 0.5)
        return Gauge()

    detector = Detector("d", one_parameter(), {"a": Gauge(), "b": factory}, gun(), network, resolution())
    assert Experiment.of(detector).simulator.simulator is detector.simulators["a"] and not built
    Experiment.of(detector, simulator="b")
    assert built == [1]
    with pytest.raises(ConfigurationError, match="simulator: got 'c', expected one of a, b of d"):
        detector.simulator("c")


@pytest.mark.parametrize(("key", "value"), [("events", 1), ("events", -5), ("check_every", 0), ("designs", "many")])
def test_bad_effort_is_refused(key, value):
    with pytest.raises(ConfigurationError, match=f"effort.{key}"):
        Effort(**{key: value})


def test_bad_verification_effort_is_refused():
    with pytest.raises(ConfigurationError, match=r"verification\.events: got 3"):
        VerificationEffort(events=3)
    built = experiment()
    with pytest.raises(ConfigurationError, match="initial and final"):
        verify(built, {"start": built.design()})
