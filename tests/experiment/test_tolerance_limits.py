"""Multipliers of bounds and constraints against problems whose Lagrangian is written down."""

import math

import pytest
import torch
from exact import Mirror, Reading
from hypothesis import given, settings
from hypothesis import strategies as st
from quadratics import Quadratic
from scipy import stats
from toys import gun

from mode_opt.design import Design
from mode_opt.experiment import Experiment
from mode_opt.experiment.tolerance import (
    Limits,
    QuadraticModel,
    Space,
    ToleranceEffort,
    agreement,
    stationarity,
    tolerances,
)
from mode_opt.objectives import Constrained, DesignCost, WeightedSum

FEW = ToleranceEffort(events=8, batches=3)


def problem(matrix, slope, at, constraints=(), bounds=((-5.0, 5.0), (-5.0, 5.0))):
    """``10 + b·x + ½ xᵀ A x`` of x and y in mm, at a design."""
    given = zip("xy", at, bounds, strict=True)
    parameters = {name: {"start": start, "bounds": list(sides), "unit": "mm"} for name, start, sides in given}
    design = Design(parameters, constraints=list(constraints)).double()
    objective = Quadratic(matrix, slope, offset=10.0)
    return Experiment(design, Mirror(), gun(), Reading(), objective)


def limits_of(found):
    return {limit.words: limit for limit in found.limits}


@pytest.mark.parametrize(
    ("bounds", "constraint", "words", "multiplier"),
    [
        ((1.0, 3.0), None, "x >= 1 mm", 2.0),
        ((-3.0, 3.0), "x >= 1 mm", "x >= 1 mm", 2.0),
        ((-3.0, 3.0), "1 mm <= x", "x >= 1 mm", 2.0),
        ((-3.0, 3.0), "x >= 0.1 cm", "x >= 0.1 cm", 20.0),  # a gain for each cm
        ((-3.0, 3.0), {"expression": "x**2 >= 1 mm^2", "name": "square"}, "square >= 1 mm^2", 1.0),  # 2 x = λ 2 x
    ],
)
def test_the_textbook(bounds, constraint, words, multiplier):
    """min x² under x ≥ 1: the multiplier is 2, the derivative of the minimum by the limit."""
    constraints = [] if constraint is None else [constraint]
    subject = problem([[2.0, 0.0], [0.0, 2.0]], (0.0, 0.0), (1.0, 0.0), constraints, (bounds, (-5.0, 5.0)))
    found = tolerances(subject, effort=FEW)
    held = limits_of(found)[words]
    assert held.state == "active" and held.unique and held.value.value == pytest.approx(held.limit, rel=1e-5)
    assert held.multiplier.value == held.gain.value == pytest.approx(multiplier, rel=1e-4)
    assert held.gain_per_percent.value == pytest.approx(multiplier * held.limit / 100, rel=1e-4)
    assert [d.held for d in found.directions] == ["", held.name]
    assert found.directions[0].components["y"] == pytest.approx(1.0) and found.directions[0].kind == "stiff"
    assert found.directions[1].kind == "held" and found.directions[1].above.stopped  # out of the allowed region
    x, y = found.parameters
    assert x.held == (held.name,) and y.held == ()
    assert x.below.stopped and x.below.limit == held.name and x.below.room == pytest.approx(0.0, abs=1e-4)
    # 2 t + t² = L = 0.11
    assert x.above.deviation.value == pytest.approx(math.sqrt(1 + 0.11) - 1, rel=1e-3) and not x.above.stopped
    others = [limit for name, limit in limits_of(found).items() if name != words]
    assert all(o.state == "free" and o.multiplier.value == 0 for o in others)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 3.0), st.floats(0.1, 3.0), st.floats(-0.8, 0.8), st.floats(-2.0, 2.0), st.floats(0.2, 2.0))
def test_several_limits_at_a_corner(first, second, correlation, lean, size):
    """Given multipliers and gradients of two limits, the slope that they balance is constructed: they come back."""
    scale = torch.tensor([5.0, 5.0], dtype=torch.float64)
    gradients = torch.tensor([[1.0, 0.0], [lean, size]], dtype=torch.float64)
    slope = -(torch.tensor([first, second], dtype=torch.float64) @ gradients)
    matrix = [[1.0, correlation], [correlation, 1.0]]
    limit = lean * 1.0 + size * 2.0
    subject = problem(
        matrix,
        (slope - torch.tensor(matrix, dtype=torch.float64) @ torch.tensor([1.0, 2.0], dtype=torch.float64)).tolist(),
        (1.0 - 1e-4, 2.0 - 3e-4 * max(1, abs(lean) / size)),
        ["x <= 1 mm + 0 * y", {"expression": f"{lean} * x + {size} * y <= {limit!r} mm", "name": "slope"}],
    )
    found = tolerances(subject, effort=FEW)
    held = {limit.name: limit for limit in found.limits if limit.state == "active"}
    assert set(held) == {"x", "slope"} and found.optimality.p_value != found.optimality.p_value  # nothing is free
    for name, expected in (("x", first), ("slope", second)):
        accuracy = 0.01 * (1 + abs(lean) / size) * (1 + 1 / size)  # the design is a little inside
        assert held[name].multiplier.value == pytest.approx(expected, abs=accuracy)
    assert [d.kind for d in found.directions] == ["held", "held"]
    assert torch.equal(scale, found.scale)


