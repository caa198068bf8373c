"""From a quadratic model and the limits to tolerances."""

import torch
from torch import Tensor

from mode_opt.experiment.tolerance.limits import Limits
from mode_opt.experiment.tolerance.model import QuadraticModel, allowed, allowed_loss, share
from mode_opt.experiment.tolerance.multipliers import Stationarity, stationarity
from mode_opt.experiment.tolerance.regression import Fit
from mode_opt.experiment.tolerance.result import (
    DirectionTolerance,
    LimitTolerance,
    ParameterTolerance,
    Side,
    Tolerances,
)
from mode_opt.experiment.tolerance.space import Space
from mode_opt.objectives.uncertainty import Estimate


def judged(
    space: Space,
    limits: Limits,
    model: QuadraticModel,
    fit: Fit | None,
    loss_percent: float,
    further: list[LimitTolerance],
) -> Tolerances:
    """The tolerances of a design.

    Args:
        space: of the parameters.
        limits: of the design.
        model: of the objective.
        fit: of a regression.
        loss_percent: allowed loss, in percent of ``|J|``.
        further: limits of the objective.

    Raises:
        NonFiniteError: if the objective is 0, of which no percentage is a loss.
    """
    loss = allowed_loss(model.value, loss_percent)
    found = stationarity(model, limits)
    directions = _directions(space, limits, model, found, loss) if model.full else []
    gains = [max(0.0, d.slope.value**2 - d.slope.standard_error**2) / (2 * d.curvature.value)
             for d in directions if d.kind == "stiff"]  # fmt: skip
    return Tolerances(
        "differences" if fit is None else "regression",
        model.estimate(lambda v, b, h: v),
        loss,
        _parameters(space, limits, model, found, loss),
        directions,
        [*_limits(limits, found), *further],
        found.rest,
        sum(gains),
        model,
        space.scale,
        fit,
    )


def _sides(model: QuadraticModel, limits: Limits, vectors: Tensor, loss: float) -> list[tuple[Side, Side]]:
    """Along and against each row of ``n x d``, in half ranges."""
    found = []
    for vector in vectors:
        both = []
        for way in (vector, -vector):
            deviation = model.estimate(lambda v, b, h, way=way: allowed(b @ way, way @ h @ way, loss))  # type: ignore[misc]
            both.append(Side(deviation, *limits.room(way)))
        found.append((both[0], both[1]))
    return found


def _worse(above: Side, below: Side) -> Estimate:
    return above.deviation if above.deviation.value <= below.deviation.value else below.deviation


def _parameters(
    space: Space, limits: Limits, model: QuadraticModel, found: Stationarity, loss: float
) -> list[ParameterTolerance]:
    d, entries = space.dimension, []
    slopes, bends = model.estimates(lambda v, b, h: b), model.estimates(lambda v, b, h: h.diagonal())
    spreads = model.estimates(lambda v, b, h: share(h.diagonal(), loss, d))
    sides = _sides(model, limits, torch.eye(d, dtype=torch.float64), loss)
    for i, (name, unit) in enumerate(zip(space.names, space.units, strict=True)):
        size = float(space.scale[i]) / unit.factor
        above, below = (Side(_times(s.deviation, size), s.room * size, s.limit) for s in sides[i])
        held = tuple(
            entry.name
            for j, entry in enumerate(limits.entries)
            if found.active[j] and abs(float(limits.gradient[j, i])) > 1e-9 * float(limits.gradient[j].norm())
        )
        entries.append(
            ParameterTolerance(
                name,
                unit.text,
                float(space.centre[i]) * size,
                size,
                _times(slopes[i], 1 / size),
                _times(bends[i], 1 / size**2),
                above,
                below,
                _worse(above, below),
                _times(spreads[i], size),
                tuple(dict.fromkeys(held)),
            )
        )
    return entries


def _times(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(estimate.value * factor, estimate.standard_error * factor)


def _directions(
    space: Space, limits: Limits, model: QuadraticModel, found: Stationarity, loss: float
) -> list[DirectionTolerance]:
    """Eigenvectors of the Hessian within the active limits, then the normals of these."""
    tangent = found.tangent
    within = tangent @ torch.linalg.eigh(tangent.T @ model.hessian @ tangent).eigenvectors.flip(1)
    if within.shape[1]:
        within = within * torch.where(within.gather(0, within.abs().argmax(0, keepdim=True)) < 0, -1.0, 1.0)
    vectors = torch.cat([within.T, found.normals])
    slopes = model.estimates(lambda v, b, h: vectors @ b)
    bends = model.estimates(lambda v, b, h: ((vectors @ h) * vectors).sum(1))
    steps = (vectors.abs() @ model.step_error.abs() * vectors.abs()).sum(1).tolist()
    held = [""] * within.shape[1] + [limits.entries[j].name for j in found.holding]
    return [
        DirectionTolerance(
            dict(zip(space.names, vectors[k].tolist(), strict=True)),
            slopes[k],
            bends[k],
            steps[k],
            _worse(*sides),
            *sides,
            held[k],
        )
        for k, sides in enumerate(_sides(model, limits, vectors, loss))
    ]


def _limits(limits: Limits, found: Stationarity) -> list[LimitTolerance]:
    entries = []
    near, distance = limits.near.tolist(), limits.distance.tolist()
    for j, entry in enumerate(limits.entries):
        factor = entry.unit.factor
        state = "active" if found.active[j] else "near" if near[j] else "free"
        if distance[j] < -1e-5:
            state = "violated"
        entries.append(
            LimitTolerance(
                entry.words(),
                entry.name,
                entry.kind,
                entry.unit.text,
                Estimate(entry.value / factor, 0.0),
                entry.limit / factor,
                distance[j],
                state,
                _times(found.multipliers[j], factor),
                _times(found.gains[j], factor),
                found.unique[j],
            )
        )
    return entries
