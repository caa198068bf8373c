"""The objective along parameters and directions, for a figure."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.experiment.tolerance.result import Side, Tolerances

POINTS = 41
MARGIN = 1.5
"""How much further than the allowed deviations a profile reaches,"""
WIDEST = 4.0
"""and how much further to one side than to the other."""


@dataclass(frozen=True)
class Profile:
    """The quadratic model along a line through the design, and designs that were measured on a parallel.

    Attributes:
        kind: ``parameter`` or ``direction``.
        name: of the parameter, or of the direction by its number.
        unit: of ``at``: that of the parameter; "" for half ranges.
        origin: of ``at`` at the design: the value of the parameter, or 0.
        below, above: allowed deviations; infinite where there is none.
        room_below, room_above: to the next limits.
        at: abscissae.
        change, error: of J against the design, and standard error.
        measured: ``(at, change, error)`` of designs on the axis of a regression, ``J − fit`` added to the model.
    """

    kind: str
    name: str
    unit: str
    origin: float
    below: float
    above: float
    room_below: float
    room_above: float
    at: list[float]
    change: list[float]
    error: list[float]
    measured: list[tuple[float, float, float]]


def profiles(found: Tolerances) -> list[Profile]:
    """One of each parameter, then one of each direction."""
    eye = torch.eye(len(found.parameters), dtype=torch.float64)
    entries = []
    for i, entry in enumerate(found.parameters):
        size = entry.size
        points = _points(found, i)
        line = _line(found, eye[i], entry.below, entry.above, size, [t for t, _, _ in points])
        shown = [(entry.value + t * size, c, e) for t, c, e in points]
        entries.append(
            _profile("parameter", entry.name, entry.unit, entry.value, entry.below, entry.above, line, shown)
        )
    for number, direction in enumerate(found.directions, 1):
        line = _line(found, found.vector(direction), direction.below, direction.above, 1.0, [])
        entries.append(_profile("direction", str(number), "", 0.0, direction.below, direction.above, line, []))
    return entries


def _line(
    found: Tolerances, vector: Tensor, below: Side, above: Side, size: float, points: list[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Displacements in the unit of the sides, change and error of J."""
    reach = []
    for side, far in ((below, -min(points, default=0.0)), (above, max(points, default=0.0))):
        allowed = side.deviation.value / size
        wanted = max(MARGIN * min(allowed, 1.0), far) if allowed < float("inf") else max(far, 0.5)
        reach.append(min(wanted, max(side.room / size, 0.1 * wanted, far)))
    reach = [min(one, WIDEST * other) for one, other in (reach, reversed(reach))]
    steps = torch.linspace(-reach[0], reach[1], POINTS, dtype=torch.float64)
    change, error = found.model.change(steps[:, None] * vector)
    return steps * size, change, error


def _points(found: Tolerances, i: int) -> list[tuple[float, float, float]]:
    """Displacement in half ranges, change and error of the designs that differ in parameter i alone."""
    fit = found.fit
    if fit is None:
        return []
    u = (fit.places - fit.shift) / fit.radius
    u[:, i] = 0
    kept = torch.nonzero(u.abs().amax(1) < 1e-9)[:, 0]
    steps = torch.zeros(len(kept), len(found.parameters), dtype=torch.float64)
    steps[:, i] = fit.places[kept, i]
    change = found.model.change(steps)[0] + fit.residuals[kept]
    rows = zip(steps[:, i].tolist(), change.tolist(), fit.errors[kept].tolist(), strict=True)
    return sorted(rows)


def _profile(
    kind: str,
    name: str,
    unit: str,
    origin: float,
    below: Side,
    above: Side,
    line: tuple[Tensor, Tensor, Tensor],
    measured: list[tuple[float, float, float]],
) -> Profile:
    sides = (below.deviation.value, above.deviation.value, below.room, above.room)
    at, change, error = line
    return Profile(kind, name, unit, origin, *sides, (origin + at).tolist(), change.tolist(), error.tolist(), measured)
