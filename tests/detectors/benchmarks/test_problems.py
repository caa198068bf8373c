"""What is particular to each problem."""

import pytest
import torch
from failing import KINDS, LIMIT, failing
from statistical import assert_mean

from mode_opt.cli.build import detector_of
from mode_opt.cli.compose import composed
from mode_opt.design import DesignPoint
from mode_opt.detectors import benchmarks
from mode_opt.detectors.benchmarks.network import output, table
from mode_opt.errors import ConfigurationError, ShapeError
from mode_opt.events import Events
from mode_opt.experiment import Experiment
from mode_opt.gradients import SimultaneousPerturbation
from mode_opt.simulation import Promise, attempt, stream


def test_the_matrix_of_the_submanifold_is_the_published_one():
    basis = benchmarks.rosenbrock_100_in_10().detector.simulator().landscape.basis
    assert basis[0, :3].tolist() == pytest.approx([-0.07745, -0.06239, -0.02394], abs=5e-6)
    torch.testing.assert_close(basis.T @ basis, torch.eye(10))
    best = benchmarks.rosenbrock_100_in_10().truth.designs
    assert best.norm().item() == pytest.approx(10**0.5, rel=1e-5)


def test_the_curved_surface_is_always_the_same():
    problem = benchmarks.three_hump_40_in_2()
    coordinates = problem.detector.simulator().coordinates
    for rows in (coordinates.first, coordinates.second):
        torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)))
    assert problem.truth.start == pytest.approx(-0.51985, abs=1e-5)
    reached = coordinates(problem.truth.designs)
    torch.testing.assert_close(reached[:, 0], torch.zeros(2, dtype=torch.float64), atol=1e-6, rtol=0)
    assert reached[:, 1].tolist() == pytest.approx([1.2323234, -1.2323234], abs=1e-6)


def test_the_hump_has_a_value_where_both_probabilities_vanish():
    problem = benchmarks.three_hump()
    phi = DesignPoint(torch.zeros(1, 2), problem.detector.design.layout)
    events = problem.detector.simulator()(
        phi, problem.detector.primaries.sample(10_000, stream("cpu", 1)), stream("cpu", 0)
    )
    each = problem.detector.objective.each(events.hits[:, :, 0, 0], events.truth)[0]
    assert_mean(each, problem.truth.exact_objective(phi)[0])
    far = DesignPoint(torch.tensor([[30.0, -40.0]]), problem.detector.design.layout)
    assert -0.6 < problem.truth.exact_objective(far).item() < 0


@pytest.mark.parametrize("dimension", [1, 2, 16, 64])
def test_the_ellipsoid_is_as_high_and_as_far_in_every_dimension(dimension):
    problem = benchmarks.sphere(dimension)
    assert problem.truth.start == pytest.approx(45, rel=1e-5)
    assert problem.truth.noise == benchmarks.rosenbrock_10().truth.noise
    offset = problem.truth.designs - problem.detector.design().values.detach().double()
    assert offset.abs().tolist() == [[3.0] * dimension]
    root = problem.detector.simulator().landscape.root
    curvature = torch.linalg.eigvalsh((root.T @ root).double())
    assert (curvature[-1] / curvature[0]).item() == pytest.approx(30 if dimension > 1 else 1, rel=1e-4)


def test_the_network_is_that_of_torch_and_its_table_is_standardised():
    x, target, names = table()
    assert x.shape == (442, 10) and names[-1] == "progression"
    torch.testing.assert_close(x.mean(0), torch.zeros(10), atol=1e-5, rtol=0)
    assert target.std(correction=0).item() == pytest.approx(1, rel=1e-5)
    layers = torch.nn.Sequential(torch.nn.Linear(10, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))
    weights = torch.nn.utils.parameters_to_vector(layers.parameters()).detach()
    torch.testing.assert_close(output(weights[None], x[None])[0], layers(x)[:, 0].detach())


def test_the_table_is_that_of_its_source():
    datasets = pytest.importorskip("sklearn.datasets")
    x, target = datasets.load_diabetes(return_X_y=True)
    torch.testing.assert_close(table()[0].double(), torch.from_numpy(x) * 442**0.5, atol=1e-5, rtol=1e-5)
    assert torch.corrcoef(torch.stack([table()[1].double(), torch.from_numpy(target)]))[0, 1] > 1 - 1e-6


def test_the_known_weights_are_better_than_a_descent_from_the_start():
    problem = benchmarks.network_weights()
    start = problem.detector.design().values.detach().double()
    assert start[0, :-1].abs().allclose(torch.tensor(0.3, dtype=torch.float64)) and start[0, -1] == 0
    values = start.clone().requires_grad_()
    descent = torch.optim.LBFGS([values], max_iter=300, line_search_fn="strong_wolfe")

    def closure():
        descent.zero_grad()
        loss = problem.truth.exact_objective(DesignPoint(values, problem.detector.design.layout)).sum()
        loss.backward()
        return loss

    descent.step(closure)
    assert problem.truth.optimum < closure().item() < 0.5 * problem.truth.start


