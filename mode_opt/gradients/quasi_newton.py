"""Descent by gradients alone, for narrow valleys and gradients that belong to no function exactly."""

from collections.abc import Callable

import torch
from torch import Tensor

LIMIT = 0.3
"""First limit of a step, in radii."""
DONE = 2e-3
"""Length of a step, in radii, below which the descent ends."""


def descended(
    gradient: Callable[[Tensor], Tensor], start: Tensor, inside: Callable[[Tensor], Tensor], radius: float, calls: int
) -> Tensor:
    """Where a trust-region quasi-Newton method ends, ``1 x d``.

    Steps minimise the quadratic model ``g·s + s·Bs/2`` for ``|s| <= limit``; B is updated from every step by the
    symmetric rank-one formula, which keeps negative curvature, and a step is kept if ``(g + g')·s / 2 < 0``: the
    trapezoidal rule stands for the function, which random choices make jump where the mean does not. A few times d
    gradients follow a valley for which Adam needs a hundred.

    Args:
        gradient: of ``1 x d``, ``d`` numbers; with the same noise at each call.
        start: ``1 x d``.
        inside: the nearest allowed point.
        radius: of the region.
        calls: of the gradient at most; a gradient that is not finite ends the descent too.

    Source: J. Nocedal and S. Wright, "Numerical Optimization", Springer 2006, sections 4.1 and 6.2.
    """
    here, slope, limit = start, gradient(start).double().cpu(), LIMIT * radius
    curvature = torch.eye(len(slope), dtype=torch.float64) * float(slope.norm()) / limit
    for _ in range(calls - 1):
        if not bool(slope.isfinite().all()):
            break
        there = inside(here + _step(curvature, slope, limit)[None].to(here))
        step = (there - here)[0].double().cpu()
        if float(step.norm()) < DONE * radius:
            break
        new = gradient(there).double().cpu()
        if not bool(new.isfinite().all()):
            break
        promised, gained = slope @ step + step @ curvature @ step / 2, (slope + new) @ step / 2
        ratio = float(gained / promised) if promised < 0 else 0.0
        curvature = _updated(curvature, step, new - slope)
        if gained < 0:
            here, slope = there, new
        length = float(step.norm())
        if ratio < 0.2:
            limit = length / 2.5
        elif ratio > 0.7 and length > 0.7 * limit:
            limit = min(2 * limit, radius)
    return here


def _updated(curvature: Tensor, step: Tensor, change: Tensor) -> Tensor:
    """The symmetric rank-one update, unless its denominator says nothing."""
    rest = change - curvature @ step
    along = rest @ step
    if float(along.abs()) <= 1e-8 * float(rest.norm() * step.norm()):
        return curvature
    return curvature + torch.outer(rest, rest) / along


def _step(curvature: Tensor, slope: Tensor, limit: float) -> Tensor:
    """The minimum of the quadratic model within ``limit``: ``−(B + λ)⁻¹ g`` with the smallest λ that allows it."""
    values, vectors = torch.linalg.eigh(curvature)
    along = vectors.T @ slope

    def step(shift: float) -> Tensor:
        return -(vectors @ (along / (values + shift)))

    lowest = float(values[0])
    if lowest > 0 and float(step(0.0).norm()) <= limit:
        return step(0.0)
    size = float(values.abs().max())
    low = max(0.0, -lowest) + 1e-9 * (size + 1e-30)
    high = low + float(slope.norm()) / limit + size
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if float(step(middle).norm()) > limit else (low, middle)
    return step(high)