def test_equal_limits_share_a_multiplier_and_neither_buys_anything():
    """The bound x ≥ 1 and a constraint x ≥ 1: relaxing one alone leaves the other."""
    subject = problem(
        [[2.0, 0.0], [0.0, 2.0]], (0.0, 0.0), (1.0, 0.0), ["x >= 1 mm + 0 * y"], ((1.0, 3.0), (-5.0, 5.0))
    )
    found = tolerances(subject, effort=FEW)
    both = [limit for limit in found.limits if limit.kind != "free" and limit.limit == 1.0]
    assert len(both) == 2 and not any(limit.unique for limit in both)
    assert sum(limit.multiplier.value for limit in both) == pytest.approx(2.0, rel=1e-4)
    assert all(limit.gain.value == pytest.approx(0.0, abs=1e-6) for limit in both)
    assert [d.kind for d in found.directions].count("held") == 1


def test_three_limits_through_a_corner_of_the_plane():
    """Slope (−1, −1) at the corner of x ≤ 1, y ≤ 1 and x + y ≤ 2: λ = (1 − s, 1 − s, s); each alone buys nothing."""
    box = ((-1, 1), (-1, 1))
    subject = problem([[1.0, 0.0], [0.0, 1.0]], (0.0, 0.0), (0.99999, 0.99999), ["x + y <= 2 mm"], box)
    limits = Limits.of(Space(subject.design))
    slope = torch.tensor([-1.0, -1.0], dtype=torch.float64)
    left = (torch.zeros(20).double(), slope.expand(20, -1), torch.zeros(20, 2, 2).double())
    model = QuadraticModel(torch.ones(()).double(), slope, torch.eye(2).double(), left, torch.zeros(2, 2).double())
    found = stationarity(model, limits)
    near = [j for j, unique in enumerate(found.unique) if not unique]
    assert [limits.entries[j].name for j in near] == ["x", "y", "x + y"]
    total = sum(found.multipliers[j].value * limits.gradient[j] for j in near)
    torch.testing.assert_close(total, -slope)
    assert all(found.gains[j].value == pytest.approx(0.0, abs=1e-6) for j in near)


def test_a_limit_that_the_objective_leaves_alone_has_no_multiplier():
    """J falls away from the limit: near, not active, and the slope is no optimum's."""
    subject = problem([[2.0, 0.0], [0.0, 2.0]], (-4.0, 0.0), (1.001, 0.0), bounds=((1.0, 3.0), (-5.0, 5.0)))
    found = tolerances(subject, effort=FEW)
    limit = limits_of(found)["x >= 1 mm"]
    assert limit.state == "near" and limit.multiplier.value == 0 and found.parameters[0].held == ()
    assert found.remaining == pytest.approx(1.0, rel=0.01)  # J(1) − J(2)
    optimum = problem([[2.0, 0.0], [0.0, 2.0]], (-2.0, 0.0), (1.0, 0.0), bounds=((1.0, 3.0), (-5.0, 5.0)))
    found = tolerances(optimum, effort=FEW)
    assert limits_of(found)["x >= 1 mm"].state == "near" and found.remaining == pytest.approx(0.0, abs=1e-6)


def test_a_violated_limit_is_named():
    subject = problem([[2.0, 0.0], [0.0, 2.0]], (0.0, 0.0), (0.5, 0.5), ["x * y >= 1 mm^2"])
    limit = limits_of(tolerances(subject, effort=FEW))["x * y >= 1 mm^2"]
    assert limit.state == "violated" and limit.value.value == pytest.approx(0.25)
    assert limit.distance == pytest.approx(-0.75 / math.hypot(2.5, 2.5))


