"""What every concrete search must do, on a bowl with noise."""

import io
from typing import cast

import cases
import pytest
import torch
from bowl import Bowl, bowl_pipeline, height_and_cost, searched

SEARCHES = cases.search_cases()
STEPS = 6


def bowl_with_goals(simulator=None):
    """Made of two goals, for searches that need them."""
    return bowl_pipeline(simulator, goals=("height", "cost"), scores=height_and_cost)


class Unreliable(Bowl):
    """Every third design comes back as NaN."""

    tried = 0

    def fails(self, values: torch.Tensor) -> bool:
        self.tried += 1
        return self.tried % 3 == 0

    def __init__(self) -> None:
        super().__init__()
        self.is_nan = self.fails


@pytest.mark.parametrize("kind", SEARCHES, ids=lambda kind: kind.__name__)
def test_a_step_moves_the_design_counts_its_calls_and_says_what_it_measured(kind):
    pipeline = bowl_with_goals()
    before = pipeline.design.psi.detach().clone()
    (step,) = searched(SEARCHES[kind](), pipeline, 1)
    assert not torch.equal(pipeline.design.psi, before) and torch.isfinite(pipeline.design.psi).all()
    assert torch.isfinite(torch.tensor(step.objective.value)) and step.objective.standard_error > 0
    assert int(cast(torch.Tensor, pipeline.simulator.calls)) > 0
    assert all(isinstance(value, float) for value in step.columns.values())


@pytest.mark.parametrize("kind", SEARCHES, ids=lambda kind: kind.__name__)
def test_a_saved_search_continues_bit_for_bit_and_the_same_seed_gives_the_same_designs(kind):
    whole, parted = bowl_with_goals(), bowl_with_goals()
    uninterrupted, first, second = (SEARCHES[kind]() for _ in range(3))
    expected = searched(uninterrupted, whole, STEPS)
    begun = searched(first, parted, STEPS // 2)
    file = io.BytesIO()
    torch.save({"search": first.state_dict(), "design": parted.design.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    fresh = bowl_with_goals()
    second.load_state_dict(state["search"])
    fresh.design.load_state_dict(state["design"])
    done = begun + searched(second, fresh, STEPS, first=STEPS // 2)
    assert [step.objective.value for step in done] == [step.objective.value for step in expected]
    assert torch.equal(fresh.design.psi, whole.design.psi)
    assert torch.equal(second.answer(fresh.design), uninterrupted.answer(whole.design))


@pytest.mark.parametrize("kind", SEARCHES, ids=lambda kind: kind.__name__)
def test_designs_that_fail_are_survived_and_counted(kind):
    pipeline, search = bowl_with_goals(Unreliable()), SEARCHES[kind]()
    steps = searched(search, pipeline, 3)
    assert sum(step.columns["failed_designs"] for step in steps) > 0
    assert all(torch.isfinite(torch.tensor(step.objective.value)) for step in steps)
    assert torch.isfinite(search.answer(pipeline.design)).all()
