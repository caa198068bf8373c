"""A black box between a differentiable part and a counter, and the estimator that suits such a chain."""

import torch

from mode_opt.detectors.benchmarks import Problem, mixed_chain
from mode_opt.experiment import Alternation, Effort, Experiment, Optimisers
from mode_opt.gradients import Descent, GradientEstimator, LocalSurrogate, PrunedAlternative, ScoreFunction
from mode_opt.gradients.automatic import quietest
from mode_opt.simulation import stream
from mode_opt.surrogates import gaussian

STEPS = 7


def test_parameters_on_all_three_parts_come_near_the_optimum_of_the_twin():
    """Within 5 % of the distance at the start, 15.5; every parameter nearer to its optimum than it was."""
    problem = mixed_chain()
    descent = Descent(events=1024, steps=20, method="quasi_newton")
    search = LocalSurrogate(gaussian, descent=descent)
    torch.manual_seed(0)
    experiment = Experiment.of(problem.detector, gradient=search)
    start = experiment.design().values[0].detach().clone()
    idle = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    alternation = Alternation(experiment, Effort(warm_up=0, reconstruction_steps=0), seed=0)
    for _ in range(STEPS):
        alternation.step(Optimisers(idle, idle))
    best, truth = problem.truth.designs[0], problem.truth
    assert float(truth.exact_objective(alternation.design)[0]) - truth.optimum < 0.05 * (truth.start - truth.optimum)
    assert bool(((alternation.design.values[0] - best).abs() < (start - best).abs()).all())
    assert experiment.simulator_calls < 1500


def slopes(problem: Problem, estimator: GradientEstimator, repeats: int = 12) -> torch.Tensor:
    """Gradients of the twin at its start, a row each."""
    detector, rows = problem.detector, []
    score = Experiment.of(detector, simulator="twin").score()
    for seed in range(repeats):
        generator = stream("cpu", seed, "slopes")
        primaries = detector.primaries.sample(512, generator)
        loss = estimator.loss(detector.simulator("twin"), detector.design, primaries, score, generator)
        rows.append(torch.autograd.grad(loss, detector.design.psi)[0][0])
    return torch.stack(rows)


def test_the_quietest_estimator_of_a_chain_with_a_counter_is_quieter_than_scores():
    problem = mixed_chain()
    chosen = quietest(problem.detector.simulator("twin"))
    assert isinstance(chosen, PrunedAlternative)
    quiet, loud = slopes(problem, chosen), slopes(problem, ScoreFunction())
    assert torch.all((quiet.mean(0) - loud.mean(0)).abs() < 4 * (loud.std(0) + quiet.std(0)) / len(loud) ** 0.5)
    assert quiet.var(0).sum() < loud.var(0).sum() / 3
