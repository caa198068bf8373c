"""When a parameter exists: smooth while optimising, yes or no for a design that can be built."""

import ast
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from mode_opt.design.affine import Affine, affine
from mode_opt.design.expressions import Expression, Lookup
from mode_opt.design.kinds import Kind, Scope
from mode_opt.design.syntax import COMPARISONS, Tree
from mode_opt.errors import ConfigurationError
from mode_opt.units import DIMENSIONLESS, to_field

_INTEGER_WIDTH = 1 / 8
_RELATIVE_WIDTH = 0.05


@final
class Condition:
    r"""A condition such as ``"layers > 3"``; in an array ``index`` is the number of the element.

    `soft` is a factor in [0, 1]: :math:`\mathrm{sigmoid}((a - b)/w)` for ``a > b``. Between integers the
    step is half-way (:math:`a - b - 1/2`, ``w = 1/8``: 0.98 at the first integer that fulfils it); elsewhere
    ``w`` is 5 % of the half range of ``a - b`` over the bounds, or the ``width`` given. A material
    (``absorber == 'Pb'``) counts with its probability; ``and``, ``or``, ``not`` combine as probabilities of
    independent events.

    Args:
        given: the condition, or ``{condition, width}``.
        size: number of elements of the parameter.
        scope: names it may use.
        key: configuration key of the parameter.

    Raises:
        ConfigurationError: if it is no condition, or a width is needed (`settle`).
    """

    def __init__(self, given: str | Mapping[str, Any], size: int, scope: Scope, key: str) -> None:
        self.key = f"{key}.when"
        spec = dict(given) if isinstance(given, Mapping) else {"condition": given}
        for name in set(spec) - {"condition", "width"}:
            raise ConfigurationError(f"{self.key}.{name}", spec[name], "no such key; a condition has condition, width")
        index = Kind(DIMENSIONLESS, size, integral=True)
        self.scope = Scope({**scope.kinds, "index": index}, scope.options, scope.numbers)
        whole = Expression.of(spec.get("condition"), self.scope, self.key)
        if not whole.kind.truth:
            raise whole.tree.refuse("a condition such as 'layers > 3'")
        if whole.kind.size not in (1, size):
            raise whole.tree.refuse(f"a condition for one or {size} elements, not {whole.kind.size}")
        self.size, self.whole, self.given_width = size, whole, spec.get("width")
        self.margins: dict[str, tuple[Expression, float, float]] = {}

    @property
    def names(self) -> frozenset[str]:
        """The parameters in it."""
        return self.whole.names - {"index"}

    def settle(self, resolve: Callable[[str], Affine], half: np.ndarray) -> None:
        """Fix the widths of the smooth steps; ``half`` (``d``) are the half ranges of the free columns."""
        for node in ast.walk(self.whole.tree.root):
            if not isinstance(node, ast.Compare) or isinstance(node.ops[0], ast.Eq | ast.NotEq):
                continue
            operator, sides = COMPARISONS[type(node.ops[0])], [node.left, node.comparators[0]]
            above, below = sides if operator in (">", ">=") else reversed(sides)
            tree = self.whole.tree.at(ast.BinOp(above, ast.Sub(), below))
            margin = Expression.of_tree(tree, self.scope)
            shift = (0.5 if operator in (">=", "<=") else -0.5) if margin.kind.integral else 0.0
            self.margins[ast.dump(node)] = (margin, shift, self._width(margin, resolve, half))

    def _width(self, margin: Expression, resolve: Callable[[str], Affine], half: np.ndarray) -> float:
        if self.given_width is not None:
            width = to_field(self.given_width, margin.kind.unit, f"{self.key}.width")
            if width <= 0:
                raise ConfigurationError(f"{self.key}.width", self.given_width, "a positive width")
            return width
        if margin.kind.integral:
            return _INTEGER_WIDTH

        def form(name: str) -> Affine:
            counter = Affine(np.zeros((self.size, len(half))), np.arange(self.size, dtype=float))
            return counter if name == "index" else resolve(name)

        found = affine(margin, form, len(half))
        width = np.inf if found is None else float((np.abs(found.matrix[:, found.matrix.any(0)])
                                                    @ half[found.matrix.any(0)]).max())  # fmt: skip
        if not np.isfinite(width):
            raise margin.tree.refuse("a width too: {condition: ..., width: ...}, for there is no range to scale with")
        return _RELATIVE_WIDTH * width if width > 0 else 1.0

    def hard(self, lookup: Lookup, like: Tensor) -> Tensor:
        """``b x size``: 1 where the parameter exists, else 0; a material counts if more probable than not."""
        return (self.whole.evaluate(_Indexed(lookup, like, self.size), like) > 0.5).to(like.dtype).expand(-1, self.size)

    def soft(self, lookup: Lookup, like: Tensor) -> Tensor:
        """``b x size`` in [0, 1], differentiable."""
        return self._soft(self.whole.tree, _Indexed(lookup, like, self.size), like).expand(-1, self.size)

    def _soft(self, tree: Tree, lookup: Lookup, like: Tensor) -> Tensor:
        node = tree.root
        if isinstance(node, ast.BoolOp):
            parts = [self._soft(tree.at(part), lookup, like) for part in node.values]
            flip = isinstance(node.op, ast.Or)
            product = torch.ones_like(parts[0])
            for part in parts:
                product = product * (1 - part if flip else part)
            return 1 - product if flip else product
        if isinstance(node, ast.UnaryOp):
            return 1 - self._soft(tree.at(node.operand), lookup, like)
        if ast.dump(node) not in self.margins:
            return Expression.of_tree(tree, self.scope).evaluate(lookup, like)
        margin, shift, width = self.margins[ast.dump(node)]
        return torch.sigmoid((margin.evaluate(lookup, like) + shift) / width)


class _Indexed:
    """The blocks of a design and ``index``."""

    def __init__(self, lookup: Lookup, like: Tensor, size: int) -> None:
        self.lookup, self.like, self.size = lookup, like, size

    def __getitem__(self, name: str) -> Tensor:
        if name != "index":
            return self.lookup[name]
        return torch.arange(self.size, dtype=self.like.dtype, device=self.like.device)[None]
