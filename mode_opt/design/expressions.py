"""Expressions of parameters, evaluated on designs with torch: batched and differentiable."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from mode_opt.design.kinds import Kind, KindAlgebra, Scope
from mode_opt.design.point import DesignPoint
from mode_opt.design.syntax import Algebra, Tree, interpret, parse
from mode_opt.units import Unit, parse_unit


class Lookup(Protocol):
    """Blocks ``b x size`` by name: a `DesignPoint` or a dictionary."""

    def __getitem__(self, name: str, /) -> Tensor: ...


Value = Tensor | float
_ELEMENTWISE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sqrt": torch.sqrt, "exp": torch.exp, "log": torch.log,
    "abs": torch.abs, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
}  # fmt: skip
_REDUCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "sum": torch.sum, "mean": torch.mean, "min": torch.amin, "max": torch.amax
}  # fmt: skip


class TensorAlgebra(Algebra[Value]):
    """The usual meaning: literals in field units, names are blocks ``b x size``, comparisons 0 or 1."""

    def __init__(self, lookup: Lookup, like: Tensor, scope: Scope) -> None:
        self.lookup, self.like, self.scope = lookup, like, scope

    @final
    def number(self, number: float, unit: Unit | None) -> Value:
        return number * unit.factor if unit else number

    @final
    def name(self, name: str) -> Value:
        return self.lookup[name]

    @final
    def attribute(self, name: str, attribute: str) -> Value:
        numbers, _ = self.scope.numbers[name][attribute]
        return self.lookup[name] @ self.like.new_tensor(numbers)[:, None]

    @final
    def option(self, name: str, option: str) -> Value:
        index = self.scope.options[name].index(option)
        return self.lookup[name][:, index : index + 1]

    @final
    def item(self, value: Value, index: int) -> Value:
        return self._tensor(value)[:, index][:, None]

    @final
    def binary(self, operator: str, left: Value, right: Value) -> Value:
        match operator:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "/":
                return self._tensor(left) / right
        return self._tensor(left) ** right

    @final
    def call(self, function: str, values: list[Value]) -> Value:
        tensors = [self._tensor(value) for value in values]
        if function == "where":  # mixes where the condition is the probability of an option
            condition, chosen, other = tensors
            return condition * chosen + (1 - condition) * other
        if function in _ELEMENTWISE:
            return _ELEMENTWISE[function](tensors[0])
        if len(tensors) > 1:
            return (torch.amin if function == "min" else torch.amax)(torch.stack(torch.broadcast_tensors(*tensors)), 0)
        return _REDUCTIONS[function](tensors[0], dim=1, keepdim=True)

    def compare(self, operator: str, left: Value, right: Value) -> Value:
        above = operator in (">", ">=")
        margin = self._tensor(left - right if above else right - left)
        return (margin > 0 if operator in ("<", ">") else margin >= 0).to(self.like.dtype)

    @final
    def logic(self, operator: str, values: list[Value]) -> Value:
        if operator == "not":
            return 1 - values[0]
        result: Value = 1.0
        for value in values:
            result = result * (value if operator == "and" else 1 - value)
        return result if operator == "and" else 1 - result

    def _tensor(self, value: Value) -> Tensor:
        return value if isinstance(value, Tensor) else self.like.new_full((1, 1), value)


@dataclass(frozen=True)
class Expression:
    """A formula of parameters and derived quantities: ``expression(phi)`` is ``b x size`` in field units.

    Derivatives pass; comparisons have none, so that ``where`` follows the branch in force. The numbers of a
    categorical parameter's options enter as their mean: ``absorber.price`` is ``sum_i p_i price_i``.

    Attributes:
        tree: what was written.
        scope: the names it may use.
        kind: unit and size of the result.
    """

    tree: Tree
    scope: Scope
    kind: Kind

    @classmethod
    def of(cls, source: object, scope: Scope, key: str) -> "Expression":
        """Parse and check an expression.

        Raises:
            ConfigurationError: if it is not of the grammar, a name is unknown, or units or sizes do not fit.
        """
        return cls.of_tree(parse(source, scope.names, key), scope)

    @classmethod
    def of_tree(cls, tree: Tree, scope: Scope) -> "Expression":
        """Check a parsed expression."""
        return cls(tree, scope, interpret(tree, KindAlgebra(tree, scope)))

    def with_unit(self, unit: str | None, key: str) -> "Expression":
        """The same, reported in ``unit``.

        Raises:
            ConfigurationError: if the expression's unit does not fit.
        """
        if unit is None:
            return self
        declared = parse_unit(unit, key)
        if not declared.fits(self.kind.unit) and not self.kind.zero:
            raise self.tree.refuse(f"a value in {declared} as declared, it is one in {self.kind.unit}")
        kind = Kind(declared, self.kind.size, self.kind.integral, text=self.kind.text)
        return Expression(self.tree, self.scope, kind)

    @property
    def names(self) -> frozenset[str]:
        """The names in it."""
        return self.tree.names()

    def evaluate(self, lookup: Lookup, like: Tensor) -> Tensor:
        """``b x size``; ``like`` (``b x anything``) says how many designs, which dtype and device."""
        value = interpret(self.tree, TensorAlgebra(lookup, like, self.scope))
        block = value if isinstance(value, Tensor) else like.new_full((1, 1), value)
        return block.expand(like.shape[0], self.kind.size)

    def __call__(self, phi: DesignPoint) -> Tensor:
        return self.evaluate(phi, phi.values)


def order(dependencies: Mapping[str, Sequence[str] | frozenset[str]], refuse: Callable[[str], Exception]) -> list[str]:
    """Names so that each comes after those it depends on; ``refuse(name)`` makes the error for a cycle."""
    done: list[str] = []
    open_names: list[str] = []

    def visit(name: str) -> None:
        if name in open_names:
            raise refuse(name)
        if name not in done and name in dependencies:
            open_names.append(name)
            for other in sorted(dependencies[name]):
                visit(other)
            done.append(open_names.pop())

    for name in dependencies:
        visit(name)
    return done
