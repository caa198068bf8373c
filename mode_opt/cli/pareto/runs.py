"""The runs behind a front: their configurations, and making them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from mode_opt.cli.build import detector_of, objective_of, settings_of, start_values
from mode_opt.cli.optimise import quiet_lightning
from mode_opt.cli.pareto.goals import Goal
from mode_opt.cli.pareto.levels import Point, anchors, between, feasible, grid, looser, smallest
from mode_opt.cli.series import Series
from mode_opt.design import Design
from mode_opt.errors import ConfigurationError, DataError, ModeOptError

OWN_KEYS = ("goals", "method", "points", "levels", "rho", "reference")
"""Keys of ``pareto.yaml`` that a run of its own does not have."""
STIFF = 10.0
"""ρ of limits on objectives, in ranges of the first goal."""

IMPOSSIBLE = 1e-3
"""How far below the smallest value of a quantity, in its range, no design is looked for."""


@dataclass(frozen=True)
class Settings:
    """How a front is made, as in its plan.

    Attributes:
        goals: two or three.
        method: ``sweep`` or ``hypervolume``.
        count: levels of each limit.
        levels: given ones, by goal.
        rho: given one.
        reference: of the hypervolume, by goal.
    """

    goals: tuple[Goal, ...]
    method: str
    count: int
    levels: Mapping[str, list[float]]
    rho: float | None
    reference: Mapping[str, float] | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "goals": [goal.as_dict() for goal in self.goals]}

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Settings":
        """From what `as_dict` returned."""
        return cls(**{**entry, "goals": tuple(Goal(**goal) for goal in entry["goals"])})

    def goal(self, name: str) -> Goal:
        """The goal of that name."""
        return next(goal for goal in self.goals if goal.name == name)


def single(configuration: DictConfig, run_directory: Path) -> DictConfig:
    """The configuration of one run: without the keys of the front."""
    content = {str(key): value for key, value in configuration.items() if key not in OWN_KEYS}
    return OmegaConf.create({**content, "run_directory": str(run_directory.resolve())})


def objective_node(settings: Settings, point: Point, scales: Mapping[str, float], rho: float | None) -> Any:
    """The objective of a run: the minimised goal, with limits on the other objectives, infinite where there is none.

    Also a goal without a limit is part of it, so that `verify` measures it.
    """
    minimised, further = settings.goal(point.minimised), others(settings, point)
    if not further:
        return minimised.objective
    limits = {goal.name: point.limits[goal.name] for goal in further}
    return {
        "_target_": "mode_opt.objectives.Constrained",
        "objective": minimised.objective,
        "limited": {goal.name: goal.objective for goal in further},
        "limits": {name: math.inf if limit is None else limit for name, limit in limits.items()},
        "scales": {goal.name: scales.get(goal.name, 1.0) for goal in further},
        "rho": STIFF if rho is None else rho,
    }


def limited(configuration: DictConfig, limits: Sequence[tuple[Goal, float]]) -> None:
    """Add limits on quantities to ``detector.design.constraints``; the design's declared start must keep them, too."""
    given = configuration.detector.design.get("constraints") or []
    wanted = [*given, *(goal.limit(level) for goal, level in limits)]
    OmegaConf.update(configuration, "detector.design.constraints", wanted, force_add=True)
    for name, value in configuration.design.items():
        specification = configuration.detector.design.parameters.get(name)
        if OmegaConf.is_dict(specification) and "start" in specification and value is not None:
            specification.start = value


def quantities(settings: Settings, point: Point) -> list[tuple[Goal, float]]:
    """Goals that are quantities of the design, with their limits at this point."""
    named = ((settings.goal(name), limit) for name, limit in point.limits.items() if limit is not None)
    return [(goal, limit) for goal, limit in named if goal.quantity is not None]


