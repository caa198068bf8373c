"""Closed forms of what a design step, a validation and the end of an optimisation do."""

import math

import pytest
import torch
from exact import Mirror, Noted, Reading, reading_experiment, sigma
from toys import Gauge, gun, one_parameter

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.experiment import Alternation, Effort, Experiment, Optimisers, VerificationEffort, optimise
from mode_opt.objectives import DesignCost, Resolution

BARE = Effort(events=256, warm_up=0, reconstruction_steps=0, designs=4, events_per_design=32, validation_events=256)
QUICK = VerificationEffort(steps=0, events=2000, replicas=1, bins=2)


def descent(built, rate=0.1, slow=0.0):
    """Plain gradient descent of the design; the reconstruction stays as it is unless ``slow`` is not zero."""
    return Optimisers(
        torch.optim.SGD(built.reconstruction.parameters(), lr=slow), torch.optim.SGD([built.design.psi], lr=rate)
    )


def slope(built):
    """dφ/dψ at the present design."""
    return torch.autograd.grad(built.design()["x"].sum(), built.design.psi)[0].item()


def test_the_answer_is_the_average_that_forgets_its_beginning():
    """γ_k = 9/(k + 8) gives ψ_k the weight C(k + 7, 8)."""
    built = reading_experiment(objective=DesignCost("x"))
    alternation, optimisers = Alternation(built, BARE), descent(built, rate=0.5)
    visited = []
    for _ in range(12):
        alternation.step(optimisers)
        visited.append(built.design.psi.item())
    weights = [math.comb(k + 7, 8) for k in range(1, 13)]
    expected = sum(w * psi for w, psi in zip(weights, visited, strict=True)) / sum(weights)
    assert alternation.average.item() == pytest.approx(expected, rel=1e-5)
    assert alternation.average.item() != pytest.approx(visited[-1], rel=1e-2)
    alternation.finish()
    assert built.design.psi.item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(built.design.psi.detach(), alternation.average)


def test_each_step_has_the_gradient_of_its_own_design():
    """dJ/dψ of the cost x is dφ/dψ: no sum over steps, no penalty."""
    built = reading_experiment(objective=DesignCost("x"))
    alternation, optimisers = Alternation(built, BARE), descent(built)
    for _ in range(3):
        expected, before = slope(built), built.design.psi.item()
        row = alternation.step(optimisers).columns
        assert row["gradient_norm"] == pytest.approx(abs(expected), rel=1e-5)
        assert built.design.psi.item() - before == pytest.approx(-0.1 * expected, rel=1e-4)


def test_a_steep_gradient_is_clipped_in_the_step_and_recorded_as_it_was():
    built = reading_experiment(objective=DesignCost("x", scale=1e-6))
    steep, before = slope(built) * 1e6, built.design.psi.item()
    alternation = Alternation(built, Effort(**{**vars(BARE), "clip": 2.0}))
    row = alternation.step(descent(built, rate=0.1)).columns
    assert row["gradient_norm"] == pytest.approx(abs(steep), rel=1e-4)
    assert abs(built.design.psi.item() - before) == pytest.approx(0.1 * 2.0, rel=1e-4)


def test_no_step_draws_the_numbers_of_another():
    """Training, design steps and validation have seeds of their own; validations share theirs."""
    simulator = Noted(Gauge())
    built = reading_experiment(simulator)
    effort = Effort(**{**vars(BARE), "reconstruction_steps": 2, "warm_up": 3, "events": 512})
    alternation, optimisers = Alternation(built, effort, seed=5), descent(built)
    list(alternation.warm_up(optimisers))
    validations = []
    for _ in range(3):
        alternation.step(optimisers)
        validations.append(alternation.validate())
    seeds = {count: [seed for seed, _, n in simulator.calls if n == count] for count in (32, 512, 256)}
    assert [len(seeds[count]) for count in (32, 512, 256)] == [3 + 3 * 2, 3, 3]
    assert len(set(seeds[32])) == 9 and len(set(seeds[512])) == 3 and len(set(seeds[256])) == 1
    assert len(set(seeds[32]) | set(seeds[512]) | set(seeds[256])) == 9 + 3 + 1
    other = Noted(Gauge())
    Alternation(reading_experiment(other), effort, seed=6).validate()
    assert other.calls[0][0] not in seeds[256]


def test_the_reconstruction_trains_in_the_neighbourhood():
    """Designs within ``radius`` half ranges of the present one, which is the first; no two alike."""
    simulator = Noted(Gauge())
    built = reading_experiment(simulator, start=3.0)
    alternation = Alternation(built, Effort(**{**vars(BARE), "reconstruction_steps": 1, "radius": 0.1}))
    alternation.step(descent(built))
    (designs,) = (phi[:, 0] for _, phi, count in simulator.calls if count == 32)
    assert len(designs) == 4 and designs[0].item() == pytest.approx(3.0, rel=1e-4)
    assert (designs - 3.0).abs().max() <= 0.1 * (6.0 - 0.5) / 2 + 1e-4
    assert designs.sort().values.diff().min() > 1e-3 and designs.std() > 0.05


