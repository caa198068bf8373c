"""Limits on objectives in an ordinary optimisation: multipliers that go to where they belong."""

import math

import pytest
import torch
from exact import reading_experiment, sigma

from mode_opt.experiment import Alternation, Effort, Experiment, Optimisers, VerificationEffort, optimise
from mode_opt.experiment.limits import updated
from mode_opt.objectives import Constrained, DesignCost, Objective, Resolution
from mode_opt.search import RandomSearch
from mode_opt.simulation import stream
from mode_opt.training.stopping import EarlyStopping

BARE = Effort(events=512, warm_up=0, reconstruction_steps=0, validation_events=512, multiplier_every=25)
QUICK = VerificationEffort(steps=0, events=2000, replicas=1, bins=2)


def limited(rho: float = 0.5, level: float = 2.0, **options) -> Constrained:
    """σ(x), best at x = 3, with x at most ``level``: the multiplier is −σ'(level), per unit of the scale."""
    return Constrained(
        Resolution(width="rms"), {"size": DesignCost("x")}, {"size": level}, {"size": 1.0}, rho, **options
    )


def descent(built: Experiment) -> Optimisers:
    return Optimisers(
        torch.optim.SGD(built.reconstruction.parameters(), lr=0.0), torch.optim.Adam([built.design.psi], lr=0.03)
    )


def test_an_optimisation_ends_at_its_limit_and_the_multiplier_is_the_slope():
    """At x = 2 stationarity of σ + λ (x − 2) gives λ = −σ'(2) = 0.01/σ(2)."""
    outcome = optimise(
        reading_experiment(objective=limited(), start=1.0), 300, 0, BARE, QUICK, learning_rates=(1e-9, 0.03)
    )
    assert outcome.final["x"]["value"] == pytest.approx(2.0, abs=0.02)
    columns = [record.columns for record in outcome.history]
    assert columns[-1]["multiplier/size"] == pytest.approx(0.01 / sigma(2.0), rel=0.1)
    updates = [record.step for record in outcome.history if "excess/size" in record.columns]
    assert updates == list(range(25, 301, 25))
    assert columns[updates[-1] - 1]["excess/size"] == pytest.approx(0.0, abs=0.02)
    size = outcome.verification.parts["size"].final
    assert size.value == pytest.approx(2.0, abs=0.02) and size.standard_error < 1e-5


def test_without_updates_a_soft_penalty_breaks_its_limit():
    """What the updates are for: at ρ = 0.5 the penalty alone ends at x − 2 ≈ λ/ρ = 0.18 and less."""
    rare = Effort(**{**vars(BARE), "multiplier_every": 10_000})
    outcome = optimise(reading_experiment(objective=limited()), 200, 0, rare, QUICK, learning_rates=(1e-9, 0.03))
    assert 2.08 < outcome.final["x"]["value"] < 2.2


def test_a_limit_that_does_not_hold_the_design_costs_nothing_and_an_infinite_one_only_measures():
    for level in (4.0, math.inf):
        built = reading_experiment(objective=limited(level=level), start=2.5)
        outcome = optimise(built, 100, 0, BARE, QUICK, learning_rates=(1e-9, 0.05))
        assert outcome.final["x"]["value"] == pytest.approx(3.0, abs=0.1)
        last = outcome.history[-1].columns
        assert last["multiplier/size"] == 0.0 and ("excess/size" in last) == math.isfinite(level)
        parts, whole = outcome.verification.parts, outcome.verification.final.value
        assert parts["objective"].final.value == pytest.approx(whole, rel=1e-5)
        assert parts["size"].final.value == pytest.approx(outcome.final["x"]["value"], rel=1e-3)


def test_a_saved_state_continues_with_its_multipliers():
    def made():
        built = reading_experiment(objective=limited())
        return Alternation(built, BARE), descent(built)

    straight, optimisers = made()
    for _ in range(60):
        straight.step(optimisers)
    first, optimisers = made()
    for _ in range(40):
        first.step(optimisers)
    again, fresh = made()
    again.load_state_dict(first.state_dict())
    fresh.design.load_state_dict(optimisers.design.state_dict())
    for _ in range(20):
        again.step(fresh)
    assert again.experiment.objective.multipliers.item() > 0
    assert torch.equal(again.experiment.objective.multipliers, straight.experiment.objective.multipliers)
    assert torch.equal(again.experiment.design.psi, straight.experiment.design.psi)


def test_earlier_validations_are_judged_by_the_present_multipliers():
    """While λ rises the value of a broken limit rises: without that, no later design would ever look better."""
    objective = limited()
    alternation = Alternation(reading_experiment(objective=objective, start=2.5), BARE)
    estimate, parts = alternation.validation()
    row = {"validation": estimate.value, "validation_standard_error": estimate.standard_error, **parts}
    assert parts["validation/size"] == pytest.approx(2.5, rel=1e-4)
    assert parts["validation/objective"] == pytest.approx(sigma(2.5), rel=0.2)
    assert alternation.judged(row) == pytest.approx(estimate.value, rel=1e-5)
    objective.update(torch.tensor([[0.4]]))
    assert alternation.judged(row) == pytest.approx(estimate.value + 0.2 * 0.5, rel=1e-4)  # λ g on top
    broken, kept = {**row, "validation/size": 2.5}, {**row, "validation/size": 2.0}
    kept["validation/objective"] = row["validation/objective"] + 0.05
    never = EarlyStopping(patience=1, significance=0.0)
    assert never.exhausted([(0.1, 0.0), (0.15, 0.0)])
    assert not never.exhausted([(alternation.judged(r), 0.0) for r in (broken, kept)])
    assert Alternation(reading_experiment(), BARE).judged({"validation": 0.3}) == 0.3


def test_a_search_counts_earlier_designs_with_the_present_multipliers():
    """Its limit is kept at the answer, not where it looks next; the value of an earlier design is that of its parts."""
    torch.manual_seed(0)
    built = reading_experiment(start=2.5)
    search, objective = RandomSearch(events=200), limited(rho=2.0, level=1.0)
    searching = Experiment(
        built.design, built.simulator.simulator, built.primaries, built.reconstruction, objective, search
    )
    alternation = Alternation(searching, Effort(**{**vars(BARE), "multiplier_every": 4}))
    optimisers = descent(searching)
    for _ in range(4):
        record = alternation.step(optimisers)
    answer = alternation.design["x"].item()
    assert record.columns["excess/size"] == pytest.approx(answer - 1.0, abs=1e-3)
    assert objective.multipliers.item() == pytest.approx(2.0 * (answer - 1.0), abs=1e-3)
    pipeline = searching.pipeline()
    x = searching.design.point(search.told.psi.to(searching.design.psi))["x"][:, 0].detach().double()
    values, known = search.losses(pipeline), objective.multipliers.double()
    penalty = (torch.relu(known + 2 * (x - 1)) ** 2 - known**2) / 4
    torch.testing.assert_close(values, search.told.goals[:, 0] + penalty, rtol=1e-4, atol=1e-5)


def test_multipliers_wait_where_the_objective_has_no_value():
    class Lost(Objective):
        def forward(self, events, belief, phi):
            return phi["x"][:, 0] * math.nan

    objective = Constrained(DesignCost("x"), {"lost": Lost()}, {"lost": 1.0}, multipliers={"lost": 0.5})
    built = reading_experiment(objective=objective)
    columns, notes = updated(built, built.design().detach(), 16, built.reconstruction, stream("cpu", 0))
    assert columns == {} and "finite" in notes[0] and objective.multipliers.item() == 0.5
