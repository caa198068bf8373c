"""Adam on ψ reaches the constrained optimum that scipy's SLSQP finds in φ, inside and on the boundary."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from mode_opt.design import AugmentedLagrangian, Design

BOX = {
    "a": {"start": 4.5, "bounds": [0.5, 6.0], "unit": "mm"},
    "g": {"start": 2.5, "bounds": [0.5, 8.0], "unit": "mm"},
}
LINEAR = ["50 * (a + g) <= 400 mm", "a <= 2 * g"]


def adam(design: Design, target: torch.Tensor, matrix: torch.Tensor, steps: int = 1000) -> None:
    """Minimise a quadratic plus the augmented Lagrangian of what does not hold by construction."""
    lagrangian = AugmentedLagrangian(design.nonlinear_constraints).double()
    optimiser = torch.optim.Adam(design.parameters(), lr=0.05, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        phi = design()
        offset = phi.values - target
        loss = (offset @ matrix * offset).sum() + lagrangian.penalty(phi).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 49:
            lagrangian.update(design())
    lagrangian.restore(design)


def slsqp(target: np.ndarray, matrix: np.ndarray, limits: list[Any], start: np.ndarray, box: list[Any]) -> np.ndarray:
    found = minimize(
        lambda x: (x - target) @ matrix @ (x - target), start, bounds=box, method="SLSQP",
        constraints=[{"type": "ineq", "fun": limit} for limit in limits], options={"ftol": 1e-12},
    )  # fmt: skip
    assert found.success
    return np.asarray(found.x)


@pytest.mark.parametrize("target", [(3.0, 2.0), (3.0, 6.5), (9.0, 9.0), (5.5, 1.0), (0.1, 4.0), (-3.0, 20.0)], ids=str)
def test_quadratic_under_linear_constraints(target: tuple[float, float]) -> None:
    matrix = np.array([[1.0, 0.3], [0.3, 0.5]])
    limits = [lambda x: 8 - x.sum(), lambda x: 2 * x[1] - x[0]]
    expected = slsqp(np.array(target), matrix, limits, np.array([4.5, 2.5]), [(0.5, 6.0), (0.5, 8.0)])
    design = Design(BOX, {}, LINEAR).double()
    adam(design, torch.tensor([target], dtype=torch.float64), torch.from_numpy(matrix))
    half = np.array([2.75, 3.75])
    assert design().values[0].detach().numpy() / half == pytest.approx(expected / half, abs=0.01)
    assert all(at.satisfied for at in design.constraints_at().values())


@pytest.mark.parametrize("target", [(1.0, 2.0), (5.0, 5.0)], ids=str)
def test_quadratic_under_a_nonlinear_constraint(target: tuple[float, float]) -> None:
    matrix = np.eye(2)
    limits = [lambda x: 8 - x.sum(), lambda x: 6 - x[0] * x[1]]
    expected = slsqp(np.array(target), matrix, limits, np.array([2.0, 2.5]), [(0.5, 6.0), (0.5, 8.0)])
    design = Design(BOX, {}, [LINEAR[0], "a * g <= 6 mm**2"]).double()
    adam(design, torch.tensor([target], dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    reached = design().values[0].detach().numpy()
    # (5, 5) has two mirror optima up to the bounds: compare what is minimised there
    loss = [float(((x - np.array(target)) ** 2).sum()) for x in (reached, expected)]
    assert loss[0] == pytest.approx(loss[1], rel=0.01, abs=1e-4)
    assert float(design.named()["a"].detach() * design.named()["g"].detach()) <= 6.0


def test_hundred_parameters_with_bounds_and_the_limit_met() -> None:
    """The optimum is ``clip(t - m)``: m found by bisection so that the sum is the limit."""
    target = torch.linspace(-3.0, 9.0, 100, dtype=torch.float64)
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        expected = (target - middle).clamp(0.5, 6.0)
        low, high = (middle, high) if float(expected.sum()) > 300 else (low, middle)
    layers = {"start": 2.9, "bounds": [0.5, 6.0], "size": 100}
    design = Design({"x": layers}, {}, ["sum(x) <= 300"]).double()
    adam(design, target[None], torch.eye(100, dtype=torch.float64), steps=1000)
    loss, best = (float(((x - target) ** 2).sum()) for x in (design().values.detach()[0], expected))
    assert loss == pytest.approx(best, rel=0.01)
    assert float(design()["x"].sum().detach()) <= 300.0


def test_forty_parameters_on_the_face_of_a_constraint() -> None:
    """min |x - t|^2 with sum x <= c: the projection t - (sum t - c)/n where no bound is met."""
    target = torch.linspace(3.0, 5.0, 40, dtype=torch.float64)
    design = Design({"x": {"start": 2.0, "bounds": [0, 8], "size": 40}}, {}, ["sum(x) <= 120"]).double()
    adam(design, target[None], torch.eye(40, dtype=torch.float64), steps=1000)
    expected = target - (float(target.sum()) - 120) / 40
    loss, best = (float(((x - target) ** 2).sum()) for x in (design().values.detach()[0], expected))
    assert loss == pytest.approx(best, rel=0.01)
    assert float(design()["x"].sum().detach()) <= 120.0