def test_the_chain_and_its_twin_give_the_same_events():
    detector = benchmarks.mixed_chain().detector
    phi, primaries = detector.design().detach(), detector.primaries.sample(500, stream("cpu", 0))
    chain, twin = detector.simulator("chain"), detector.simulator("twin")
    assert (chain.promise, twin.promise) == (Promise.BLACK_BOX, Promise.STOCHASTIC)
    assert [part.promise for part in chain.parts.values()] == [2, 0, 1]
    assert torch.equal(chain(phi, primaries, stream("cpu", 1)).hits, twin(phi, primaries, stream("cpu", 1)).hits)


@pytest.mark.parametrize("where", ["start", "optimum"])
def test_the_twin_has_the_exact_gradient(where):
    """Derivatives of hits and of log-probabilities together, in float64; at the start each parameter acts."""
    problem = benchmarks.mixed_chain()
    detector, at_start = problem.detector, where == "start"
    values = detector.design().values.detach() if at_start else problem.truth.designs
    phi = DesignPoint(values.double().requires_grad_(), detector.design.layout)
    mean = problem.truth.start if at_start else problem.truth.optimum
    exact = detector.exact_gradient(detector.design) if at_start else torch.zeros(4, dtype=torch.float64)
    assert bool((exact.abs() > 0.1).all()) == at_start
    found = []
    for k in range(60):
        primaries = detector.primaries.sample(500, stream("cpu", 5, k))
        primaries = Events.of(primaries.truth.double(), primaries.hits.double())
        events = detector.simulator("twin")(phi, primaries, stream("cpu", 6, k))
        each = detector.objective.each(events.hits[:, :, 0, 0], events.truth)
        loss = (each + (each.detach() - mean) * events.log_probability).mean()
        found.append(torch.autograd.grad(loss, phi.values)[0][0])
    assert_mean(torch.stack(found), exact)


def test_the_optimum_of_the_chain_is_inside_its_bounds():
    problem = benchmarks.mixed_chain()
    low, high = (torch.from_numpy(side) for side in problem.detector.design.declaration.ranges())
    place = (problem.truth.designs[0] - low) / (high - low)
    assert bool((place > 0.1).all()) and bool((place < 0.9).all())


def test_by_name_from_the_command_line():
    detector = detector_of(composed(["detector=sphere_d", "detector.dimension=16", "gradient=auto"]))
    assert detector.name == "sphere_d" and detector.design.psi.shape == (1, 16)
    experiment = Experiment.of(detector, gradient=SimultaneousPerturbation())
    objective, _ = experiment.design_loss(64, torch.Generator().manual_seed(0))
    objective.backward()
    assert experiment.design.psi.grad.isfinite().all() and experiment.objective.additive


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigurationError, match="one of mixed_chain"):
        benchmarks.problem("four_hump")
    with pytest.raises(ConfigurationError, match=r"detector\.family.*one of"):
        benchmarks.benchmark("four_hump")
    with pytest.raises(ConfigurationError, match=r"detector\.size.*one of the entries"):
        benchmarks.problem("sphere_d", size=3)
    with pytest.raises(ConfigurationError, match=r"embedding\.rank"):
        benchmarks.problem("rosenbrock_10", embedding={"rank": 11})
    with pytest.raises(ConfigurationError, match="condition"):
        benchmarks.problem("sphere_d", condition=0.5)
    with pytest.raises(ConfigurationError, match=r"primaries\.high"):
        benchmarks.UniformInputs((1.0,), (1.0,))
    with pytest.raises(ShapeError, match="one response an event"):
        benchmarks.MeanResponse()(Events.of(torch.ones(1, 1, 1), torch.ones(1, 1, 2, 1)), None, None)


@pytest.mark.parametrize("kind", KINDS)
def test_the_failing_problems_fail_as_they_say(kind):
    problem = failing(kind)
    design, simulator = problem.detector.design, problem.detector.simulator()
    points = DesignPoint(torch.tensor([[0.0, 0.0], [LIMIT + 0.1, 0.0], [0.5, 0.5]]), design.layout)
    tried = attempt(simulator, points, problem.detector.primaries.sample(4000, stream("cpu", 1)), stream("cpu", 0))
    fails = kind in ("nan", "raises")
    assert tried.succeeded.tolist() == [True, not fails, True] and bool(tried.reasons) == fails
    seen = tried.events.hits[0, :, 0, 0]
    assert (seen.std() < 1e-5) == (kind == "deterministic")
    assert seen.mean().item() == pytest.approx(2.0, abs=0.05)
    highest = torch.from_numpy(design.declaration.ranges()[1])
    assert bool((problem.truth.designs[0] == highest).all()) == (kind == "bounded")