def test_validation_measures_the_average_and_not_the_last_iterate():
    built = reading_experiment(start=3.0)
    alternation = Alternation(built, Effort(**{**vars(BARE), "validation_events": 4096}))
    alternation.average.copy_(one_parameter(1.0).psi.detach())
    found = alternation.validate()
    assert abs(found.value - sigma(1.0)) < 4 * found.standard_error < 0.25 * sigma(1.0)


def test_design_step_and_validation_use_the_averaged_weights():
    """Weights of the moment that are wrong by a factor of five are not seen."""
    built = reading_experiment(start=3.0)
    alternation = Alternation(built, BARE)
    with torch.no_grad():
        built.reconstruction.gain.fill_(5.0)
    assert alternation.step(descent(built, rate=0.0)).objective.value == pytest.approx(0.05, rel=0.3)
    assert alternation.validate().value == pytest.approx(0.05, rel=0.3)


def test_weights_are_averaged_over_the_memory():
    """p̄₁ = p₁, then p̄ ← p̄ + (p − p̄)/memory."""
    built = reading_experiment(gain=2.0)
    alternation = Alternation(built, Effort(**{**vars(BARE), "warm_up": 6, "memory": 4}))
    expected = None
    for _ in alternation.warm_up(descent(built, slow=1e-4)):
        gain = built.reconstruction.gain.item()
        expected = gain if expected is None else expected + (gain - expected) / 4
        assert alternation.reconstruction.module.gain.item() == pytest.approx(expected, rel=1e-5)
    assert built.reconstruction.gain.item() != pytest.approx(expected, rel=1e-3)


def test_the_loss_of_the_reconstruction_knows_the_weights():
    built = reading_experiment()
    truth, hits = torch.tensor([[[100.0], [100.0]]]), torch.tensor([[[[100.0]], [[200.0]]]])
    phi = built.design()
    both = [Events.of(truth, hits, weight=torch.tensor([w])) for w in ([1.0, 0.0], [0.0, 1.0], [3.0, 1.0])]
    first, second, mixed = (built.lesson(events, phi).item() for events in both)
    assert first == pytest.approx(math.log(10 * math.sqrt(2 * math.pi)), rel=1e-5)
    assert second == pytest.approx(math.log(20 * math.sqrt(2 * math.pi)) + 12.5, rel=1e-5)  # 5σ off
    assert mixed == pytest.approx(0.75 * first + 0.25 * second, rel=1e-5)


def thin(start=3.0):
    return Design({"x": {"start": start, "bounds": [0.5, 6.0], "unit": "mm"}}, constraints=["x * x <= 4 mm^2"])


def test_the_objective_of_a_violated_design_is_reported_without_penalty():
    """At x = 3 the penalty of x² ≤ 4 is 10/2 (5/4)², far above J = 0.05."""
    built = reading_experiment(design=thin())
    record = Alternation(built, BARE).step(descent(built, rate=0.0))
    assert record.objective.value == pytest.approx(sigma(3.0), abs=4 * sigma(3.0) / (2 * 256) ** 0.5)
    assert record.columns["constraint/x * x"] == pytest.approx(9.0, rel=1e-4)


def test_a_violated_constraint_is_satisfied_at_the_end_and_its_multiplier_is_its_price():
    """The free optimum is x = 3. At x = 2 stationarity of J + λ (x² − 4)/4 gives λ = −J'(2) = 0.1/(10 · 0.1118)."""
    built = reading_experiment(design=thin())
    effort = Effort(**{**vars(BARE), "events": 4096, "multiplier_every": 50})
    outcome = optimise(built, steps=400, effort=effort, verification=QUICK, learning_rates=(1e-9, 0.03))
    last = outcome.history[-1].columns
    assert last["multiplier/x * x"] == pytest.approx(0.01 / sigma(2.0), rel=0.25)
    assert last["constraint/x * x"] == pytest.approx(4.0, rel=2e-3)
    x = outcome.final["x"]["value"]
    assert x * x <= 4.0 and x == pytest.approx(2.0, rel=2e-3)
    assert all(value.satisfied for value in built.design.constraints_at().values())
    assert outcome.initial["x"]["value"] == pytest.approx(3.0, rel=1e-4)


def test_a_start_that_violates_a_nonlinear_constraint_can_be_set_again():
    """``mode-opt verify`` sets the start of the run from its result; a linear limit still refuses."""
    design = thin(1.0)
    design.assign(thin(3.0).concrete())
    assert design()["x"].item() == pytest.approx(3.0, rel=1e-5)
    with pytest.raises(ConfigurationError, match="x: got 7"):
        design.assign({"x": 7.0})


def test_finish_goes_from_the_average_to_where_the_constraint_holds():
    built = reading_experiment(design=thin())
    alternation = Alternation(built, BARE)
    alternation.finish()
    x = built.design()["x"].item()
    assert 3.99 < x * x <= 4.0
    assert torch.equal(alternation.average, built.design.psi.detach())