def test_a_linked_parameter_has_bounds_too():
    """y = 3 mm − x, at least 2 mm: x ≤ 1 holds, through the bound of another."""
    parameters = {
        "x": {"start": 0.9999, "bounds": [-5.0, 5.0], "unit": "mm"},
        "y": {"expression": "3 mm - x", "unit": "mm", "bounds": [2.0, 8.0]},
    }
    subject = Experiment(
        Design(parameters).double(), Mirror(), gun(), Reading(), Quadratic([[2.0, 0], [0, 0]], (-4, 0))
    )
    found = tolerances(subject, effort=FEW)
    limit = limits_of(found)["y_minimum >= 2 mm"]
    assert limit.state == "active" and limit.multiplier.value == pytest.approx(2.0, rel=1e-3)
    assert [p.name for p in found.parameters] == ["x"] and found.parameters[0].above.limit == "y_minimum"


def test_errors_of_multipliers_are_right():
    """Slopes of 20 batches around that of multipliers 0.5 and 0.2, with correlated noise: pulls and coverage."""
    subject = problem([[1.0, 0.0], [0.0, 1.0]], (0.0, 0.0), (0.9999, 0.0), ["x + y <= 1 mm"], ((-1, 1), (-1, 1)))
    limits = Limits.of(Space(subject.design))
    places = [limits.entries.index(limit) for limit in limits.entries if limit.name in ("x", "x + y") and limit.upper]
    truth = torch.tensor([0.5, 0.2], dtype=torch.float64)
    slope, mix = -truth @ limits.gradient[places], torch.tensor([[0.3, 0.2], [0.0, 0.1]], dtype=torch.float64)
    generator, pulls, active = torch.Generator().manual_seed(3), [], 0
    zero = torch.zeros(20, 2, 2, dtype=torch.float64)
    for _ in range(200):
        slopes = slope + torch.randn(20, 2, generator=generator, dtype=torch.float64) @ mix
        model = QuadraticModel.of_batches(torch.ones(20).double(), slopes, zero, zero[0])
        found = [stationarity(model, limits).multipliers[j] for j in places]
        pulls.append([(m.value - t) / m.standard_error for m, t in zip(found, truth.tolist(), strict=True)])
        active += all(stationarity(model, limits).active[j] for j in places)
    for column in zip(*pulls, strict=True):
        assert stats.kstest(column, stats.t(19).cdf).pvalue > 1e-3
    assert active >= 185  # the smaller is 4 standard errors from zero


def deviations(x):
    """Of the mean of K rows: their squares add up to its variance."""
    return (x - x.mean(0)) / (len(x) * (len(x) - 1)) ** 0.5


@pytest.mark.parametrize(("p", "groups"), [(1, 8), (3, 8), (3, 20), (12, 20), (100, 20)])
def test_p_values_are_uniform(p, groups):
    """Correlated numbers of mean zero, few (Hotelling) and more than there are groups (Dempster)."""
    generator = torch.Generator().manual_seed(p + groups)
    mix = torch.randn(p, p, generator=generator, dtype=torch.float64) / p**0.5 + torch.eye(p, dtype=torch.float64)
    found = []
    for _ in range(300):
        x = torch.randn(groups, p, generator=generator, dtype=torch.float64) @ mix
        found.append(agreement(x.mean(0), deviations(x), groups).p_value)
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    shifted = x + 3 * groups**-0.5 * mix.norm(dim=0)
    assert agreement(shifted.mean(0), deviations(shifted), groups).p_value < 0.2


def test_without_noise_there_is_no_p_value():
    nothing = agreement(torch.ones(2).double(), torch.zeros(20, 2).double(), 20)
    assert math.isnan(nothing.p_value) and nothing.as_dict() == {"chi2": None, "ndf": None, "p_value": None}


def test_limits_of_the_objective_are_reported():
    """min x² + y² under C = 2 − x ≤ 1, by penalty ½ ρ (1 − x)²: its minimum is x = ρ/(ρ + 2), the price 2 x a unit."""
    rho = 40.0
    x = rho / (rho + 2)
    objective = Constrained(
        Quadratic([[2.0, 0.0], [0.0, 2.0]], offset=0.0),
        {"lost": WeightedSum({"x": DesignCost("x"), "all": DesignCost("two")}, {"x": -1.0, "all": 1.0})},
        {"lost": 1.0},
        rho=rho,
    )
    parameters = {n: {"start": 0.1, "bounds": [-5.0, 5.0]} for n in "xy"}
    design = Design(parameters, {"two": "2 + 0 * x"}).double()
    design.assign({"x": x, "y": 0.0})
    found = tolerances(Experiment(design, Mirror(), gun(), Reading(), objective), effort=FEW)
    limit = limits_of(found)["lost <= 1"]
    assert limit.kind == "objective" and limit.value.value == pytest.approx(2 - x)
    assert limit.gain.value == pytest.approx(2 * x, rel=1e-5)  # d(x²)/dx, and x must be at least 2 − L
    assert abs(found.parameters[0].slope.value) < 1e-4  # the minimum with its penalty
