"""Every estimator that claims to be unbiased, on every small problem that knows its gradient."""

import pytest
import torch
from programs import Problem, problems
from statistical import assert_mean

from mode_opt.gradients import (
    ControlVariate,
    GradientEstimator,
    LineageCredit,
    MeasureValued,
    PrunedAlternative,
    ScoreFunction,
)
from mode_opt.simulation import BranchingProgram, stream
from mode_opt.simulation.choices import Drawing
from mode_opt.simulation.program import draw_seed
from mode_opt.simulation.running import run

BATCHES, EVENTS = 24, 8192

PROBLEMS = {problem.name: problem for problem in problems()}

# One line an estimator: from a problem, the estimator, or None where it does not apply.
UNBIASED = {
    "score function": lambda problem: ScoreFunction(),
    "score function, leave-one-out alone": lambda problem: ScoreFunction(controls=False),
    "score function, learned baseline": lambda problem: ScoreFunction("learned"),
    "lineage credit": lambda problem: LineageCredit() if isinstance(problem.simulator, BranchingProgram) else None,
    "pruned alternative": lambda problem: PrunedAlternative(),
    "measure-valued": lambda problem: MeasureValued(),
    "control variate": lambda problem: ControlVariate(problem.twin) if problem.twin else None,
}


def gradients(estimator: GradientEstimator, problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """J and dJ/dφ of each batch."""
    design, primaries = problem.design(), problem.primaries(EVENTS)
    # Each column of φ depends on its column of ψ alone.
    (slope,) = torch.autograd.grad(design().values.sum(), design.psi)
    values, found = [], []
    for batch in range(BATCHES):
        loss = estimator.loss(problem.simulator, design, primaries, problem.score, stream("cpu", 31, batch))
        design.psi.grad = None
        loss.backward(inputs=[design.psi])
        values.append(loss.detach())
        found.append(design.psi.grad[0] / slope[0])
    return torch.stack(values), torch.stack(found)


CASES = [
    pytest.param(problem, build(problem), id=f"{name}-{problem.name}")
    for name, build in UNBIASED.items()
    for problem in PROBLEMS.values()
    if build(problem) is not None
]


@pytest.mark.parametrize(("problem", "estimator"), CASES)
def test_an_unbiased_estimator_has_the_exact_gradient(problem, estimator):
    """Within 4σ, with σ below 2 % of the gradient."""
    values, found = gradients(estimator, problem)
    exact = torch.tensor(problem.exact_gradient)
    error = found.std(0) / BATCHES**0.5
    assert (error < 0.02 * exact.abs()).all(), f"σ/|g| = {(error / exact.abs()).tolist()}"
    # An estimator without noise is as good as float32: rounding is no bias.
    assert ((found.mean(0) - exact).abs() < 4 * error + 1e-4 * exact.abs()).all()
    assert_mean(values, problem.value)


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_plain_automatic_differentiation_misses_what_passes_through_choices(problem):
    """What it finds is predicted, and is not the gradient."""
    design, found = problem.design(), []
    for batch in range(BATCHES):
        phi, seed = design(), draw_seed(stream("cpu", 37, batch))
        value = problem.score(run(problem.simulator, phi, problem.primaries(EVENTS), Drawing(), seed), phi).sum()
        if not value.requires_grad:
            found.append(torch.zeros(len(problem.plain)))
            continue
        (slope,) = torch.autograd.grad(value, phi.values)
        found.append(slope[0])
    found, plain, exact = torch.stack(found), torch.tensor(problem.plain), torch.tensor(problem.exact_gradient)
    moving = found.std(0) > 0
    assert (found[:, ~moving] == plain[~moving]).all()
    for column in moving.nonzero().flatten():
        assert_mean(found[:, column], plain[column])
    assert ((found.mean(0) - exact).abs() > 0.2 * exact.abs()).any()
