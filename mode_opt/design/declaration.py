"""What a user declared about a design, checked: parameters, formulas, conditions, constraints."""

import keyword
import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from mode_opt.design.conditions import Condition
from mode_opt.design.constraints import Constraint, constraint, limited
from mode_opt.design.expressions import Expression, order
from mode_opt.design.kinds import Kind, Scope
from mode_opt.design.parameters import (
    Block,
    Categorical,
    Choice,
    Linked,
    Numeric,
    Parameter,
    block,
    bounds,
    choice,
    parameter,
)
from mode_opt.design.syntax import FUNCTIONS, parse
from mode_opt.errors import ConfigurationError
from mode_opt.units import Unit

Spec = Parameter | Mapping[str, Any]


@final
class Declaration:
    """A design as declared.

    Args:
        parameters: specification of each parameter by name.
        derived: expression of each derived quantity, or ``{expression, unit}``.
        constraints: inequalities, or ``{expression, name}``.

    Attributes:
        parameters: by name, in order.
        blocks, choices, linked: the numeric, categorical and linked ones, checked.
        formulas: expressions of linked parameters and derived quantities, each after those it needs.
        derived: the formulas of derived quantities alone.
        conditions: of conditional parameters.
        columns: slice of the ``d`` columns of each parameter.
        constraints: those declared and the bounds of linked parameters.

    Raises:
        ConfigurationError: for anything that cannot be used; names the key.
    """

    def __init__(
        self,
        parameters: Mapping[str, Spec],
        derived: Mapping[str, Mapping[str, Any] | str] | None = None,
        constraints: Sequence[str | Mapping[str, Any]] | None = None,
    ) -> None:
        self.given_derived, self.given_constraints = _mapping(derived, "design.derived"), _list(constraints)
        _names(_mapping(parameters, "design.parameters"), self.given_derived)
        self.parameters = {name: parameter(name, spec) for name, spec in parameters.items()}
        self.blocks: dict[str, Block] = {
            name: block(name, p) for name, p in self.parameters.items() if isinstance(p, Numeric)
        }
        self.choices: dict[str, Choice] = {
            name: choice(name, p) for name, p in self.parameters.items() if isinstance(p, Categorical)
        }
        self.linked = {name: p for name, p in self.parameters.items() if isinstance(p, Linked)}
        kinds = {name: Kind(b.unit, b.size, b.integer) for name, b in self.blocks.items()}
        options = {name: c.options for name, c in self.choices.items()}
        self.scope = Scope(kinds, options, {name: c.numbers for name, c in self.choices.items()})
        self.conditions = self._conditions()
        self.formulas = self._formulas()
        self.derived = {name: self.formulas[name] for name in self.given_derived}
        self.columns = self._columns()
        self.constraints = self._constraints()

    def is_free(self, name: str) -> bool:
        """Whether a parameter that is not linked is optimised."""
        item: Any = self.blocks.get(name) or self.choices[name]
        return bool(item.declared.free)

    def unit(self, name: str) -> Unit:
        """The unit that a parameter or derived quantity is reported in."""
        return self.blocks[name].unit if name in self.blocks else self.formulas[name].kind.unit

    def _conditions(self) -> dict[str, Condition]:
        found: dict[str, Condition] = {}
        conditional = [name for name, b in self.blocks.items() if b.declared.when is not None]
        for name in conditional:
            given = self.blocks[name].declared.when
            assert given is not None
            found[name] = Condition(given, self.blocks[name].size, self.scope, f"design.parameters.{name}")
            for other in sorted(found[name].names & set(conditional)):
                expected = f"a condition on parameters that always exist; {other!r} has a condition itself"
                raise ConfigurationError(f"design.parameters.{name}.when", given, expected)
        return found

    def _formulas(self) -> dict[str, Expression]:
        sources: dict[str, tuple[str, Any, str | None]] = {
            name: (f"design.parameters.{name}", p.expression, p.unit) for name, p in self.linked.items()
        }
        for name, given in self.given_derived.items():
            spec = dict(given) if isinstance(given, Mapping) else {"expression": given}
            for key in set(spec) - {"expression", "unit"}:
                expected = "no such key; a derived quantity has expression, unit"
                raise ConfigurationError(f"design.derived.{name}.{key}", spec[key], expected)
            sources[name] = (f"design.derived.{name}", spec.get("expression"), spec.get("unit"))
        known = (*self.scope.names, *sources)
        needs = {n: parse(source, known, f"{key}.expression").names() for n, (key, source, _) in sources.items()}
        for name in self.linked:
            for other in sorted(needs[name] & set(self.given_derived)):
                needs[name] |= {other}

        def cycle(name: str) -> Exception:
            key, source, _ = sources[name]
            return ConfigurationError(
                f"{key}.expression", source, f"an expression that does not depend on {name!r} itself"
            )

        formulas: dict[str, Expression] = {}
        for name in order(needs, cycle):
            key, source, unit = sources[name]
            formula = Expression.of(source, self.scope, f"{key}.expression")
            if formula.kind.truth:
                raise formula.tree.refuse("a number, not a comparison")
            formulas[name] = formula.with_unit(unit, f"{key}.unit")
            kinds = {**self.scope.kinds, name: formulas[name].kind}
            self.scope = Scope(kinds, self.scope.options, self.scope.numbers)
        return formulas

    def _columns(self) -> dict[str, slice]:
        columns, begin = {}, 0
        for name in self.parameters:
            item = self.blocks.get(name) or self.choices.get(name)
            size = len(item.start) if item is not None else self.formulas[name].kind.size
            columns[name] = slice(begin, begin + size)
            begin += size
        return columns

    def _constraints(self) -> list[Constraint]:
        result = [
            constraint(given, self.scope, f"design.constraints[{index}]")
            for index, given in enumerate(self.given_constraints)
        ]
        for name, p in self.linked.items():
            unit, key = self.unit(name), f"design.parameters.{name}.bounds"
            low, high = bounds(p.bounds, 1, unit, key)
            if math.isfinite(high[0]):
                result.append(limited(name, high[0], True, self.scope, key))
            if math.isfinite(low[0]):
                result.append(limited(name, low[0], False, self.scope, key))
        return result

    def ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest value of each of the ``d`` columns, infinite where unbounded."""
        low: list[float] = []
        high: list[float] = []
        for name, columns in self.columns.items():
            size = columns.stop - columns.start
            if name in self.choices:
                sides: tuple[tuple[float, ...], ...] = ((0.0,) * size, (1.0,) * size)
            elif name in self.blocks:
                sides = (self.blocks[name].lower, self.blocks[name].upper)
            else:
                key = f"design.parameters.{name}.bounds"
                sides = bounds(self.linked[name].bounds, size, self.unit(name), key)
            low.extend(sides[0])
            high.extend(sides[1])
        return np.array(low), np.array(high)


def _mapping(given: Any, key: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(key, given, "a mapping of names to specifications")
    return dict(given)


def _list(given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise ConfigurationError("design.constraints", given, "a list of inequalities such as ['length <= 400 mm']")
    return list(given)


def _names(parameters: Mapping[str, Any], derived: Mapping[str, Any]) -> None:
    if not parameters:
        raise ConfigurationError("design.parameters", dict(parameters), "at least one parameter")
    for where, names in (("parameters", parameters), ("derived", derived)):
        for name in names:
            usable = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
            if not usable or name in FUNCTIONS or name == "index":
                expected = f"a name of letters, digits and _ that is none of index, {', '.join(FUNCTIONS)}"
                raise ConfigurationError(f"design.{where}", name, expected)
    for name in set(parameters) & set(derived):
        raise ConfigurationError(f"design.derived.{name}", name, "a name that no parameter has")