def check(configuration: DictConfig, settings: Settings) -> None:
    """Refuse now what every run would refuse.

    Raises:
        ConfigurationError: for settings that fit no run.
    """
    if any(goal.quantity is not None for goal in settings.goals[1:]) and "design" not in configuration.detector:
        expected = "a detector whose configuration has a key design, or an objective such as DesignCost as goal"
        raise ConfigurationError("goals", [goal.name for goal in settings.goals[1:]], expected)
    with quiet_lightning():
        settings_of(configuration)
        for point in anchors(settings.goals):
            trial = OmegaConf.create({**configuration, "objective": objective_node(settings, point, {}, None)})
            objective_of(trial, detector_of(configuration))


class Sweep:
    """Anchors, then limits between them, each run beginning where the one with the next looser limits ended.

    Args:
        made: the directory.
        settings: how.
        configuration: of a single run, without limits.
    """

    def __init__(self, made: Series, settings: Settings, configuration: DictConfig) -> None:
        self.made, self.settings, self.configuration = made, settings, configuration
        self.detector = detector_of(configuration)
        self.points = anchors(settings.goals)
        self.failures: dict[str, str] = {}
        self.infeasible: dict[str, str] = {}
        self._smallest: dict[str, float] = {}

    @property
    def design(self) -> Design:
        """Of the detector; whoever uses it sets it."""
        return self.detector.design

    def carry_out(self, overrides: Sequence[str] = ()) -> None:
        """Make the runs that are not finished.

        A run that fails, or whose limits no design keeps, is named and the others go on.

        Raises:
            Interrupted: on request.
            ConfigurationError: if no levels can be placed.
        """
        for number, point in enumerate(self.points, 1):
            self._make(point, {}, f"({number} of {len(self.points)} anchors)", overrides)
        ranges = self.ranges()
        points = grid(self.settings.goals, self._levels(ranges))
        self.points = [*self.points, *points]
        for number, point in enumerate(points, 1):
            self._make(point, ranges, f"({number} of {len(points)})", overrides)

    def _make(self, point: Point, ranges: Mapping[str, float], words: str, overrides: Sequence[str]) -> None:
        try:
            if not self.made.prepared(point.directory):
                self.made.prepare(point.directory, self._configured(point, ranges))
        except ModeOptError as error:
            self.infeasible[point.directory] = str(error).splitlines()[0]
            return
        failed = self.made.make(point.directory, f"{point.words} {words}", list(overrides))
        if failed is not None:
            self.failures[point.directory] = failed

    def _configured(self, point: Point, ranges: Mapping[str, float]) -> DictConfig:
        settings = self.settings
        configuration = single(self.configuration, self.made.directory / point.directory)
        configuration.objective = objective_node(settings, point, ranges, self._rho())
        if point.anchor:
            return configuration
        before = looser(point, self.finished())
        if before is not None:
            values = start_values(str(self.made.directory / before.directory))
            if others(settings, point):
                configuration.objective.multipliers = self._multipliers(before, configuration.objective.limits)
        else:
            values = start_values(self.configuration.design)
        limits = quantities(settings, point)
        self._refuse_impossible(limits, ranges)
        configuration.design = feasible(detector_of(self.configuration).design, limits, ranges, values)
        if limits:
            limited(configuration, limits)
        return configuration

    def _refuse_impossible(self, limits: Sequence[tuple[Goal, float]], ranges: Mapping[str, float]) -> None:
        for goal, limit in limits:
            low = self._smallest.get(goal.name, -math.inf)
            if limit < low - IMPOSSIBLE * ranges[goal.name]:
                raise ModeOptError(f"no design has {goal.name} <= {limit:.6g}: the smallest is {low:.4g} {goal.unit}")

    def _multipliers(self, before: Point, limits: Mapping[str, float]) -> dict[str, float]:
        """Those that the run before ended with; 0 where there is no limit now."""
        rows = self.made.history(before.directory)
        last = {name: rows[-1].get(f"multiplier/{name}") if rows else None for name in limits}
        return {name: float(last[name] or 0.0) if math.isfinite(limits[name]) else 0.0 for name in limits}

    def finished(self) -> list[Point]:
        """Points whose run came to its end."""
        return [p for p in self.points if self.made.result(p.directory).get("status") == "finished"]

    def _rho(self) -> float | None:
        """ρ, from the range of the first goal over the anchors."""
        if self.settings.rho is not None:
            return self.settings.rho
        first = self.settings.goals[0].name
        values = [measured(self.made, self.settings, p, self.design)[first][0] for p in self.finished() if p.anchor]
        reach = max(values) - min(values) if values else 0.0
        return STIFF * (reach or max((abs(value) for value in values), default=0.0) or 1.0)

    def ranges(self) -> dict[str, float]:
        """Of each limited goal: its value where the first goal is minimised alone, less its own smallest one."""
        return {name: high - low for name, (low, high) in self._spans().items()}

    def _spans(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest useful level of each limited goal."""
        goals, first = self.settings.goals, self.points[0]
        done = {point.directory for point in self.finished()}
        if first.directory not in done:
            reason = self.failures.get(first.directory, "it has not finished")
            raise DataError(
                f"{self.made.directory / first.directory}: the run of {goals[0].name} alone failed: {reason}"
            )
        top = measured(self.made, self.settings, first, self.design)
        spans = {}
        for goal in goals[1:]:
            given = self.settings.levels.get(goal.name, [])
            low = self._lowest(goal, done, given)
            spans[goal.name] = (low, max([top[goal.name][0], *given]))
        return spans

    def _lowest(self, goal: Goal, done: set[str], given: Sequence[float]) -> float:
        if goal.quantity is not None:
            if goal.name not in self._smallest:
                self._smallest[goal.name] = self._smallest_of(goal, given)
            return self._smallest[goal.name]
        own = next(point for point in self.points if point.minimised == goal.name)
        if own.directory in done:
            return measured(self.made, self.settings, own, self.design)[goal.name][0]
        if not given:
            reason = self.failures.get(own.directory, "it has not finished")
            raise DataError(f"{self.made.directory / own.directory}: the run of {goal.name} alone failed: {reason}")
        return min(given)

    def _smallest_of(self, goal: Goal, given: Sequence[float]) -> float:
        assert goal.quantity is not None
        try:
            return smallest(detector_of(self.configuration).design, goal.quantity) / goal.factor
        except ConfigurationError:
            if not given:
                raise
            return min(given)

    def _levels(self, ranges: Mapping[str, float]) -> dict[str, list[float]]:
        spans, settings = self._spans(), self.settings
        return {
            name: list(settings.levels[name]) if name in settings.levels else between(*span, settings.count - 1)
            for name, span in spans.items()
        }


def measured(
    made: Series, settings: Settings, point: Point, design: Design, which: str = "final"
) -> dict[str, tuple[float, float]]:
    """Verified value and standard error of each goal at the final design of a finished run.

    Args:
        made: the directory.
        settings: with the goals.
        point: of the run.
        design: of the detector; it is set to the measured one.
        which: ``final``, or ``initial`` for the design that the run began with.

    Raises:
        DataError: if the result does not hold them.
    """
    content = made.result(point.directory)
    try:
        design.assign({name: entry[which] for name, entry in content["design"].items()})
        objective = content["objective"]
        found = {}
        for goal in settings.goals:
            if goal.quantity is not None:
                found[goal.name] = (quantity_at(design, goal), 0.0)
                continue
            entry = estimated(objective, settings, point, goal)[which]
            found[goal.name] = (float(entry["value"]), float(entry["standard_error"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{made.directory / point.directory}: no verified goals in result.json ({error!r})") from error
    return found


def estimated(objective: Mapping[str, Any], settings: Settings, point: Point, goal: Goal) -> Mapping[str, Any]:
    """A goal in ``result.json``: the objective itself, or a part of it if others were limited."""
    if not others(settings, point):
        return objective
    found: Mapping[str, Any] = objective["parts"]["objective" if goal.name == point.minimised else goal.name]
    return found


def others(settings: Settings, point: Point) -> list[Goal]:
    """The objectives beside the minimised goal, which limits may be put on by penalty."""
    return [goal for goal in settings.goals if goal.quantity is None and goal.name != point.minimised]


def quantity_at(design: Design, goal: Goal) -> float:
    """A quantity of the present design, in the unit of the goal."""
    assert goal.quantity is not None
    with torch.no_grad():
        return float(design.buildable()[goal.quantity].sum()) / goal.factor
