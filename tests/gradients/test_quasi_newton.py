"""Gradients alone lead to the bottom of a narrow valley."""

import torch

from mode_opt.gradients.quasi_newton import descended

CURVATURE = torch.tensor([[1.0, 0.0, 0.0], [0.0, 20.0, 0.0], [0.0, 0.0, 400.0]])


def rotation() -> torch.Tensor:
    return torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]


def test_a_narrow_valley_takes_a_few_gradients_for_each_parameter():
    """Condition 400, not along the axes: nothing remains after 25 gradients."""
    curvature = rotation() @ CURVATURE @ rotation().T
    best, asked = torch.tensor([[0.3, -0.2, 0.1]]), []

    def gradient(psi: torch.Tensor) -> torch.Tensor:
        asked.append(psi)
        return (psi - best)[0] @ curvature

    end = descended(gradient, torch.zeros(1, 3), lambda psi: psi, radius=1.0, calls=25)
    excess = 0.5 * (end - best)[0] @ curvature @ (end - best)[0]
    start = 0.5 * best[0] @ curvature @ best[0]
    assert len(asked) <= 25
    assert excess < 1e-4 * start


def test_negative_curvature_is_followed_to_the_edge_of_the_region():
    def gradient(psi: torch.Tensor) -> torch.Tensor:
        return torch.stack([-psi[0, 0] - 0.01, psi[0, 1]])

    end = descended(gradient, torch.zeros(1, 2), lambda psi: psi.clamp(-0.5, 0.5), radius=0.5, calls=30)
    assert torch.allclose(end, torch.tensor([[0.5, 0.0]]), atol=1e-3)


def test_a_gradient_that_is_no_number_ends_it_where_it_was():
    def gradient(psi: torch.Tensor) -> torch.Tensor:
        return torch.full((2,), torch.nan) if bool(psi[0, 0] > 0.2) else torch.tensor([-1.0, 0.0])

    end = descended(gradient, torch.zeros(1, 2), lambda psi: psi, radius=0.5, calls=30)
    assert bool(end.isfinite().all())
    assert float(end[0, 0]) <= 0.2


def test_a_flat_function_leaves_it_at_the_start():
    end = descended(lambda psi: torch.zeros(2), torch.ones(1, 2), lambda psi: psi, radius=0.5, calls=30)
    assert torch.equal(end, torch.ones(1, 2))