def test_optimise_is_the_alternation_and_its_finish():
    """The final design is the average of the iterates, measured by a reconstruction that nothing has trained."""
    effort = Effort(**{**vars(BARE), "warm_up": 5, "reconstruction_steps": 1})
    built, rates = reading_experiment(gain=2.0), (0.05, 0.2)
    outcome = optimise(built, steps=4, seed=3, effort=effort, verification=QUICK, learning_rates=rates)
    assert built.reconstruction.gain.item() < 1.9  # has learned, but is not what verifies
    expected = (1 + 4 * sigma(1.0) ** 2) ** 0.5  # rms of 2 (1 + σ ε) − 1
    assert outcome.verification.initial.value == pytest.approx(expected, rel=0.05)

    again = reading_experiment(gain=2.0)
    alternation = Alternation(again, effort, seed=3)
    optimisers = Optimisers(
        torch.optim.Adam(again.reconstruction.parameters(), lr=rates[0]),
        torch.optim.Adam([again.design.psi], lr=rates[1]),
    )
    list(alternation.warm_up(optimisers))
    iterates = [alternation.step(optimisers).columns["x"] for _ in range(4)]
    alternation.finish()
    assert outcome.final["x"]["value"] == pytest.approx(again.design()["x"].item(), rel=1e-6)
    assert outcome.final["x"]["value"] != pytest.approx(iterates[-1], rel=1e-3)


def test_whole_numbers_and_categories_are_optimised():
    """Relaxed while they are optimised; the answer is a whole number and one of the options."""
    parameters = {
        "x": {"start": 1.0, "bounds": [0.5, 6.0], "unit": "mm"},
        "layers": {"kind": "integer", "start": 4, "bounds": [2, 9]},
        "material": {"start": "Pb", "options": ["Pb", "W", "Fe"]},
    }
    torch.manual_seed(0)
    built = Experiment(Design(parameters), Gauge(), gun(), Reading(), Resolution(width="rms"))
    effort = Effort(**{**vars(BARE), "warm_up": 2, "reconstruction_steps": 1})
    outcome = optimise(built, steps=20, effort=effort, verification=QUICK, learning_rates=(1e-3, 0.1))
    assert isinstance(outcome.final["layers"]["value"], int) and 2 <= outcome.final["layers"]["value"] <= 9
    assert outcome.final["material"]["value"] in ("Pb", "W", "Fe")
    row = outcome.history[-1].columns
    assert sum(row[f"material={name}"] for name in ("Pb", "W", "Fe")) == pytest.approx(1.0, rel=1e-5)
    assert outcome.verification.improvement.value > 4 * outcome.verification.improvement.standard_error


@pytest.mark.parametrize("simulator", [Mirror(), Gauge()], ids=lambda part: type(part).__name__)
def test_one_event_a_design_is_enough_to_train_on(simulator):
    """``events_per_design = 1``; a design gradient needs two events, for its standard error."""
    built = reading_experiment(simulator)
    effort = Effort(**{**vars(BARE), "events": 2, "warm_up": 2, "events_per_design": 1, "reconstruction_steps": 1})
    alternation = Alternation(built, effort)
    optimisers = descent(built, slow=1e-4)
    list(alternation.warm_up(optimisers))
    record = alternation.step(optimisers)
    assert math.isfinite(record.objective.value) and math.isfinite(record.objective.standard_error)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (Effort, "warm_up", 2.5),
        (Effort, "events", 2048.5),
        (Effort, "memory", 0.5),
        (Effort, "validation_events", 1),
        (VerificationEffort, "steps", 0.5),
        (VerificationEffort, "replicas", 1.5),
    ],
)
def test_counts_are_whole_numbers(kind, key, value):
    with pytest.raises(ConfigurationError, match=key):
        kind(**{key: value})


def frozen_experiment():
    """A reconstruction whose only weight is frozen: nothing to train."""
    built = reading_experiment(objective=DesignCost("x"))
    for parameter in built.reconstruction.parameters():
        parameter.requires_grad_(False)
    return built


def test_a_frozen_reconstruction_is_not_trained_and_the_design_is():
    """Only what the design steps and the validations simulate is counted."""
    built = frozen_experiment()
    effort = Effort(**{**vars(BARE), "warm_up": 5, "reconstruction_steps": 3})
    alternation, optimisers = Alternation(built, effort), descent(built, slow=1.0)
    calls, before, gain = built.simulator_calls, built.design.psi.item(), built.reconstruction.gain.item()
    for _ in alternation.warm_up(optimisers):
        pass
    row = alternation.step(optimisers).columns
    assert built.simulator_calls - calls == effort.events and math.isnan(row["reconstruction_loss"])
    assert built.reconstruction.gain.item() == gain and built.design.psi.item() != before


def test_an_optimisation_with_a_frozen_reconstruction_ends_with_a_verification():
    built = frozen_experiment()
    outcome = optimise(built, steps=4, effort=BARE, verification=QUICK)
    assert outcome.verification.improvement.value > 0
