"""What relaxing a limit buys: multipliers of the runs, and slopes of the front."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mode_opt.cli.pareto.goals import Goal
from mode_opt.cli.pareto.runs import Settings
from mode_opt.cli.pareto.table import Record
from mode_opt.cli.series import Series
from mode_opt.objectives import Estimate

LATE = 3
"""The multipliers of the last one in so many updates are averaged."""
LOOSE = 0.05
"""How far below its limit, in its range, a quantity is not held by it."""
APART = 0.02
"""Least distance of the points of a slope, in their range."""
UNKNOWN = Estimate(math.nan, math.nan)


def exchange_rates(records: Sequence[Record], settings: Settings, made: Series, scales: Mapping[str, float]) -> None:
    r"""Enter multipliers and slopes of the front into records.

    By the envelope theorem the multiplier of a limit, :math:`C \le L`, is :math:`\lambda = -dJ^*/dL`: what the first
    goal gains if the limit is relaxed by one unit, everything else optimised again.

    Args:
        records: all of them.
        settings: with the goals.
        made: the runs.
        scales: of the limits on objectives, in units of the goals.
    """
    for record in records:
        for goal in settings.goals[1:]:
            limit, scale = record.limits.get(goal.name), scales.get(goal.name, 1.0)
            if record.status != "finished" or limit is None:
                continue
            record.slopes[goal.name] = _slope_at(record, records, settings.goals[0], goal)
            if goal.quantity is None:
                record.multipliers[goal.name] = _of_run(made, record, goal.name, scale)
            elif record.values[goal.name].value < limit - LOOSE * scale:
                record.multipliers[goal.name] = Estimate(0.0, 0.0)
            else:
                record.multipliers[goal.name] = record.slopes[goal.name]


def _of_run(made: Series, record: Record, name: str, scale: float) -> Estimate:
    """By the updates of the run: mean over the last third of them, and their standard deviation.

    The limit is known no better than the multiplier moved from one update to the next.
    """
    rows = [row for row in made.history(record.directory) if row.get(f"excess/{name}")]
    values = [float(row[f"multiplier/{name}"]) / scale for row in rows]
    late = np.array(values[-max(2, len(values) // LATE) :])
    return Estimate(float(late.mean()), float(late.std(ddof=1))) if len(late) > 1 else UNKNOWN


def _slope_at(record: Record, records: Sequence[Record], first: Goal, goal: Goal) -> Estimate:
    """−dJ*/dL from the verified values of neighbouring runs, which differ in this limit only."""
    line = [other for other in records if _comparable(other, record, goal.name)]
    if record not in line:
        return UNKNOWN
    x = [other.values[goal.name].value for other in line]
    y = [other.values[first.name] for other in line]
    found = slope(x, [e.value for e in y], [e.standard_error for e in y], line.index(record))
    return Estimate(-found.value, found.standard_error)


def _comparable(other: Record, record: Record, name: str) -> bool:
    alike = all(other.limits.get(key) == limit for key, limit in record.limits.items() if key != name)
    return other.status == "finished" and other.met and other.minimised == record.minimised and alike


def slope(x: Sequence[float], y: Sequence[float], errors: Sequence[float], at: int) -> Estimate:
    """Derivative of the parabola through a point and its two nearest others, with the error of the values.

    Points closer than `APART` of the range tell more of the errors than of the slope, and are left out. With two points
    it is that of the line; NaN with one.
    """
    apart = APART * (max(x) - min(x))
    chosen = [at]
    for k in sorted(range(len(x)), key=lambda k: abs(x[k] - x[at])):
        if all(abs(x[k] - x[other]) > apart for other in chosen):
            chosen.append(k)
    places = np.array([x[k] - x[at] for k in chosen[:3]])
    if len(places) < 2:
        return UNKNOWN
    size = float(np.abs(places).max())
    weights = np.linalg.inv(np.vander(places / size, increasing=True))[1] / size
    value = float(weights @ np.array([y[k] for k in chosen[:3]]))
    return Estimate(value, float(np.sqrt(weights**2 @ np.array([errors[k] for k in chosen[:3]]) ** 2)))
