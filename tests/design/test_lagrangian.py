"""Augmented Lagrangian against its closed form, and the final step into the feasible region."""

from typing import Any

import pytest
import torch

from mode_opt.design import AugmentedLagrangian, Design, DesignPoint
from mode_opt.errors import ConfigurationError, ModeOptError


def square() -> Design:
    return Design({"x": {"start": 2.0, "bounds": [-5, 5]}}, {}, ["x >= 1"]).double()


def test_closed_form_of_a_square_above_one() -> None:
    """min x^2, x >= 1, rho = 10: x_{k+1} = (rho + lambda_k) / (2 + rho), lambda_{k+1} = 2 x_{k+1}."""
    design = square()
    lagrangian = AugmentedLagrangian(design.constraints, rho=10.0).double()
    assert design.constraints[0].scale == 1.0
    for x_k, lambda_k in (
        (0.833333, 1.666667),
        (0.972222, 1.944444),
        (0.995370, 1.990741),
        (0.999228, 1.998457),
    ):
        x = torch.tensor([[1.0]], dtype=torch.float64, requires_grad=True)
        for _ in range(60):  # Newton on x^2 + penalty, which is piecewise quadratic
            loss = (x**2).sum() + lagrangian.penalty(DesignPoint(x, design.layout)).sum()
            (slope,) = torch.autograd.grad(loss, x)
            x = (x - slope / 12.0).detach().requires_grad_(True)
        assert x.item() == pytest.approx(x_k, abs=1e-6)
        lagrangian.update(DesignPoint(x, design.layout))
        assert lagrangian.by_name()["x"] == pytest.approx(lambda_k, abs=1e-6)
    assert lagrangian.rho.item() == 10.0, "the violation shrinks six-fold each time: no need for more"


def test_penalty_is_smooth_and_batched() -> None:
    design = square()
    lagrangian = AugmentedLagrangian(design.constraints).double()
    lagrangian.update(DesignPoint(torch.tensor([[0.5]], dtype=torch.float64), design.layout))
    x = torch.linspace(-2, 3, 11, dtype=torch.float64)[:, None].requires_grad_(True)
    assert lagrangian.penalty(DesignPoint(x, design.layout)).shape == (11,)
    torch.autograd.gradcheck(lambda v: lagrangian.penalty(DesignPoint(v, design.layout)), x + 1e-3)


def test_rho_grows_only_if_the_violation_does_not_shrink() -> None:
    design = square()
    lagrangian = AugmentedLagrangian(design.constraints, rho=2.0, growth=3.0, shrink=0.5)
    violated = DesignPoint(torch.tensor([[0.5]]), design.layout)
    lagrangian.update(violated)
    assert lagrangian.rho.item() == 2.0
    lagrangian.update(violated)
    assert lagrangian.rho.item() == 6.0
    other = AugmentedLagrangian(design.constraints)
    other.load_state_dict(lagrangian.state_dict())
    assert (other.rho.item(), other.multipliers.item()) == (6.0, lagrangian.multipliers.item())


def test_refusals() -> None:
    with pytest.raises(ConfigurationError, match="rho: got 0, expected a positive number"):
        AugmentedLagrangian((), rho=0)
    with pytest.raises(ConfigurationError, match="growth: got 0"):
        AugmentedLagrangian((), growth=0.5)
    nothing = AugmentedLagrangian(())
    phi = square()()
    nothing.update(phi)
    assert nothing.penalty(phi).tolist() == [0.0]


NONLINEAR: dict[str, Any] = {
    "parameters": {
        "x": {"start": 3.0, "bounds": [0.1, 5], "unit": "mm"},
        "y": {"start": 3.0, "bounds": [0.1, 5], "unit": "mm"},
    },
    "derived": {"area": "x * y"},
    "constraints": ["area <= 4 mm**2", "x + y <= 8 mm", "x / y >= 0.25"],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_restore_ends_satisfied_not_almost(dtype: torch.dtype) -> None:
    design = Design(**NONLINEAR).to(dtype)
    assert [c.name for c in design.nonlinear_constraints] == ["area", "x / y"]
    assert not design.constraints_at()["area"].satisfied
    assert AugmentedLagrangian(design.nonlinear_constraints).restore(design)
    phi = design()
    assert float(phi["area"].detach()) <= 4.0
    assert float(phi["area"].detach()) == pytest.approx(4.0, rel=1e-4), "the nearest point, not just any"
    assert phi["x"].item() == pytest.approx(2.0, rel=1e-3), "by symmetry"
    before = design.psi.clone()
    assert not AugmentedLagrangian(design.nonlinear_constraints).restore(design)
    assert torch.equal(design.psi, before), "what is satisfied is left alone"


def test_restore_says_when_it_cannot() -> None:
    impossible = Design(NONLINEAR["parameters"], NONLINEAR["derived"], ["area <= 0.001 mm**2"])
    before = impossible.psi.clone()
    message = r"design\.constraints\.area: no design found that satisfies it; the nearest has .* limit is 0\.001"
    with pytest.raises(ModeOptError, match=message):
        AugmentedLagrangian(impossible.nonlinear_constraints).restore(impossible)
    assert torch.equal(impossible.psi, before)


def test_array_constraints_have_a_multiplier_per_element() -> None:
    design = Design(
        {"b": {"start": [1.0, 2.0, 3.0], "bounds": [0, 5]}},
        {},
        [{"expression": "b ** 2 <= 5", "name": "square"}],
    )
    lagrangian = AugmentedLagrangian(design.nonlinear_constraints)
    assert design.constraints_at()["square"] == (9.0, 5.0, "", False)
    lagrangian.update(design())
    assert lagrangian.multipliers.tolist() == pytest.approx([0.0, 0.0, 10 * 4 / 5], rel=1e-5)
    assert lagrangian.by_name() == {"square": pytest.approx(8.0, rel=1e-5)}
    assert lagrangian.restore(design)
    assert design()["b"][0].tolist() == pytest.approx([1.0, 2.0, 5**0.5], rel=1e-4)
