"""Limits on objectives and goals in their order, against problems whose solution is known."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives import Constrained, DesignCost, Lexicographic, Miscalibration, Nominal, Rate, Robust

EVENTS = Events.of(torch.ones(1, 2, 1), torch.ones(1, 2, 1, 1))
DISTANCES = st.integers(-600, 600).map(lambda k: k / 100)


def point(**values: float) -> DesignPoint:
    phi = DesignPoint.of(**values)
    return DesignPoint(phi.values.double().requires_grad_(), phi.layout)


def square(x: float) -> DesignPoint:
    """x and x², as columns: objectives of the design alone."""
    phi = DesignPoint.of(x=x, square=x * x, below=-x)
    return DesignPoint(torch.tensor([[x, x * x, -x]], dtype=torch.float64), phi.layout)


def minimum(objective) -> float:
    """Of x ∈ [−1, 3], by golden section (the value is convex)."""
    low, high, golden = -1.0, 3.0, (math.sqrt(5) - 1) / 2
    for _ in range(80):
        a, b = high - golden * (high - low), low + golden * (high - low)
        if objective(EVENTS, None, square(a)).item() < objective(EVENTS, None, square(b)).item():
            high = b
        else:
            low = a
    return (low + high) / 2


def test_multipliers_of_a_known_problem():
    """min x² with x ≥ 1: x = 1, λ = 2; the iterates of the method of multipliers at ρ = 10."""
    objective = Constrained(DesignCost("square"), {"x": DesignCost("below")}, {"x": -1.0})
    found, multipliers = [], []
    for _ in range(4):
        x = minimum(objective)
        found.append(x)
        objective.update(objective.excess(EVENTS, None, square(x)))
        multipliers.append(objective.multipliers.item())
    assert found == pytest.approx([0.833333, 0.972222, 0.995370, 0.999228], abs=2e-6)
    assert multipliers[:3] == pytest.approx([1.666667, 1.944444, 1.990741], abs=1e-5)
    known = Constrained(DesignCost("square"), {"x": DesignCost("below")}, {"x": -1.0}, multipliers={"x": 2.0})
    assert minimum(known) == pytest.approx(1.0, abs=1e-6)


@given(st.floats(-3.0, 3.0), st.floats(0.0, 3.0), st.floats(0.5, 20.0), st.floats(0.1, 5.0))
def test_penalty_and_its_derivative(x, multiplier, rho, scale):
    phi = point(x=x, y=0.5)
    objective = Constrained(
        DesignCost("y"), {"x": DesignCost("x")}, {"x": 1.0}, {"x": scale}, rho, {"x": multiplier}
    ).double()
    value = objective(EVENTS, None, phi)
    (slope,) = torch.autograd.grad(value.sum(), phi.values)
    g = (phi["x"].item() - 1) / scale
    moved = max(0.0, multiplier + rho * g)
    assert value.item() == pytest.approx(0.5 + (moved**2 - multiplier**2) / (2 * rho), rel=1e-6, abs=1e-6)
    assert slope[0].tolist() == pytest.approx([moved / scale, 1.0], rel=1e-6, abs=1e-6)


def lexicographic(smoothing: float, **tolerances: float) -> Lexicographic:
    names = list(tolerances)
    return Lexicographic({n: DesignCost(n) for n in names}, dict.fromkeys(names, 0.0), tolerances, smoothing)


@given(st.lists(st.tuples(DISTANCES, DISTANCES, DISTANCES), min_size=2, max_size=6))
def test_the_sharp_form_is_the_lexicographic_order(designs):
    """Failures of the first goals in their order, then the last goal."""
    objective = lexicographic(0.0, a=1.0, b=2.0, c=0.5)

    def key(a, b, c):
        return max(a, 0.0), 0.0 if a > 0 else max(b, 0.0), 0.0 if a > 0 or b > 0 else c

    values = [objective(EVENTS, None, point(a=a, b=b, c=c)).item() for a, b, c in designs]
    for (one, x), (other, y) in itertools.permutations(zip(designs, values, strict=True), 2):
        assert (x < y) == (key(*one) < key(*other))


@given(DISTANCES, DISTANCES, DISTANCES, st.floats(0.05, 1.0))
def test_the_smooth_form_rises_in_every_goal_and_has_the_right_derivative(a, b, c, smoothing):
    objective = lexicographic(smoothing, a=1.0, b=2.0, c=0.5)
    phi = point(a=a, b=b, c=c)
    (slope,) = torch.autograd.grad(objective(EVENTS, None, phi).sum(), phi.values)
    assert (slope[0] >= 0).all() and slope[0].sum() > 0
    if max(abs(a), abs(b)) < 10 * smoothing:
        assert (slope[0] > 0).all()
    torch.autograd.gradcheck(lambda v: objective(EVENTS, None, DesignPoint(v, phi.layout)), (phi.values,), atol=1e-6)


@given(DISTANCES.filter(lambda u: abs(u) > 0.5), DISTANCES)
def test_the_smooth_form_tends_to_the_sharp_one(a, b):
    values = [lexicographic(s, a=1.0, b=1.0)(EVENTS, None, point(a=a, b=b)).item() for s in (0.01, 0.0)]
    assert values[0] == pytest.approx(values[1], abs=1e-9)
    assert -1 < values[1] < 0 if a < 0 else values[1] == pytest.approx(a, rel=1e-6)


def test_one_goal_is_that_goal_and_huge_distances_are_finite():
    assert lexicographic(0.25, a=2.0)(EVENTS, None, point(a=3.0)).item() == 1.5
    for a, b in itertools.product([-1e6, 1e6], repeat=2):
        phi = point(a=a, b=b)
        value = lexicographic(0.25, a=1.0, b=1.0)(EVENTS, None, phi)
        assert torch.isfinite(value) and torch.isfinite(torch.autograd.grad(value.sum(), phi.values)[0]).all()


def test_minimum_keeps_the_first_goal_and_then_lowers_the_second():
    """x ≤ 1 matters more than −x: the answer is at the limit, less a transition of its tolerance."""
    for tolerance in (0.1, 0.01, 0.001):
        objective = Lexicographic(
            {"first": DesignCost("x"), "second": DesignCost("below")},
            {"first": 1.0, "second": -1.0},
            {"first": tolerance, "second": 1.0},
            0.25,
        )
        x = torch.linspace(-1.0, 3.0, 400_001, dtype=torch.float64)
        phi = DesignPoint(torch.stack([x, x**2, -x], 1), square(1.0).layout)
        best = x[objective(EVENTS, None, phi).argmin()].item()
        assert 1 - 2.5 * tolerance < best < 1


def test_scenarios_inside_goals_are_reconstructed():
    """A term of a goal that needs a reconstruction gets it."""
    robust = Robust(Rate(value=0), {"nominal": Nominal(), "gain": Miscalibration(factor=3.0)})
    limited = Constrained(DesignCost("x"), {"rate": robust}, {"rate": 1.0}, rho=1.0)
    assert limited.judged(EVENTS, None, DesignPoint.of(x=0.0), lambda e, p: None).item() == pytest.approx(0.5)


def test_bad_settings_are_refused():
    cost = {"x": DesignCost("x")}
    bad = {
        "limits": lambda: Constrained(cost["x"], cost, {"y": 1.0}),
        "scales": lambda: Constrained(cost["x"], cost, {"x": 1.0}, {"x": 0.0}),
        "rho": lambda: Constrained(cost["x"], cost, {"x": 1.0}, rho=0.0),
        "multipliers": lambda: Constrained(cost["x"], cost, {"x": 1.0}, multipliers={"x": -1.0}),
        "levels": lambda: Lexicographic(cost, {}, {"x": 1.0}),
        "tolerances": lambda: Lexicographic(cost, {"x": 1.0}, {"x": 0.0}),
        "smoothing": lambda: Lexicographic(cost, {"x": 1.0}, {"x": 1.0}, -1.0),
    }
    for key, build in bad.items():
        with pytest.raises(ConfigurationError, match=rf"objective\.{key}"):
            build()
