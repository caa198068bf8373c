"""What each problem says of itself is what its simulator does."""

from dataclasses import replace

import pytest
import torch
from statistical import assert_mean

from mode_opt.design import DesignPoint
from mode_opt.detectors import benchmarks
from mode_opt.simulation import stream

NAMES = benchmarks.names()
EVENTS = 400_000


@pytest.fixture(scope="module", params=NAMES)
def problem(request):
    return benchmarks.problem(request.param)


def displaced(problem, radius=0.05, designs=2):
    """The last of some designs around the start."""
    return problem.detector.design.nearby(designs, radius, stream("cpu", 1), "normal").design(designs - 1)


def values(problem, phi, events=EVENTS, simulator=None):
    """The objective of each event of one design, float64."""
    detector, generator = problem.detector, stream("cpu", 2)
    with torch.no_grad():
        seen = detector.simulator(simulator)(phi, detector.primaries.sample(events, generator), generator)
        return detector.objective.each(seen.hits[:, :, 0, 0], seen.truth)[0].double()


def test_the_exact_objective_is_the_mean_over_events_and_the_noise_their_deviation(problem):
    each = values(problem, problem.detector.design().detach())
    assert_mean(each, problem.truth.start)
    assert each.std().item() == pytest.approx(problem.truth.noise, rel=0.015)
    phi = displaced(problem)
    assert_mean(values(problem, phi), problem.truth.exact_objective(phi)[0])
    assert_mean(values(problem, best(problem).design(0)), problem.truth.optimum)


def best(problem) -> DesignPoint:
    """The known optimal designs."""
    return DesignPoint(problem.truth.designs.float(), problem.detector.design.layout)


def test_the_exact_gradient_is_that_of_central_differences(problem):
    truth, design = problem.truth, problem.detector.design
    phi = replace(design().detach(), values=displaced(problem).values.double())
    with torch.no_grad():
        columns = phi.values.shape[1]
        step = 1e-5 * torch.eye(columns, dtype=torch.float64)
        both = truth.exact_objective(replace(phi, values=torch.cat([phi.values + step, phi.values - step])))
    values = phi.values.clone().requires_grad_()
    (slope,) = torch.autograd.grad(truth.exact_objective(replace(phi, values=values)).sum(), values)
    torch.testing.assert_close(slope[0], (both[:columns] - both[columns:]) / 2e-5, rtol=1e-4, atol=1e-6)
    assert problem.detector.exact_gradient(design).shape == (design.psi.shape[1],)


def test_nothing_around_the_optimum_is_better(problem):
    """The value recorded is that of the designs recorded, and no displacement of any size lowers it."""
    truth, layout = problem.truth, problem.detector.design.layout
    low, high = problem.detector.design.declaration.ranges()
    low, high = torch.from_numpy(low), torch.from_numpy(high)
    tolerance = 1e-6 * max(1.0, abs(truth.start))
    for point in truth.designs:
        at = truth.exact_objective(DesignPoint(point[None], layout))
        assert float(at) == pytest.approx(truth.optimum, abs=tolerance)
        size = torch.logspace(-4, 1, 600, dtype=torch.float64)[:, None]
        normal = torch.randn((600, len(point)), generator=stream("cpu", 3), dtype=torch.float64)
        around = (point + size * normal).clamp(low, high)
        assert truth.exact_objective(DesignPoint(around, layout)).min() > truth.optimum - tolerance
    assert len(truth.designs) > 0 and truth.optimum < truth.start


def test_the_published_values_of_the_start():
    start = {name: benchmarks.problem(name).truth.start for name in NAMES}
    assert start["rosenbrock_10"] == 45 and start["rosenbrock_100_in_10"] == 9
    assert start["three_hump"] == pytest.approx(-0.4993, abs=5e-5)
    for name in ("three_hump", "three_hump_40_in_2"):
        assert benchmarks.problem(name).truth.optimum == pytest.approx(-0.8582, abs=5e-5)


def test_a_thousand_designs_with_an_event_each_are_as_good_as_one_with_a_thousand(problem):
    detector, generator = problem.detector, stream("cpu", 4)
    phi = detector.design().detach()
    many = replace(phi, values=phi.values.expand(1000, -1))
    primaries = detector.primaries.sample(20_000, generator)
    one = primaries.select(slice(0, 1000))
    events = detector.simulator()(many, one._map(lambda tensor: tensor.transpose(0, 1)), generator)
    assert (events.designs, events.count) == (1000, 1)
    each = detector.objective.each(events.hits[:, :, 0, 0], events.truth)
    assert detector.objective(events, None, many).tolist() == pytest.approx(each[:, 0].tolist())
    assert_mean(each[:, 0], problem.truth.start)
