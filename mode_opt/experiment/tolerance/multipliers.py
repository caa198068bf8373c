"""Lagrange multipliers of the limits that hold a design, and whether it is an optimum."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mode_opt.experiment.tolerance.limits import Limits
from mode_opt.experiment.tolerance.model import SIGNIFICANT, QuadraticModel
from mode_opt.experiment.tolerance.significance import Agreement, agreement
from mode_opt.objectives.uncertainty import Estimate

FLOOR = 0.01
"""Least error of a slope, in parts of the largest slope, where the multipliers weigh them: no optimum is exact."""


@dataclass(frozen=True, eq=False)
class Stationarity:
    r"""The Karush–Kuhn–Tucker conditions at a design, with errors.

    With slope b of the objective and gradients :math:`a_j` of the excesses :math:`g_j \le 0` of the near limits, the
    multipliers minimise

    .. math:: \sum_i w_i^2 \left(b_i + \sum_j \lambda_j a_{ji}\right)^2, \qquad \lambda_j \ge 0,

    with weights from the errors of the slope.

    Attributes:
        multipliers: one a limit, gain of J per field unit by which the limit gives way; 0 of limits that are not near.
        gains: what relaxing a limit alone buys. Where the gradients of near limits depend on each other the multipliers
            are not unique, and the gain is the smallest that they allow: of two equal limits neither buys anything.
        unique: whether there is only one value.
        active: limits with a multiplier that is significant, also when compared with what the slope may change between
            the design and the limit.
        normals: ``a x d``, unit gradients of those of them that are independent, in half ranges.
        holding: their indices.
        tangent: ``d x f``, an orthonormal basis of the displacements that keep all of them.
        rest: whether the slope along these vanishes, as it does at an optimum.
    """

    multipliers: list[Estimate]
    gains: list[Estimate]
    unique: list[bool]
    active: list[bool]
    normals: Tensor
    holding: list[int]
    tangent: Tensor
    rest: Agreement


def stationarity(model: QuadraticModel, limits: Limits) -> Stationarity:
    """Multipliers of the near limits and the slope that is left; see `Stationarity`."""
    near = torch.nonzero(limits.near)[:, 0].tolist()
    slope, errors = model.measured(lambda v, b, h: b)
    weight = 1 / torch.hypot(errors, FLOOR * slope.abs().max()).clamp_min(1e-300)
    rows = limits.gradient[near]
    size = rows.norm(dim=1)
    unit = rows / size[:, None]
    solved, scatter = model.measured(lambda v, b, h: _solved(unit, b, weight))
    found, unsure = solved / size, scatter / size
    # The slope is that of the design, which stands a little inside: at the limit it is another one.
    between = ((unit @ model.hessian) * unit).sum(1).abs() * limits.distance[near].abs() / size
    active = found > SIGNIFICANT * torch.hypot(unsure, between)
    alone = _unique(unit)
    values, gains = (dict.fromkeys(range(len(limits.entries)), Estimate(0.0, 0.0)) for _ in range(2))
    unique, flags = [True] * len(limits.entries), [False] * len(limits.entries)
    for place, j in enumerate(near):
        values[j] = Estimate(float(found[place]), float(unsure[place]))
        smallest = values[j].value if alone[place] else _smallest(unit, solved, place) / float(size[place])
        gains[j] = Estimate(smallest, values[j].standard_error)
        unique[j], flags[j] = alone[place], bool(active[place])
    normals, holding = _independent(unit, [place for place in range(len(near)) if bool(active[place])])
    tangent = _tangent(normals, len(slope))
    rest = agreement(*model.deviations(lambda v, b, h: tangent.T @ b), model.groups)
    return Stationarity(
        list(values.values()), list(gains.values()), unique, flags, normals, [near[k] for k in holding], tangent, rest
    )


def _solved(unit: Tensor, slope: Tensor, weight: Tensor) -> Tensor:
    """λ ≥ 0 of unit gradients, by non-negative least squares."""
    from scipy.optimize import nnls

    if not len(unit):
        return slope.new_zeros(0)
    scale = float((slope * weight).abs().max()) or 1.0
    solution, _ = nnls((unit * weight).T.numpy(), (-(slope * weight) / scale).numpy())
    return torch.from_numpy(solution * scale)


def _unique(unit: Tensor) -> list[bool]:
    """Whether a gradient is independent of the others."""
    if not len(unit):
        return []
    whole = int(torch.linalg.matrix_rank(unit, rtol=1e-6))
    others = [torch.cat([unit[:j], unit[j + 1 :]]) for j in range(len(unit))]
    return [(int(torch.linalg.matrix_rank(rest, rtol=1e-6)) if len(rest) else 0) < whole for rest in others]


def _smallest(unit: Tensor, solved: Tensor, place: int) -> float:
    """Least value of one multiplier among all that explain the slope equally well, by linear programming."""
    from scipy.optimize import linprog

    cost = np.zeros(len(unit))
    cost[place] = 1.0
    scale = float(solved.abs().max()) or 1.0
    found = linprog(cost, A_eq=unit.T.numpy(), b_eq=(unit.T @ solved / scale).numpy(), bounds=(0, None))
    return float(found.x[place]) * scale if found.x is not None else float(solved[place])


def _independent(unit: Tensor, active: list[int]) -> tuple[Tensor, list[int]]:
    kept: list[int] = []
    for place in active:
        if int(torch.linalg.matrix_rank(unit[[*kept, place]], rtol=1e-6)) > len(kept):
            kept.append(place)
    return unit[kept], kept


def _tangent(normals: Tensor, d: int) -> Tensor:
    q, _ = torch.linalg.qr(normals.T, mode="complete") if len(normals) else (torch.eye(d, dtype=torch.float64), None)
    return q[:, len(normals) :]
