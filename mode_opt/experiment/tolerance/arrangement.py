"""Which designs a quadratic is fitted to, and where they lie."""

from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError

DENSE = 15
"""Number of parameters up to which mixed derivatives are measured; the number of designs grows with its square."""

SHRINK = 0.7


def arrangement(d: int) -> Tensor:
    r"""Designs in units of the radius, ``m x d``: the centre first, then pairs that are each other's mirror image.

    On each axis ±1 and ±½, so that a curvature that is not constant shows; up to `DENSE` parameters also, for each
    pair of them, :math:`(\pm 1, \pm 1)/\sqrt 2`, as far from the centre as those on the axes: ``1 + 4 d + 2 d (d − 1)``
    designs for ``(d + 1)(d + 2)/2`` coefficients. By symmetry slopes are not correlated with value and curvatures.

    Reference: G. Box and D. Behnken, Technometrics 2 (1960) 455.
    """
    eye = torch.eye(d, dtype=torch.float64)
    half = [eye, eye / 2]
    if d <= DENSE:
        pairs = [(eye[i] + sign * eye[j]) / 2**0.5 for i, j in combinations(range(d), 2) for sign in (1.0, -1.0)]
        half += [torch.stack(pairs)] if pairs else []
    positive = torch.cat(half)
    both = torch.stack([positive, -positive], 1).flatten(0, 1)
    return torch.cat([torch.zeros(1, d, dtype=torch.float64), both])


def columns(u: Tensor) -> Tensor:
    """The monomials of a quadratic at ``m x d`` places: 1, u, u²/2, and the products ``u_i u_j`` (``i < j``)."""
    d = u.shape[1]
    parts = [torch.ones(len(u), 1, dtype=u.dtype), u, u**2 / 2]
    if d <= DENSE:
        row, column = torch.triu_indices(d, d, 1)
        parts.append(u[:, row] * u[:, column])
    return torch.cat(parts, 1)


def coefficients(theta: Tensor, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """Value ``K``, slope ``K x d`` and Hessian ``K x d x d`` from coefficients ``K x p`` of `columns`."""
    value, slope, bend = theta[:, 0], theta[:, 1 : 1 + d], theta[:, 1 + d : 1 + 2 * d]
    hessian = torch.diag_embed(bend)
    if d <= DENSE:
        row, column = torch.triu_indices(d, d, 1)
        hessian[:, row, column] = hessian[:, column, row] = theta[:, 1 + 2 * d :]
    return value, slope, hessian


def inside(radius: Tensor, u: Tensor, matrix: Tensor, slack: Tensor) -> tuple[Tensor, Tensor]:
    """The place nearest to a design around which all designs hold linear limits.

    Where there is no such place the radius shrinks.

    Args:
        radius: ``d``, half ranges.
        u: ``m x d``, the designs in units of it.
        matrix, slack: ``k x d`` and ``k``, limits ``matrix @ t <= slack`` of displacements t from the design.

    Returns:
        Shift of the centre and radius, ``d`` each.

    Raises:
        ConfigurationError: if the limits leave no room for displacements.
    """
    for _ in range(30):
        rows = matrix * radius
        reach = (rows @ u.T).amax(1) if len(rows) else slack
        shift = _nearest(rows.numpy(), (slack - reach - 1e-9).numpy())
        if shift is not None:
            return radius * torch.from_numpy(shift), radius
        radius = radius * SHRINK
    expected = "bounds and linear constraints with room for displacements around the design"
    raise ConfigurationError("design.constraints", "limits that hold the design from all sides", expected)


def _nearest(rows: np.ndarray, limit: np.ndarray) -> np.ndarray | None:
    """The shortest x with ``rows @ x <= limit``, or None if there is none.

    Source: C. Lawson and R. Hanson, Solving Least Squares Problems (1995), chapter 23.4: the residual of a non-negative
    least-squares problem points to it.
    """
    from scipy.optimize import nnls

    d = rows.shape[1]
    if not len(rows) or bool((limit >= 0).all()):
        return np.zeros(d)
    system = np.vstack([-rows.T, -limit[None]])
    solution, size = nnls(system, np.r_[np.zeros(d), 1.0])
    residual = system @ solution - np.r_[np.zeros(d), 1.0]
    if size < 1e-7 or abs(residual[-1]) < 1e-12:
        return None
    x = -residual[:-1] / residual[-1]
    return x if bool((rows @ x <= limit + 1e-7 * (1 + np.abs(x).max())).all()) else None
