"""Which runs make a front: anchors, limits between them, and the design that each begins with."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from mode_opt.cli.pareto.goals import Goal
from mode_opt.design import Design
from mode_opt.design.constraints import Constraint, constraint
from mode_opt.design.lagrangian import restore
from mode_opt.errors import ConfigurationError, ModeOptError

INSIDE = 1e-3
"""How far inside a limit on a quantity its run begins, in ranges of the quantity."""
DESCENT = 200


@dataclass(frozen=True)
class Point:
    """One run of a front.

    Attributes:
        directory: of the run, relative to that of the front.
        minimised: name of the goal that is minimised.
        limits: level of each other goal, in its unit; None: no limit.
        place: number of the level of each limited goal, from 0, no limit; none for an anchor.
    """

    directory: str
    minimised: str
    limits: Mapping[str, float | None] = field(default_factory=dict)
    place: tuple[int, ...] = ()

    @property
    def anchor(self) -> bool:
        """Whether nothing is limited."""
        return all(limit is None for limit in self.limits.values())

    @property
    def words(self) -> str:
        """For the screen."""
        limits = [f"{name} <= {limit:.6g}" for name, limit in self.limits.items() if limit is not None]
        return f"{self.minimised}{', ' if limits else ' alone'}{', '.join(limits)}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"place": list(self.place)}

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Point":
        """From what `as_dict` returned."""
        return cls(entry["directory"], entry["minimised"], dict(entry["limits"]), tuple(entry["place"]))


def anchors(goals: Sequence[Goal]) -> list[Point]:
    """The runs without limits: the first goal alone, and each other objective alone.

    A quantity of the design is at its smallest without a run, and there leaves no freedom for the rest.
    """
    minimised = [goals[0], *(goal for goal in goals[1:] if goal.quantity is None)]
    return [
        Point(
            f"anchors/{goal.name}",
            goal.name,
            {other.name: None for other in goals if other is not goal},
            (0,) * (len(goals) - 1) if goal is goals[0] else (),
        )
        for goal in minimised
    ]


def between(smallest: float, largest: float, count: int) -> list[float]:
    """``count`` even levels strictly between two values, from the loosest to the tightest.

    Args:
        smallest: value of the goal where it is minimised alone.
        largest: value of the goal where it does not count.
        count: levels.

    Raises:
        ConfigurationError: if there is no room.
    """
    if not smallest < largest or not math.isfinite(largest - smallest):
        expected = "two goals that contradict each other, or levels"
        raise ConfigurationError("goals", f"best values from {smallest:.6g} to {largest:.6g}", expected)
    return [largest - (largest - smallest) * k / (count + 1) for k in range(1, count + 1)]


def grid(goals: Sequence[Goal], levels: Mapping[str, Sequence[float]]) -> list[Point]:
    """The runs with limits, each after those with looser ones.

    Args:
        goals: the first is minimised.
        levels: of each other goal, from the loosest to the tightest.
    """
    limited = [goal.name for goal in goals[1:]]
    choices = [[None, *levels[name]] for name in limited]
    found = []
    for place in itertools.product(*(range(len(choice)) for choice in choices)):
        if any(place):
            limits = {name: choice[k] for name, choice, k in zip(limited, choices, place, strict=True)}
            found.append(Point(f"levels/{'_'.join(f'{k:02d}' for k in place)}", goals[0].name, limits, place))
    return found


def looser(point: Point, done: Iterable[Point]) -> Point | None:
    """The nearest of these runs whose limits are nowhere tighter; None if there is none."""
    near = [p for p in done if p.place and all(a <= b for a, b in zip(p.place, point.place, strict=True))]
    return max(near, key=lambda p: sum(p.place), default=None)


def smallest(design: Design, quantity: str) -> float:
    """The smallest value of a quantity that bounds and constraints allow, in field units, by descent in ψ.

    Raises:
        ConfigurationError: if the descent does not end, as where nothing limits the quantity from below.
    """
    psi = design.psi.detach().double().cpu().clamp(-3, 3).requires_grad_(True)
    optimiser = torch.optim.Adam([psi], lr=0.2, betas=(0.9, 0.9))
    found: list[float] = []
    size = torch.ones((), dtype=torch.float64)
    for _ in range(DESCENT):
        optimiser.zero_grad()
        phi = design.point(psi)
        value = phi[quantity].sum()
        excess = [torch.relu(c.excess(phi, psi) / c.scale).sum() for c in design.nonlinear_constraints]
        broken = torch.stack([value.new_zeros(()), *excess]).sum()
        found.append(math.inf if float(broken) > 1e-3 else float(value.detach()))
        if len(found) == 1:  # a step of Adam does not know the size of the quantity, but penalties do
            size = torch.autograd.grad(value, psi, retain_graph=True)[0].norm().clamp_min(1e-30)
        (value / size + 100.0 * broken).backward()
        optimiser.step()
    best, before = min(found), min(found[: 3 * DESCENT // 4])
    if not math.isfinite(best) or before - best > 1e-2 * max(abs(found[0] - best), abs(best)):
        raise ConfigurationError("levels", None, f"levels of {quantity}: its smallest value was not found")
    return best


def level(goal: Goal, limit: float, design: Design) -> Constraint:
    """The limit on a quantity as a constraint of this design, excess in units of the level."""
    found = constraint(goal.limit(limit), design.declaration.scope, f"levels.{goal.name}")
    return replace(found, scale=abs(limit * goal.factor) or 1.0)


def feasible(
    design: Design, limits: Sequence[tuple[Goal, float]], ranges: Mapping[str, float], values: Mapping[str, Any]
) -> dict[str, Any]:
    """The design nearest to these values that keeps limits on quantities, as start values.

    Args:
        design: of the detector, without the limits; it is changed.
        limits: on goals that are quantities, in their units.
        ranges: of the goals by name, in their units: a start is a little inside its limits, if there is room.
        values: as `Design.assign` takes them.

    Raises:
        ModeOptError: if no design keeps the limits.
    """
    design.assign(values)
    for margin in (INSIDE, 0.0):
        tight = [level(goal, limit - margin * ranges.get(goal.name, 0.0), design) for goal, limit in limits]
        try:
            restore(design, [*design.constraints, *tight])
        except ModeOptError:
            if margin == 0.0:
                raise
        else:
            break
    return {name: _written(entry) for name, entry in design.concrete().items()}


def _written(entry: Mapping[str, Any]) -> Any:
    value, unit = entry["value"], entry["unit"]
    if isinstance(value, list):
        return [f"{item!r} {unit}" if isinstance(item, float) and unit else item for item in value]
    return f"{value!r} {unit}" if isinstance(value, float) and unit else value
