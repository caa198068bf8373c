"""Quadratics fitted to fresh simulation: against closed forms, against differences, and where they do not hold."""

import math

import pytest
import torch
from exact import Reading, reading_experiment
from external_box import simulator as external_simulator
from failing import KINDS, failing
from scipy import stats
from toys import Gauge, gun

from mode_opt.design import Design, DesignPoint
from mode_opt.detectors import benchmarks
from mode_opt.errors import ConfigurationError, NonFiniteError, SimulationError
from mode_opt.events import Events
from mode_opt.experiment import Experiment
from mode_opt.experiment.tolerance import QuadraticModel, ToleranceEffort, tolerances
from mode_opt.experiment.tolerance.arrangement import DENSE, arrangement, coefficients, columns, inside
from mode_opt.experiment.tolerance.fitting import fitted
from mode_opt.objectives import Objective, Resolution
from mode_opt.objectives.weights import weighted_mean
from mode_opt.simulation import BlackBoxSimulator, Opaque

REGRESSION = ToleranceEffort("regression", calls=10_000)


class MeanHit(Objective):
    """⟨hit⟩."""

    def forward(self, events: Events, belief, phi: DesignPoint):
        return weighted_mean(events.hits[:, :, 0, 0].double(), events.weight)


class Restless(BlackBoxSimulator):
    """``hit = 1 + b·x + ½ xᵀ A x + cubic x₀³ + noise``; the noise of one design has nothing to do with another's."""

    def __init__(self, matrix, slope=(0.0, 0.0), noise=0.05, cubic=0.0):
        super().__init__()
        self.matrix = torch.tensor(matrix, dtype=torch.float64)
        self.slope = torch.tensor(slope, dtype=torch.float64)
        self.noise, self.cubic = noise, cubic

    def simulate(self, phi: DesignPoint, primaries: Events, generator):
        x = torch.cat([phi[name] for name in phi.layout.columns], 1).double()
        mean = 1 + x @ self.slope + (x @ self.matrix * x).sum(1) / 2 + self.cubic * x[:, 0] ** 3
        events = primaries.expand(phi.designs)
        rows = []
        for k in range(phi.designs):
            seed = (generator.initial_seed() + hash(tuple(x[k].tolist()))) % 2**62
            rows.append(torch.randn(events.count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
        hits = mean[:, None] + self.noise * torch.stack(rows)
        return Events.of(events.truth, hits[..., None, None], weight=events.weight)


def restless(matrix, constraints=(), x=None, **settings) -> Experiment:
    parameters = {
        "x": {"start": 0.0, "bounds": [-2.0, 2.0], "unit": "mm"} | (x or {}),
        "y": {"start": 0.0, "bounds": [-0.5, 0.5], "unit": "cm"},
    }
    design = Design(parameters, constraints=constraints).double()
    return Experiment(design, Restless(matrix, **settings), gun(), Reading(), MeanHit())


@pytest.mark.parametrize("d", [1, 2, 3, 7])
def test_the_arrangement_determines_a_quadratic_and_returns_it(d):
    u = arrangement(d)
    assert len(u) == 1 + 4 * d + 2 * d * (d - 1) and u.norm(dim=1).max() == pytest.approx(1.0)
    slope, root = torch.randn(d, dtype=torch.float64), torch.randn(d, d, dtype=torch.float64)
    hessian = root + root.T
    value = 2 + u @ slope + (u @ hessian * u).sum(1) / 2
    theta = torch.linalg.lstsq(columns(u), value[:, None]).solution.T
    found = coefficients(theta, d)
    for got, expected in zip(found, (torch.tensor(2.0).double(), slope, hessian), strict=True):
        torch.testing.assert_close(got[0], expected)
    assert torch.equal((columns(u)[:, 1 : 1 + d]).sum(0).abs() < 1e-12, torch.ones(d, dtype=torch.bool))


def synthetic(seed: int, slope: float = 0.0, groups: int = 20):
    """Values and replicas of ``1 + slope u₀ + u₀² + ½ u₁² + ½ u₀u₁`` on 13 designs, with noise from groups of events.

    The noise is 0.1 of a mean over all groups, half of it common to all designs, and grows along u₀.
    """
    generator = torch.Generator().manual_seed(seed)
    u = arrangement(2)
    truth = 1 + slope * u[:, 0] + u[:, 0] ** 2 + u[:, 1] ** 2 / 2 + u[:, 0] * u[:, 1] / 2
    noise, common = (torch.randn(groups, n, generator=generator, dtype=torch.float64) for n in (len(u), 1))
    values = truth + 0.1 * groups**0.5 * (noise * torch.exp(u[:, 0] / 2) + common) / 2**0.5
    return u, values.mean(0), (values.sum(0) - values) / (groups - 1)


def test_errors_of_a_fit_are_right():
    """300 fits: pulls of slopes and curvatures of unit width (Student's t of 19 degrees), p-values uniform."""
    truth, seen, lack = [0.2, 0.0, 2.0, 1.0, 0.5], [], []
    for seed in range(300):
        found = fitted(*synthetic(seed, 0.2), 1e-16)
        coefficient, error = found.model.measured(lambda v, b, h: torch.cat([b, h[[0, 1, 0], [0, 1, 1]]]))
        seen.append((coefficient - torch.tensor(truth)) / error)
        lack.append(found.lack.p_value)
    pulls = torch.stack(seen)
    # Mean of t² is 19/17; 5 coefficients of 300 fits, whose t² scatter by 1.8. Three in a hundred fits have further
    # errors of cubic or quartic terms that are none, so that pulls are a little smaller.
    assert 0.85 < pulls.square().mean() < 19 / 17 + 4 * 1.8 / 1500**0.5
    assert pulls.mean(0).abs().max() < 4 * (19 / 17 / 300) ** 0.5
    assert stats.kstest(lack, "uniform").pvalue > 1e-3


def test_deviations_cover_the_truth_and_an_optimum_is_taken_for_one():
    """The same through all of it, with simulation: 12 seeds, b = 0, A = diag(1, 0.5)."""
    subject = restless([[1.0, 0.3], [0.3, 0.5]])
    effort = ToleranceEffort("regression", calls=1300, radius=0.2)
    inside, p_values = 0, []
    for seed in range(12):
        found = tolerances(subject, effort=effort, seed=seed)
        for entry, bend, unit in zip(found.parameters, (1.0, 0.5), (1.0, 10.0), strict=True):
            truth = math.sqrt(2 * found.loss / bend) / unit
            inside += abs(entry.spread.value * 2**0.5 - truth) < 2.1 * 2**0.5 * entry.spread.standard_error
        p_values.append(found.optimality.p_value)
    assert inside >= 19  # of 24, where 23 are expected; less than one in 300 by chance
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_the_radius_follows_the_loss_and_the_noise():
    """Without noise twice the loss: ½ A r² = 2 L. With much of it the region is larger, but stays within the bounds."""
    radii = []
    for noise in (0.0, 1.0, 30.0):
        fit = tolerances(restless([[1.0, 0.0], [0.0, 1.0]], noise=noise), effort=REGRESSION).fit
        radii.append(fit.radius.tolist())
        assert fit.failed == 0 and fit.places.abs().max() <= 1.0
    assert radii[0] == pytest.approx([math.sqrt(4 * 0.01) / 2, math.sqrt(4 * 0.01) / 5], rel=1e-3)
    assert radii[0][0] < radii[1][0] <= radii[2][0] == pytest.approx(0.3)


def test_a_cubic_is_noticed_and_the_region_shrinks():
    """J = 1 + x²/2 + 20 x³: at radius 0.1 the cubic is twenty times the allowed loss."""
    found = tolerances(restless([[1.0, 0.0], [0.0, 1.0]], cubic=20.0, noise=1e-3), effort=REGRESSION)
    assert found.fit.trials > 1 or not found.fit.adequate
    error = found.parameters[0].slope.standard_error
    assert error > 0 and abs(found.parameters[0].slope.value) < 3 * error  # the cubic is part of the error
    forced = tolerances(
        restless([[1.0, 0.0], [0.0, 1.0]], cubic=20.0, noise=1e-3),
        effort=ToleranceEffort("regression", calls=10_000, radius=0.3),
    )
    assert forced.fit.trials == 1 and not forced.fit.adequate and forced.fit.lack.p_value < 1e-6


def test_fit_and_differences_agree_on_a_differentiable_simulator():
    """The gauge off its optimum: the same slope, curvature and deviations within the errors, also of a black box."""
    exact = tolerances(reading_experiment(start=2.8), effort=ToleranceEffort(events=4000)).parameters[0]
    for simulator in (Gauge(), Opaque(Gauge())):
        subject = reading_experiment(simulator, start=2.8)
        found = tolerances(subject, effort=ToleranceEffort("regression", calls=100_000))
        assert found.method == "regression" and found.fit.calls == subject.simulator_calls
        for name in ("slope", "curvature", "deviation", "spread"):
            first, second = getattr(exact, name), getattr(found.parameters[0], name)
            error = math.hypot(first.standard_error, second.standard_error)
            assert abs(first.value - second.value) < 4 * error, name
            assert second.standard_error < 0.2 * abs(second.value)


@pytest.mark.parametrize("name", ["noisy_parabola", "rosenbrock_10"])
def test_benchmarks_at_their_optimum(name):
    """Black boxes with a known expected objective: its Hessian at the optimum, and no slope there."""
    problem = benchmarks.problem(name)
    layout, best = problem.detector.design.layout, problem.truth.designs[0].double()
    exact = torch.autograd.functional.hessian(
        lambda x: problem.truth.exact_objective(DesignPoint(x[None], layout))[0], best
    )
    experiment = Experiment.of(problem.detector)
    phi = DesignPoint(best.float()[None], layout)
    found = tolerances(experiment, phi, effort=ToleranceEffort(calls=30_000, radius=0.02))
    assert found.method == "regression" and found.fit.adequate and found.optimality.p_value > 1e-3
    hessian = exact * found.scale[:, None] * found.scale
    torch.testing.assert_close(found.hessian, hessian, rtol=0.02, atol=0.02 * float(hessian.abs().max()))
    assert all(d.kind == "stiff" for d in found.directions)


def test_a_kink_is_no_quadratic():
    """The three-hump camel's mixture has a kink at its optimum: said, and nothing is called stiff."""
    problem = benchmarks.problem("three_hump")
    phi = DesignPoint(problem.truth.designs[:1].float(), problem.detector.design.layout)
    found = tolerances(Experiment.of(problem.detector), phi, effort=ToleranceEffort(calls=100_000))
    assert not found.fit.adequate and found.fit.trials == 3


@pytest.mark.parametrize("kind", KINDS)
def test_designs_that_fail_are_left_out(kind):
    """The optimum (1, 1) is next to where designs fail (x₀ > 1.1): the rest determines the curvature, 2 for each."""
    subject = Experiment.of(failing(kind).detector)
    corner = kind == "bounded"
    if corner:
        subject.design.assign({"point": [0.499, 0.499]})
    else:
        subject.design.assign({"point": [1.0, 1.0]})
    phi = DesignPoint(subject.design().values.detach(), subject.design.layout)
    found = tolerances(Experiment.of(failing(kind).detector), phi, effort=ToleranceEffort(calls=20_000, radius=0.2))
    assert (found.fit.failed > 0) == (kind in ("nan", "raises"))
    assert all(p.curvature.value == pytest.approx(2.0, rel=0.05) for p in found.parameters)
    if found.fit.failed:
        assert "NaN" in found.fit.reasons[0] or "overlaps" in found.fit.reasons[0]
    if corner:
        assert [p.held for p in found.parameters] == [("point[0]",), ("point[1]",)]


def test_too_many_failures_are_an_error():
    subject = Experiment.of(failing("nan").detector)
    subject.design.assign({"point": [1.5, 1.0]})
    with pytest.raises(SimulationError, match="nothing can be simulated: hits that are NaN"):
        tolerances(subject, effort=REGRESSION)
    with pytest.raises(SimulationError, match="13 of 13 designs around this one failed"):
        tolerances(subject, effort=ToleranceEffort(calls=20_000, radius=0.1))


def test_many_parameters_are_fitted_without_mixed_derivatives():
    d = DENSE + 1
    curvature = torch.linspace(1.0, 2.0, d).double()

    class Wide(BlackBoxSimulator):
        def simulate(self, phi, primaries, generator):
            events = primaries.expand(phi.designs)
            mean = 1 + (curvature * phi["x"].double() ** 2).sum(1) / 2
            return Events.of(events.truth, mean[:, None, None, None].expand(-1, events.count, 1, 1).clone())

    design = Design({"x": {"start": [0.1] * d, "bounds": [-1.0, 1.0]}}).double()
    found = tolerances(Experiment(design, Wide(), gun(), Reading(), MeanHit()), effort=ToleranceEffort(calls=20_000))
    assert len(found.fit.places) == 1 + 4 * d and not found.model.full and found.directions == []
    assert [p.curvature.value for p in found.parameters] == pytest.approx(curvature.tolist(), rel=1e-4)
    assert [p.slope.value for p in found.parameters] == pytest.approx((0.1 * curvature).tolist(), rel=1e-4)


def test_external_programs_are_asked_for_all_designs_together():
    """The width of ``E (x + y) (1 + 1 % noise)`` around E, by a program that knows nothing of torch."""
    design = Design({"x": {"start": 0.5, "bounds": [0.1, 1.0]}, "y": {"start": 0.55, "bounds": [0.1, 1.0]}})
    subject = Experiment(design, external_simulator(), gun(), Reading(), Resolution(width="rms"))
    campaign, requests = subject.simulator.simulator.campaign, []
    run = campaign.run
    campaign.run = lambda work, jobs: requests.append(len(jobs)) or run(work, jobs)
    found = tolerances(subject, effort=ToleranceEffort(calls=6000))
    assert found.method == "regression" and requests[:2] == [5, 5] and set(requests[2:]) == {13}
    # J = sqrt((x + y − 1)² + (0.01 (x + y))²), 0.05 from its fold
    total, s = 1.05, 0.01
    value = math.hypot(total - 1, s * total)
    slope = ((total - 1) + s**2 * total) / value
    assert found.parameters[0].slope.value / 1.0 == pytest.approx(slope, rel=0.05)
    assert found.parameters[1].slope.value == pytest.approx(slope, rel=0.05)


def test_integers_and_what_does_not_exist_are_no_tolerances():
    parameters = {
        "x": {"start": 0.1, "bounds": [-2.0, 2.0], "unit": "mm"},
        "n": {"kind": "integer", "start": 3, "bounds": [1, 9]},
        "gap": {"start": [1.0] * 4, "bounds": [0.5, 2.0], "unit": "mm", "when": "index < n"},
    }
    design = Design(parameters)

    class Stack(BlackBoxSimulator):
        def simulate(self, phi, primaries, generator):
            assert torch.equal(phi["n"], phi["n"].round()) and float(phi["gap"][0, 3]) == 0
            events = primaries.expand(phi.designs)
            mean = 1 + phi["x"][:, 0] ** 2 + (phi["gap"] ** 2).sum(1)
            return Events.of(events.truth, mean[:, None, None, None].expand(-1, events.count, 1, 1).clone())

    found = tolerances(Experiment(design, Stack(), gun(), Reading(), MeanHit()), effort=REGRESSION)
    assert [p.name for p in found.parameters] == ["x", "gap[0]", "gap[1]", "gap[2]"]
    assert [p.curvature.value for p in found.parameters] == pytest.approx([2.0] * 4, rel=1e-3)


def test_a_region_moves_inside_its_limits():
    u, radius = arrangement(2), torch.full((2,), 0.2, dtype=torch.float64)
    rows = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    shift, same = inside(radius, u, rows, torch.tensor([0.0, 0.0], dtype=torch.float64))
    assert torch.equal(same, radius)
    assert ((shift + u * radius) @ rows.T).max() <= 1e-6
    assert float((shift @ rows.T).max()) > -0.25  # and no further than need be
    far = torch.tensor([1.0, 1.0], dtype=torch.float64)
    assert torch.equal(inside(radius, u, rows, far)[0], torch.zeros(2, dtype=torch.float64))
    slab = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)  # 0.1 wide: the radius has to shrink
    shift, small = inside(radius, u, slab, torch.tensor([0.1, 0.0], dtype=torch.float64))
    assert small[0] < 0.05 + 1e-6 and ((shift + u * small) @ slab.T <= torch.tensor([0.1, 0.0]) + 1e-6).all()
    with pytest.raises(ConfigurationError, match="room"):
        inside(radius, u, slab, torch.tensor([0.0, 0.0], dtype=torch.float64))


def test_no_design_beyond_a_linear_limit_is_simulated():
    class Strict(Restless):
        def simulate(self, phi, primaries, generator):
            assert float((phi["x"] + phi["y"]).max()) <= 1.0 + 1e-6
            return super().simulate(phi, primaries, generator)

    subject = restless([[1.0, 0.0], [0.0, 1.0]], ["x + y <= 1 mm"], {"start": 0.2})
    strict = Experiment(
        subject.design, Strict([[1.0, 0.0], [0.0, 1.0]], slope=(-2.0, -2.0)), gun(), Reading(), MeanHit()
    )
    subject.design.assign({"x": 0.4999, "y": 0.04999})
    found = tolerances(strict, effort=ToleranceEffort("regression", calls=20_000))
    assert found.fit.failed == 0
    held = next(limit for limit in found.limits if limit.name == "x + y")
    assert held.state == "active"
    assert abs(held.multiplier.value - 1.5) < 4 * held.multiplier.standard_error  # 2 − x, mm⁻¹
    assert held.multiplier.standard_error < 0.1


def test_a_wrong_quadratic_has_wider_errors():
    """J = u⁴ on each axis: the fitted curvature is not 0, and the error says so."""
    u = arrangement(2)
    value = 1 + (u**4).sum(1)
    found = fitted(u, value, value.expand(20, -1), 1e-16).model
    error = found.measured(lambda v, b, h: h)[1]
    assert (found.hessian.diagonal() > 1).all()
    assert (error.diagonal() == pytest.approx(found.hessian.diagonal(), rel=1e-6)) and float(error[0, 1]) > 0


def test_further_errors_add_in_quadrature():
    torch.manual_seed(1)
    value, slope = torch.randn(20).double(), torch.randn(20, 2).double()
    hessian = torch.randn(20, 2, 2).double()
    model = QuadraticModel.of_batches(value, slope, hessian + hessian.transpose(1, 2), torch.zeros(2, 2).double())
    more = torch.tensor([0.0, 0.7]).double(), torch.tensor([0.5, 2.0]).double()
    wider = model.widened(*more)
    parts = (lambda v, b, h: v, lambda v, b, h: b, lambda v, b, h: h)
    before, after = ([m.measured(part)[1] for part in parts] for m in (model, wider))
    torch.testing.assert_close(after[0], before[0])
    torch.testing.assert_close(after[1], (before[1] ** 2 + more[0] ** 2).sqrt())
    bend = torch.tensor([[0.5, 1.0], [1.0, 2.0]]).double()
    torch.testing.assert_close(after[2], (before[2] ** 2 + bend**2).sqrt())
    moved = wider.moved(torch.tensor([0.3, -0.2]).double()).moved(torch.tensor([-0.3, 0.2]).double())
    torch.testing.assert_close(moved.slope, model.slope)
    torch.testing.assert_close(moved.left_out[0], wider.left_out[0])
    torch.testing.assert_close(moved.measured(parts[1])[1], after[1])


def test_reconstructions_that_differ_widen_the_errors():
    """Three models of the same events: their mean, and its standard error on top of that of the events."""
    torch.manual_seed(2)
    value, slope, hessian = torch.randn(20).double(), torch.randn(20, 2).double(), torch.zeros(20, 2, 2).double()
    apart, zero = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]]).double(), torch.zeros(2).double()
    models = [QuadraticModel.of_batches(value, slope + shift, hessian, hessian[0]) for shift in apart]
    found, error = QuadraticModel.combined(models).measured(lambda v, b, h: b)
    torch.testing.assert_close(found, slope.mean(0) + apart.mean(0))
    torch.testing.assert_close(error, (slope.var(0) / 20 + apart.var(0) / 3).sqrt())
    wider = QuadraticModel.combined([model.widened(zero + 0.5, zero) for model in models])
    torch.testing.assert_close(wider.measured(lambda v, b, h: b)[1], (error**2 + 0.25).sqrt())
    assert QuadraticModel.combined(models[:1]) is models[0]


def test_an_objective_of_zero_has_no_percentage():
    class Nothing(Objective):
        def forward(self, events, belief, phi):
            return 0 * phi["x"][:, 0]

    subject = restless([[1.0, 0.0], [0.0, 1.0]])
    empty = Experiment(subject.design, subject.simulator.simulator, gun(), Reading(), Nothing())
    with pytest.raises(NonFiniteError, match="is 0"):
        tolerances(empty, effort=REGRESSION)
