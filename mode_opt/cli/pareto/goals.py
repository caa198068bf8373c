"""The goals of a front, from a configuration."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mode_opt.cli.build import OWN
from mode_opt.cli.compose import choices, option
from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.units import to_field

FEWEST, MOST = 2, 3
RESERVED = frozenset(("objective", "point", "role", "status", "directory", "message", "on_front", "certainty", "met"))
"""Columns of the table of points, and the name of what is minimised under limits."""


@dataclass(frozen=True)
class Goal:
    """What is to be small.

    Attributes:
        name: as the user calls it.
        node: configuration of an objective, ``own`` for that of the detector, or None.
        quantity: parameter or derived quantity of the design, if that is the goal.
        unit: of its values.
        factor: of that unit, in field units.
    """

    name: str
    node: Any = None
    quantity: str | None = None
    unit: str = ""
    factor: float = 1.0

    @property
    def objective(self) -> Any:
        """Configuration of the objective to be minimised."""
        if self.quantity is None:
            return self.node
        cost = "mode_opt.objectives.DesignCost"
        return {"_target_": cost, "quantity": self.quantity, "scale": self.factor}

    def limit(self, level: float) -> dict[str, str]:
        """Entry of ``design.constraints`` for a quantity."""
        unit = f" {self.unit}" if self.unit else ""
        return {"expression": f"{self.quantity} <= {level!r}{unit}", "name": f"{self.name} level"}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def goals_of(configuration: DictConfig, design: Design) -> list[Goal]:
    """The goals of a configuration, while a task of `launched` runs.

    Raises:
        ConfigurationError: for too few or too many, or one that is none.
    """
    given = configuration.goals
    if not isinstance(given, Mapping) or not FEWEST <= len(given) <= MOST:
        expected = "two or three goals by name, e.g. goals={resolution: own, length: length}"
        raise ConfigurationError("goals", OmegaConf.to_object(given) if OmegaConf.is_config(given) else given, expected)
    if configuration.objective is not None:
        raise ConfigurationError("objective", "an objective", "null: the goals say what is minimised")
    return [goal(str(name), value, design) for name, value in given.items()]


def goal(name: str, value: Any, design: Design) -> Goal:
    """One goal.

    Raises:
        ConfigurationError: if it is none.
    """
    key = f"goals.{name}"
    if not name.isidentifier() or name in RESERVED:
        raise ConfigurationError(key, name, f"a name of letters, digits and _ that is none of {', '.join(RESERVED)}")
    if isinstance(value, Mapping):
        if "_target_" not in value:
            raise ConfigurationError(key, dict(value), "a mapping with _target_")
        return Goal(name, OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else dict(value))
    if value == OWN:
        return Goal(name, OWN)
    known, files = design.layout.names, choices("objective")
    if value in known and value in files:
        raise ConfigurationError(key, value, f"a quantity or an objective: {value!r} is both; write the objective out")
    if value in known:
        return _quantity(name, str(value), design)
    if value not in files:
        expected = f"own, a quantity ({', '.join(known)}), an objective ({', '.join(files)}), or a mapping"
        raise ConfigurationError(key, value, expected)
    return Goal(name, OmegaConf.to_container(option("objective", str(value)), resolve=True))


def _quantity(name: str, quantity: str, design: Design) -> Goal:
    declaration, key = design.declaration, f"goals.{name}"
    if quantity in declaration.choices or design()[quantity].shape[1] != 1:
        expected = "a quantity of one number; declare its sum or mean in design.derived"
        raise ConfigurationError(key, quantity, expected)
    unit = declaration.unit(quantity)
    return Goal(name, None, quantity, unit.text, unit.factor)


def levels_of(configuration: DictConfig, goals: list[Goal]) -> dict[str, list[float]]:
    """The given levels, in units of the goals, from the loosest to the tightest.

    Raises:
        ConfigurationError: for an unknown goal, or levels that are not different numbers.
    """
    given = configuration.levels
    if given is None:
        return {}
    limited = {goal.name: goal for goal in goals[1:]}
    if not isinstance(given, Mapping) or set(given) - set(limited):
        expected = f"lists of numbers by goal, of {', '.join(limited)}: the first is minimised"
        raise ConfigurationError("levels", given if isinstance(given, str) else dict(given), expected)
    return {str(name): _numbers(limited[str(name)], value) for name, value in given.items()}


def _numbers(goal: Goal, value: Any) -> list[float]:
    key, unit = f"levels.{goal.name}", goal.unit
    items = OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
    if not isinstance(items, list) or not items:
        raise ConfigurationError(key, items, "a list of numbers")
    if any(isinstance(item, bool) or not isinstance(item, int | float | str) for item in items):
        raise ConfigurationError(key, items, f"numbers{f' in {unit}' if unit else ''}")
    numbers = [_number(goal, item, key) for item in items]
    if len(set(numbers)) < len(numbers):
        raise ConfigurationError(key, items, "each level once")
    return sorted(numbers, reverse=True)


def _number(goal: Goal, item: Any, key: str) -> float:
    if goal.quantity is not None:
        return to_field(item, goal.unit, key) / goal.factor
    try:
        return float(item)
    except ValueError as error:
        raise ConfigurationError(key, item, "a number") from error
