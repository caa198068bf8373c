"""The expression language of uproot, evaluated here so that TTrees and RNTuples answer alike.

uproot ignores cuts, aliases and formulas on RNTuples without a word; so branches are read as they are and
formulas are evaluated by a small interpreter over the syntax tree, with the functions of uproot's own
language.
"""

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mode_opt.errors import ConfigurationError

_BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_UNARY: Mapping[type, Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}


def functions() -> Mapping[str, Callable[..., Any]]:
    """Functions that expressions may call, by name: those of uproot's Python language."""
    from uproot.language.python import python_language

    return python_language.functions


@dataclass(frozen=True)
class Expression:
    """A formula over branches, in the syntax that uproot users write.

    ``+ - * / // % **``, comparisons, ``& | ^ ~``, numbers, strings, uproot's numpy functions, names with dots
    and ``get("any name")``. A text that is the name of a branch is that branch, whatever its characters.

    Attributes:
        text: as written.
        key: the configuration key that messages name.
    """

    text: str
    key: str = "expression"

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise ConfigurationError(self.key, self.text, "an expression over the branches of the file")

    def names(self, known: Collection[str]) -> list[str]:
        """Names of branches and aliases that the formula uses, known or not, without repetition.

        Raises:
            ConfigurationError: if the text is not an expression of the language.
        """
        if self.text in known:
            return [self.text]
        found: dict[str, None] = {}
        self._visit(self._tree(), lambda name: found.setdefault(name), lambda *_: None)
        return list(found)

    def evaluate(self, get: Callable[[str], Any], known: Collection[str]) -> Any:
        """The value; ``get`` returns the value of a branch or alias. Numpy may warn."""
        return get(self.text) if self.text in known else self._visit(self._tree(), get, _call)

    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError) as error:
            raise ConfigurationError(self.key, self.text, f"an expression ({error.args[0]})") from error

    def _visit(self, node: ast.expr, get: Callable[[str], Any], call: Callable[..., Any]) -> Any:
        visit = lambda child: self._visit(child, get, call)  # noqa: E731
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return value
            case ast.Name() | ast.Attribute():
                return get(self._dotted(node))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                return call(_UNARY[type(op)], visit(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return call(_BINARY[type(op)], visit(left), visit(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _BINARY:
                return call(_BINARY[type(op)], visit(left), visit(right))
            case ast.Call(func=ast.Name(id="get"), args=[ast.Constant(value=str() as name)], keywords=[]):
                return get(name)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in functions():
                return call(functions()[name], *(visit(argument) for argument in arguments))
        raise ConfigurationError(self.key, self.text, self._advice(node))

    def _dotted(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=value, attr=attribute):
                return f"{self._dotted(value)}.{attribute}"
        raise ConfigurationError(self.key, self.text, self._advice(node))

    def _advice(self, node: ast.AST) -> str:
        match node:
            case ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return "& | ~ with parentheses around each comparison, in place of and, or, not"
            case ast.Compare():
                return "comparisons two by two, each in parentheses: (80 < M) & (M < 100)"
            case ast.Call(func=ast.Name(id=name)):
                return f"a call of one of {', '.join(sorted(functions()))}; there is no {name!r} of this form"
        part = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
        return f"arithmetic, comparisons and functions of whole branches; {part!r} is neither"


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return flat(function(*_aligned(arguments)))


def _aligned(values: tuple[Any, ...]) -> tuple[Any, ...]:
    # Numpy aligns last axes; here the first axis is always the event, so shorter shapes get axes at the end.
    rank = max((value.ndim for value in values if isinstance(value, np.ndarray)), default=0)
    return tuple(
        value.reshape(value.shape + (1,) * (rank - value.ndim))
        if isinstance(value, np.ndarray) and value.ndim
        else value
        for value in values
    )


def flat(value: Any) -> Any:
    """Arrays of fixed shape as numpy arrays, everything else (jagged, strings, numbers) as it came."""
    import awkward as ak

    if not isinstance(value, ak.Array):
        return value
    layout = value.layout
    while layout.is_regular and layout.parameter("__array__") is None:
        layout = layout.content
    return ak.to_numpy(value, allow_missing=False) if layout.is_numpy else value
