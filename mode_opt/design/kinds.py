"""The algebra of kinds: checks units and sizes of an expression before any number is computed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import final

from mode_opt.design.syntax import Algebra, Tree
from mode_opt.units import DIMENSIONLESS, Unit


@dataclass(frozen=True)
class Kind:
    """What a value is.

    Attributes:
        unit: its unit as reported (the value itself is in field units).
        size: 1 for a scalar, the number of elements of an array.
        integral: whether it is an integer (relaxed while optimising).
        constant: the number, if it is a literal one in no unit.
        truth: whether it is a truth value.
        text: how messages call it.
    """

    unit: Unit
    size: int = 1
    integral: bool = False
    constant: float | None = None
    truth: bool = False
    text: str = ""

    @property
    def zero(self) -> bool:
        """A literal 0 fits any unit."""
        return self.constant == 0.0


@dataclass(frozen=True)
class Scope:
    """The names that an expression may use.

    Attributes:
        kinds: kind of each numeric parameter and derived quantity.
        options: names of the options of each categorical parameter.
        numbers: the options' numbers (field units) of each categorical parameter, by attribute, with their
            unit.
    """

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, Mapping[str, tuple[tuple[float, ...], Unit]]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All names."""
        return (*self.kinds, *self.options)


@final
class KindAlgebra(Algebra[Kind]):
    """Units and sizes of the values of an expression.

    Raises (from every method):
        ConfigurationError: if units do not fit, sizes differ or a name is unknown; names the expression's
            key.
    """

    def __init__(self, tree: Tree, scope: Scope) -> None:
        self.tree, self.scope = tree, scope

    def number(self, number: float, unit: Unit | None) -> Kind:
        text = f"{number:g} {unit.text}" if unit else f"{number:g}"
        bare = unit is None
        return Kind(unit or DIMENSIONLESS, 1, bare and number == round(number), number if bare else None, False, text)

    def name(self, name: str) -> Kind:
        if name in self.scope.kinds:
            return replace(self.scope.kinds[name], text=name)
        if name in self.scope.options:
            numbers = [f"{name}.{attribute}" for attribute in self.scope.numbers.get(name, {})]
            hint = " or ".join(numbers) if numbers else f"{name}.price with a number 'price' given for each option"
            raise self.tree.refuse(f"a number: {name!r} is categorical, write {hint}")
        raise self.tree.refuse(
            f"known names; {name!r} is none of {', '.join(self.scope.names)} (units follow a number)"
        )

    def attribute(self, name: str, attribute: str) -> Kind:
        numbers = self.scope.numbers.get(name, {})
        if name not in self.scope.options:
            raise self.tree.refuse(f"a categorical parameter before the dot; {name!r} is not one")
        if attribute not in numbers:
            raise self.tree.refuse(f"one of {[*numbers]} after '{name}.', given for each of its options")
        return Kind(numbers[attribute][1], text=f"{name}.{attribute}")

    def option(self, name: str, option: str) -> Kind:
        if option not in self.scope.options.get(name, ()):
            raise self.tree.refuse(f"a categorical parameter and one of its options, not {name!r} and {option!r}")
        return Kind(DIMENSIONLESS, truth=True)

    def item(self, value: Kind, index: int) -> Kind:
        if not -value.size <= index < value.size:
            raise self.tree.refuse(f"an index below {value.size}, the size of {value.text}")
        return replace(value, size=1)

    def _size(self, *values: Kind) -> int:
        sizes = {value.size for value in values} - {1}
        if len(sizes) > 1:
            raise self.tree.refuse(f"arrays of one size, not of sizes {sorted(sizes)}")
        return sizes.pop() if sizes else 1

    def _fitting(self, *values: Kind) -> Unit:
        for value in values:
            if value.truth:
                raise self.tree.refuse("a number where a comparison stands")
        first = next((value for value in values if not value.zero), values[0])
        for value in values:
            if not value.zero and not value.unit.fits(first.unit):
                raise self.tree.refuse(
                    f"units that fit: {first.text or 'one side'} is in {first.unit}, "
                    f"{value.text or 'the other'} in {value.unit}"
                )
        return first.unit

    def binary(self, operator: str, left: Kind, right: Kind) -> Kind:
        size, integral = self._size(left, right), left.integral and right.integral and operator in "+-*"
        if operator == "**":
            return self._power(left, right, size)
        if operator in "+-":
            unit = self._fitting(left, right)
        else:
            unit = left.unit.times(right.unit, 1 if operator == "*" else -1)
        text = f"{left.text} {operator} {right.text}" if left.text and right.text else ""
        constant = None
        if left.constant is not None and right.constant is not None:
            constant = _fold(operator, left.constant, right.constant)
        return Kind(unit, size, integral, constant, False, text)

    def _power(self, left: Kind, right: Kind, size: int) -> Kind:
        if right.unit.dimension:
            raise self.tree.refuse(f"an exponent without a unit, not one in {right.unit}")
        if not left.unit.dimension:
            return Kind(DIMENSIONLESS, size)
        if right.constant is None:
            raise self.tree.refuse(f"a plain number as exponent of a value in {left.unit}")
        return Kind(left.unit.power(Fraction(right.constant).limit_denominator(12)), size)

    def call(self, function: str, values: list[Kind]) -> Kind:
        expected = {"where": (3,), "min": range(1, 99), "max": range(1, 99)}.get(function, (1,))
        if len(values) not in expected:
            raise self.tree.refuse(f"{function}() with {expected[0]} argument{'s' if expected[0] > 1 else ''}")
        text = f"{function}({', '.join(value.text for value in values)})"
        if function == "where":
            if not values[0].truth:
                raise self.tree.refuse("a comparison as first argument of where()")
            return Kind(self._fitting(*values[1:]), self._size(*values), text=text)
        unit = self._fitting(*values)
        if function in ("sum", "mean") or (function in ("min", "max") and len(values) == 1):
            return Kind(unit, 1, values[0].integral and function != "mean", text=text)
        if function in ("exp", "log", "tanh", "sigmoid") and unit.dimension:
            raise self.tree.refuse(f"a pure number as argument of {function}(), not one in {unit}")
        return Kind(unit.power(Fraction(1, 2)) if function == "sqrt" else unit, self._size(*values), text=text)

    def compare(self, operator: str, left: Kind, right: Kind) -> Kind:
        self._fitting(left, right)
        return Kind(DIMENSIONLESS, self._size(left, right), left.integral and right.integral, None, True)

    def logic(self, operator: str, values: list[Kind]) -> Kind:
        if not all(value.truth for value in values):
            raise self.tree.refuse(f"comparisons around {operator!r}")
        return Kind(DIMENSIONLESS, self._size(*values), truth=True)


def _fold(operator: str, left: float, right: float) -> float | None:
    """A literal computed from two literals; None if it has no value."""
    if operator == "/":
        return left / right if right else None
    return {"+": left + right, "-": left - right, "*": left * right}[operator]
