"""Design: bounds and linear constraints hold for every ψ, maps are invertible and differentiable."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError, ShapeError

CALORIMETER: dict[str, Any] = {
    "parameters": {
        "absorber": {"start": 4.5, "bounds": [0.5, 6.0], "unit": "mm"},
        "gap": {"start": 2.5, "bounds": [0.5, 8.0], "unit": "mm"},
    },
    "derived": {"length": "50 * (absorber + gap)"},
    "constraints": ["length <= 400 mm"],
}


@st.composite
def problems(draw: st.DrawFn) -> tuple[Design, list[tuple[float, float]]]:
    """1 to 5 columns (bounded, half bounded, unbounded, logarithmic) with up to 3 linear constraints."""
    count = draw(st.integers(1, 5))
    parameters, limits, starts = {}, [], []
    for index in range(count):
        low = draw(st.integers(-1000, 1000)) / 10
        width = draw(st.integers(1, 1000)) / 10
        kind = draw(st.sampled_from(["both", "lower", "upper", "none", "log"]))
        if kind == "log":
            low = abs(low) + 0.1
        bounds = [
            None if kind in ("upper", "none") else low,
            None if kind in ("lower", "none") else low + width,
        ]
        start = low + draw(st.integers(0, 100)) / 100 * width
        parameters[f"x{index}"] = {
            "start": min(start, low + width), "bounds": bounds, "scale": "log" if kind == "log" else "linear"
        }  # fmt: skip
        limits.append((-np.inf if bounds[0] is None else low, np.inf if bounds[1] is None else low + width))
        starts.append(min(start, low + width))
    constraints = []
    for index in range(draw(st.integers(0, 3))):
        factors = draw(st.lists(st.floats(-3, 3).map(lambda x: round(x, 2)), min_size=count, max_size=count))
        slack = draw(st.integers(1, 500)) / 10
        limit = sum(f * x for f, x in zip(factors, starts, strict=True)) + slack
        terms = " + ".join(f"({f!r}) * x{i}" for i, f in enumerate(factors))
        constraints.append({"expression": f"{terms} <= {limit!r}", "name": f"c{index}"})
    try:
        return Design(parameters, {}, constraints), limits
    except ConfigurationError as error:
        assume("leave room" not in str(error))
        raise


def worst_excess(design: Design, values: torch.Tensor) -> float:
    """Largest excess over all constraints, evaluated in the dtype of the values.

    Sums over unbounded columns can only be exact up to the rounding of what is summed.
    """
    phi = type(design())(values, design.layout)
    rounding = torch.zeros(1)
    if not all(np.isfinite([*b.lower, *b.upper]).all() for b in design.declaration.blocks.values()):
        rounding = 3 * values.abs().sum(1, keepdim=True) * 4 * torch.finfo(values.dtype).eps
    parts = [(c.excess(phi, values) - rounding).max() for c in design.constraints]
    return max((float(part) for part in parts), default=-1.0)


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64]))
def test_bounds_and_linear_constraints_hold_exactly(
    problem: tuple[Design, list[tuple[float, float]]], seed: int, dtype: torch.dtype
) -> None:
    design, limits = problem
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([0.3, 3.0, 50.0, 50.0]).repeat(250)[:, None]
    psi = (torch.rand(1000, design.psi.shape[1], generator=generator) * 2 - 1) * size
    psi[500:] = psi[500:].sign() * 50.0
    values = design.to(dtype).point(psi.to(dtype)).values
    assert values.dtype == dtype
    assert values.isfinite().all()
    low, high = torch.tensor(limits, dtype=torch.float64).T
    assert (values.double() >= low).all(), "not even by the rounding of the dtype"
    assert (values.double() <= high).all()
    assert worst_excess(design, values.detach()) <= 0.0
    for method in ("sobol", "latin_hypercube", "normal"):
        near = design.nearby(64, 0.5, generator, method).values
        assert (near.double() >= low).all()
        assert (near.double() <= high).all()
        assert worst_excess(design, near) <= 0.0


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 2**31))
def test_assign_is_the_inverse_of_point(problem: tuple[Design, list[tuple[float, float]]], seed: int) -> None:
    design, _ = problem
    design = design.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        psi = torch.randn(1, design.psi.shape[1], generator=generator, dtype=torch.float64)
    phi = design.point(psi).detach()
    design.assign({name: phi[name] for name in design.free_names})
    scale = torch.tensor(design.layout.scale, dtype=torch.float64)
    torch.testing.assert_close(design().values / scale, phi.values / scale, rtol=2e-6, atol=2e-6)


@settings(max_examples=25, deadline=None)
@given(problems(), st.integers(0, 2**31))
def test_derivatives(problem: tuple[Design, list[tuple[float, float]]], seed: int) -> None:
    design, _ = problem
    design = design.double()
    generator = torch.Generator().manual_seed(seed)
    psi = torch.randn(2, design.psi.shape[1], generator=generator, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(design.layout.scale, dtype=torch.float64)
    torch.autograd.gradcheck(lambda x: design.point(x).values / scale, psi, atol=1e-4, rtol=1e-3)


def test_far_from_constraints_the_map_is_a_hyperbolic_tangent_per_column() -> None:
    design = Design(CALORIMETER["parameters"], {}, ["absorber + gap <= 100 mm"]).double()
    psi = torch.randn(100, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centre, half = torch.tensor([3.25, 4.25]), torch.tensor([2.75, 3.75])
    torch.testing.assert_close(design.point(psi).values, centre + half * torch.tanh(psi), rtol=1e-3, atol=1e-3)


def test_the_map_is_the_gradient_of_a_convex_function() -> None:
    """So it is a bijection without dead zones: the Jacobian (in half ranges) is symmetric and positive."""
    design = Design(CALORIMETER["parameters"], {}, ["absorber + 3 * gap <= 20 mm", "absorber <= 2 * gap"]).double()
    half = torch.tensor(design.layout.scale, dtype=torch.float64)
    for psi in torch.cartesian_prod(*[torch.linspace(-4, 4, 9, dtype=torch.float64)] * 2):
        jacobian = torch.autograd.functional.jacobian(lambda x: design.point(x).values[0] / half, psi[None])[:, 0]
        torch.testing.assert_close(jacobian, jacobian.T, rtol=1e-6, atol=1e-9)
        assert float(torch.linalg.eigvalsh(jacobian).min()) > 1e-6


def test_the_whole_polytope_is_reached() -> None:
    design = Design(**CALORIMETER).double()
    saturated = design.point(torch.tensor([[12.0, 9.0]], dtype=torch.float64))
    assert saturated["length"].item() == pytest.approx(400.0, rel=1e-3)
    corner = design.point(torch.tensor([[-12.0, -12.0]], dtype=torch.float64))
    assert corner.values[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)


def test_start_on_a_bound_or_limit_can_still_move() -> None:
    parameters = copy.deepcopy(CALORIMETER["parameters"])
    parameters["absorber"]["start"], parameters["gap"]["start"] = 6.0, 2.0
    design = Design(parameters, CALORIMETER["derived"], CALORIMETER["constraints"])
    assert design()["length"].item() == pytest.approx(400.0, rel=1e-5)
    design()["absorber"].sum().backward()
    assert design.psi.grad is not None
    assert design.psi.grad.isfinite().all()
    assert design.psi.grad.abs().max() > 1e-9


def test_hundred_parameters() -> None:
    layers = {"start": 4.0, "bounds": [0.5, 6.0], "unit": "mm", "size": 50}
    design = Design(
        {"absorber_thickness": layers, "gap_thickness": {**layers, "start": 3.0}},
        {},
        ["sum(absorber_thickness) + sum(gap_thickness) <= 400 mm"],
    )
    assert design.psi.shape == (1, 100)
    psi = torch.randn(5000, 100, generator=torch.Generator().manual_seed(1)) * torch.logspace(-2, 2, 5000)[:, None]
    psi[::2] = psi[::2].abs()
    phi = design.point(psi)
    length = phi["absorber_thickness"].sum(1) + phi["gap_thickness"].sum(1)
    assert float(length.max()) <= 400.0
    assert float(length.max()) > 399.0
    name = "sum(absorber_thickness) + sum(gap_thickness)"
    assert design.constraints_at()[name] == (pytest.approx(350.0), 400.0, "mm", True)


def test_reports() -> None:
    design = Design(**CALORIMETER)
    assert design.concrete() == {
        "absorber": {"value": 4.5, "unit": "mm"},
        "gap": {"value": 2.5, "unit": "mm"},
    }
    assert design.columns() == {"absorber": 4.5, "gap": 2.5}
    assert design.constraints_at() == {"length": (350.0, 400.0, "mm", True)}
    assert design.named()["length"].item() == pytest.approx(350.0)
    metres = Design(CALORIMETER["parameters"], CALORIMETER["derived"], ["length <= 0.4 m"])
    assert metres.constraints_at() == {"length": (0.35, 0.4, "m", True)}
    with pytest.raises(ShapeError, match="a single design"):
        design.concrete(design.point(torch.zeros(2, 2)))
    with pytest.raises(ShapeError, match="b x 2"):
        design.point(torch.zeros(2, 3))


def test_limits_on_either_side_and_two_on_one_quantity() -> None:
    design = Design(
        CALORIMETER["parameters"],
        CALORIMETER["derived"],
        ["100 mm <= length", "length <= 400 mm", "gap <= absorber"],
    )
    at = design.constraints_at()
    assert at["length"] == (350.0, 100.0, "mm", True)
    assert at["length_maximum"] == (350.0, 400.0, "mm", True)
    assert at["gap"] == (2.5, 4.5, "mm", True)
    psi = torch.randn(2000, 2, generator=torch.Generator().manual_seed(2)) * 20
    length = design.point(psi)["length"]
    assert 100.0 <= float(length.min()) < 101.0 < 399.0 < float(length.max()) <= 400.0


def test_nearby_fills_its_neighbourhood_and_is_reproducible() -> None:
    design = Design(CALORIMETER["parameters"])
    for method in ("sobol", "latin_hypercube", "normal"):
        first, again = (design.nearby(1025, 0.2, torch.Generator().manual_seed(3), method) for _ in range(2))
        assert torch.equal(first.values, again.values)
        assert not first.values.requires_grad
        torch.testing.assert_close(first.values[0], design().values[0])
        offset = (first.values - design().values).detach() / torch.tensor([2.75, 3.75])
        cut = 0.6 if method == "normal" else 0.2
        assert float(offset.abs().max()) <= cut * (1 + 1e-5)
        # 1024 points: standard error of the mean at most 0.2 / 32; absorber's upper bound cuts a normal off
        assert abs(float(offset[:, 1].mean())) < 4 * 0.2 / 32
        expected = 0.2 / np.sqrt(3) if method != "normal" else 0.2
        assert float(offset[:, 1].std()) == pytest.approx(expected, rel=0.1)
    with pytest.raises(ConfigurationError, match=r"nearby\.method: got 'grid'"):
        design.nearby(3, 0.1, method="grid")
    with pytest.raises(ConfigurationError, match=r"nearby\.radius: got 0"):
        design.nearby(3, 0)
    with pytest.raises(ConfigurationError, match=r"nearby\.b: got 0"):
        design.nearby(0, 0.1)


def test_latin_hypercube_has_one_point_in_each_slice() -> None:
    design = Design(CALORIMETER["parameters"])
    values = design.nearby(17, 0.2, torch.Generator().manual_seed(5), "latin_hypercube").values[1:].double()
    slices = ((values - (design().values - torch.tensor([0.55, 0.75]))) / torch.tensor([1.1, 1.5]) * 16).floor()
    for column in slices.T:
        assert sorted(column.tolist()) == list(range(16))


def test_assign_refuses_and_then_changes_nothing() -> None:
    design = Design(**CALORIMETER)
    before = design.psi.clone()
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"absorber": 6.5}, r"design\.parameters\.absorber: got 6\.5, expected .* the bounds \[0\.5, 6\] mm"),
        (
            {"absorber": 5.9, "gap": 3},
            r"design\.constraints\.length: got '.* length = 445 mm', expected at most 400 mm",
        ),
        ({"absorber": "2 kg"}, r"design\.parameters\.absorber: got '2 kg'"),
        ({"absorber": float("nan")}, "not NaN"),
        ({"absorber": [1, 2]}, "one number or 1 of them"),
        ({"gasket": 3}, r"design\.parameters\.gasket: got 3, expected a parameter; there are absorber, gap"),
    ]
    for values, message in refusals:
        with pytest.raises(ConfigurationError, match=message):
            design.assign(values)
    assert torch.equal(design.psi, before)
    design.assign({"absorber": "0.3 cm"})
    assert design.concrete()["absorber"]["value"] == pytest.approx(3.0, rel=1e-6)
    assert design.concrete()["gap"]["value"] == pytest.approx(2.5, rel=1e-6)
    design.assign(Design(**CALORIMETER).concrete())
    torch.testing.assert_close(design.psi, before, rtol=1e-5, atol=1e-5)


def test_fixed_and_linked_parameters() -> None:
    parameters: dict[str, Any] = {
        "a": {"start": 3.0, "unit": "mm", "free": False},
        "b": {"expression": "2 * a", "unit": "mm"},
        "c": {"start": 1.0, "unit": "mm"},
    }
    design = Design(parameters, {}, ["a * c <= 9 mm**2"])
    assert design.free_names == ("c",)
    assert design.constraints[0].linear, "fixed parameters are numbers"
    assert design.columns() == {"b": 6.0, "c": 1.0}
    design.assign({"a": 3, "b": 6})
    with pytest.raises(ConfigurationError, match=r"design\.parameters\.a: got 4, .* it is fixed"):
        design.assign({"a": 4})
    with pytest.raises(ConfigurationError, match=r"design\.parameters\.b: got 4, expected 6 mm, which follows"):
        design.assign({"b": 4})
    nothing = Design({"a": parameters["a"]})
    assert nothing.psi.shape == (1, 0)
    assert nothing.free_names == ()
    assert nothing()["a"].tolist() == [[3.0]]
    assert nothing.nearby(3, 0.1)["a"].tolist() == [[3.0]] * 3


def test_linked_bounds_are_constraints() -> None:
    link = {"expression": "8 mm - a", "unit": "mm", "bounds": [1, 5]}
    design = Design({"a": {"start": 4.0, "bounds": [0, 9], "unit": "mm"}, "g": link})
    psi = torch.linspace(-50, 50, 1001)[:, None]
    assert 1.0 <= float(design.point(psi)["g"].min()) < 1.001
    assert 4.999 < float(design.point(psi)["g"].max()) <= 5.0
    assert design.constraints_at()["g_minimum"] == (4.0, 1.0, "mm", True)


def test_state_copies_and_precision() -> None:
    design, other = Design(**CALORIMETER), Design(**CALORIMETER)
    with torch.no_grad():
        design.psi.add_(0.3)
    assert list(design.state_dict()) == ["psi"]
    assert [name for name, _ in design.named_parameters()] == ["psi"]
    other.load_state_dict(design.state_dict())
    assert torch.equal(other().values, design().values)
    assert torch.equal(copy.deepcopy(design)().values, design().values)
    assert torch.equal(pickle.loads(pickle.dumps(design))().values, design().values)
    wide = design().values.double()
    torch.testing.assert_close(design.double()().values, wide, rtol=1e-6, atol=1e-6)
    assert design().values.dtype == torch.float64
