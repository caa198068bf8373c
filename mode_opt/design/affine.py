"""The algebra of affine forms: finds out exactly whether an expression is linear, and its coefficients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from mode_opt.design.expressions import Expression, TensorAlgebra
from mode_opt.design.kinds import Scope
from mode_opt.design.syntax import Algebra, interpret
from mode_opt.units import Unit


class NotAffineError(Exception):
    """The expression is not affine in the free parameters."""


@dataclass(frozen=True, eq=False)
class Affine:
    """``matrix @ x + constant``: ``size`` rows over ``d`` free columns.

    Attributes:
        matrix: ``size x d``.
        constant: ``size``.
    """

    matrix: np.ndarray
    constant: np.ndarray

    @property
    def fixed(self) -> bool:
        """Whether no free column enters."""
        return not self.matrix.any()


@final
class AffineAlgebra(Algebra[Affine]):
    """Affine forms; what involves no free column may be any function.

    Args:
        resolve: the affine form of a name; raises `NotAffineError` if it has none.
        scope: options of categorical parameters.
        columns: ``d``.
    """

    def __init__(self, resolve: Callable[[str], Affine], scope: Scope, columns: int) -> None:
        self.resolve, self.scope, self.columns = resolve, scope, columns

    def _constant(self, value: Any) -> Affine:
        constant = np.atleast_1d(np.asarray(value, dtype=float)).reshape(-1)
        return Affine(np.zeros((len(constant), self.columns)), constant)

    def number(self, number: float, unit: Unit | None) -> Affine:
        return self._constant(number * unit.factor if unit else number)

    def name(self, name: str) -> Affine:
        return self.resolve(name)

    def attribute(self, name: str, attribute: str) -> Affine:
        return self._constant(self.resolve(name).constant @ np.asarray(self.scope.numbers[name][attribute][0]))

    def option(self, name: str, option: str) -> Affine:
        return self._constant(self.resolve(name).constant[self.scope.options[name].index(option)])

    def item(self, value: Affine, index: int) -> Affine:
        return Affine(value.matrix[index][None], value.constant[index][None])

    def binary(self, operator: str, left: Affine, right: Affine) -> Affine:
        if operator in "+-":
            sign = 1.0 if operator == "+" else -1.0
            return Affine(left.matrix + sign * right.matrix, left.constant + sign * right.constant)
        if operator == "*" and right.fixed:
            return Affine(left.matrix * right.constant[:, None], left.constant * right.constant)
        if operator == "*" and left.fixed:
            return self.binary("*", right, left)
        if operator == "/" and right.fixed and right.constant.all():
            return self.binary("*", left, self._constant(1.0 / right.constant))
        if operator == "**" and right.fixed and (right.constant == 1.0).all():
            return left
        return self._torch("binary", operator, [left, right])

    def call(self, function: str, values: list[Affine]) -> Affine:
        if function == "sum":
            return Affine(values[0].matrix.sum(0)[None], values[0].constant.sum()[None])
        if function == "mean":
            return Affine(values[0].matrix.mean(0)[None], values[0].constant.mean()[None])
        return self._torch("call", function, values)

    def compare(self, operator: str, left: Affine, right: Affine) -> Affine:
        return self._torch("compare", operator, [left, right])

    def logic(self, operator: str, values: list[Affine]) -> Affine:
        return self._torch("logic", operator, values)

    def _torch(self, method: str, symbol: str, values: list[Affine]) -> Affine:
        """Values that involve no free column go through the usual algebra."""
        if not all(value.fixed for value in values):
            raise NotAffineError
        like = torch.zeros(1, 1, dtype=torch.float64)
        blocks: Any = [torch.from_numpy(value.constant)[None] for value in values]
        algebra = TensorAlgebra({}, like, self.scope)
        arguments = blocks if method in ("binary", "compare") else [blocks]
        return self._constant(getattr(algebra, method)(symbol, *arguments)[0].numpy())


def affine(expression: Expression, resolve: Callable[[str], Affine], columns: int) -> Affine | None:
    """The affine form of an expression (``size x columns``), or None if it is not affine."""
    try:
        form = interpret(expression.tree, AffineAlgebra(resolve, expression.scope, columns))
    except NotAffineError:
        return None
    size = expression.kind.size
    return Affine(np.broadcast_to(form.matrix, (size, columns)), np.broadcast_to(form.constant, (size,)).astype(float))
