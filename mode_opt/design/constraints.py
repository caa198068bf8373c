"""Inequalities between formulas of the parameters: ``length <= 400 mm``."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mode_opt.design.expressions import Expression, Lookup
from mode_opt.design.kinds import Scope
from mode_opt.design.point import DesignPoint
from mode_opt.design.syntax import COMPARISONS, Tree, parse
from mode_opt.errors import ConfigurationError
from mode_opt.units import Unit, reported


class ConstraintValue(NamedTuple):
    """A constraint at one design, in the unit of its limit; of an array, the element nearest to it."""

    value: float
    limit: float
    unit: str
    satisfied: bool


@dataclass(frozen=True)
class Constraint:
    """``value <= limit`` (``upper``) or ``value >= limit``, for each element.

    Attributes:
        name: under which it is reported.
        value, limit: formulas; the limit is the side without parameters where there is one.
        upper: whether the value must not exceed the limit.
        unit: of reports, that of the limit.
        scale: size of the limit in field units, which excesses are divided by (Lagrange multipliers then are
            the gain in the objective per relative shift of the limit).
        linear: whether it is linear in the free parameters and holds by construction.
    """

    name: str
    value: Expression
    limit: Expression
    upper: bool
    unit: Unit
    scale: float = 1.0
    linear: bool = False

    def excess(self, lookup: Lookup, like: Tensor) -> Tensor:
        """``b x m`` in field units; the constraint is satisfied where it is not positive."""
        difference = self.value.evaluate(lookup, like) - self.limit.evaluate(lookup, like)
        return difference if self.upper else -difference

    def at(self, phi: DesignPoint) -> ConstraintValue:
        """Value and limit at one design; satisfied up to the rounding error of the design's numbers."""
        excess = self.excess(phi, phi.values)[0]
        worst = int(excess.argmax())
        value, limit = (float(side(phi)[0].expand_as(excess)[worst].detach()) for side in (self.value, self.limit))
        rounding = 4 * torch.finfo(phi.values.dtype).eps * max(abs(limit), abs(value))
        satisfied = (value - limit if self.upper else limit - value) <= rounding
        resolution = torch.finfo(phi.values.dtype).eps
        value, limit = (reported(side, self.unit, resolution) for side in (value, limit))
        return ConstraintValue(value, limit, self.unit.text, satisfied)

    def refuse(self, at: ConstraintValue, who: str) -> ConfigurationError:
        """The error for a design that violates it."""
        expected = f"{'at most' if self.upper else 'at least'} {at.limit:.9g} {at.unit}".rstrip()
        came = f"{who} with {self.name} = {at.value:.9g} {at.unit}".rstrip()
        return ConfigurationError(f"design.constraints.{self.name}", came, expected)


def constraint(given: str | Mapping[str, Any], scope: Scope, key: str) -> Constraint:
    """A constraint from an expression, or from ``{expression, name}``.

    Raises:
        ConfigurationError: if it is no inequality, or units do not fit.
    """
    spec = dict(given) if isinstance(given, Mapping) else {"expression": given}
    for name in set(spec) - {"expression", "name"}:
        raise ConfigurationError(f"{key}.{name}", spec[name], "no such key; a constraint has expression, name")
    tree = parse(spec.get("expression"), scope.names, key)
    if not isinstance(tree.root, ast.Compare) or len(tree.root.ops) > 1:
        raise tree.refuse("one inequality such as 'length <= 400 mm'")
    operator = COMPARISONS.get(type(tree.root.ops[0]))
    if operator in ("==", "!="):
        raise tree.refuse(
            "an inequality; for an equality make one of its parameters a linked one, "
            "e.g. {expression: '8 mm - absorber_thickness', unit: mm}"
        )
    if operator not in ("<", "<=", ">", ">="):
        raise tree.refuse("one inequality such as 'length <= 400 mm'")
    Expression.of_tree(tree, scope)  # checks that units and sizes fit
    left, right = (Expression.of_tree(tree.at(side), scope) for side in (tree.root.left, tree.root.comparators[0]))
    upper = operator in ("<", "<=")
    if not left.names and right.names:
        left, right, upper = right, left, not upper
    unit = left.kind.unit if right.kind.zero else right.kind.unit
    name = spec.get("name", left.tree.text())
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"{key}.name", name, "a text")
    return Constraint(name, left, right, upper, unit)


def limited(name: str, limit: float, upper: bool, scope: Scope, key: str) -> Constraint:
    """The bound of a linked parameter (field units) as a constraint ``NAME_maximum`` or ``NAME_minimum``."""
    value = Expression.of(name, scope, key)
    unit = value.kind.unit
    root = ast.Name("quantity_0__", ast.Load())
    tree = Tree(f"{limit / unit.factor:g} {unit.text}", key, root, {root.id: (limit / unit.factor, unit)})
    suffix = "maximum" if upper else "minimum"
    return Constraint(f"{name}_{suffix}", value, Expression.of_tree(tree, scope), upper, unit)


def distinct(constraints: Sequence[Constraint]) -> tuple[Constraint, ...]:
    """Different names: a second constraint on one quantity becomes ``length_minimum`` or ``_maximum``.

    Raises:
        ConfigurationError: if names still agree.
    """
    named: dict[str, Constraint] = {}
    for given in constraints:
        name = given.name
        if name in named:
            name = f"{name}_{'maximum' if given.upper else 'minimum'}"
        if name in named:
            raise ConfigurationError(
                "design.constraints", given.value.tree.source, f"a 'name'; there is a {name!r} already"
            )
        named[name] = replace(given, name=name)
    return tuple(named.values())
