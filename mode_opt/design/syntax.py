"""The grammar of expressions: Python's own, cut down to arithmetic, with numbers that carry units.

A text becomes a syntax tree (`parse`) that one interpreter walks (`interpret`) with different algebras:
units and sizes (`kinds`), affine forms (`affine`), tensors (`expressions`). Nothing is ever executed as
Python.
"""

import ast
import io
import tokenize
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mode_opt.errors import ConfigurationError
from mode_opt.units import Unit, is_unit, parse_unit

FUNCTIONS = ("sum", "mean", "min", "max", "sqrt", "exp", "log", "abs", "tanh", "sigmoid", "where")
OPERATORS: Mapping[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
COMPARISONS: Mapping[type, str] = {
    ast.LtE: "<=", ast.Lt: "<", ast.GtE: ">=", ast.Gt: ">", ast.Eq: "==", ast.NotEq: "!="
}  # fmt: skip
_GRAMMAR = f"arithmetic (+ - * / **), comparisons, numbers with units, parameters and {', '.join(FUNCTIONS)}"

V = TypeVar("V")


@dataclass(frozen=True)
class Tree:
    """A parsed expression.

    Attributes:
        source: as the user wrote it.
        key: the configuration key that messages name.
        root: Python's syntax tree, with quantities replaced by names.
        quantities: number and unit behind each such name.
    """

    source: str
    key: str
    root: ast.expr
    quantities: Mapping[str, tuple[float, Unit]]

    def at(self, root: ast.expr) -> "Tree":
        """A part of the expression."""
        return Tree(self.source, self.key, root, self.quantities)

    def text(self, node: ast.expr | None = None) -> str:
        """The expression or a part of it, as text."""
        text = ast.unparse(self.root if node is None else node)
        for name, (number, unit) in self.quantities.items():
            text = text.replace(name, f"{number:g} {unit.text}")
        return text

    def names(self) -> frozenset[str]:
        """Parameters and derived quantities that occur in it."""
        called = {id(node.func) for node in ast.walk(self.root) if isinstance(node, ast.Call)}
        found = {n.id for n in ast.walk(self.root) if isinstance(n, ast.Name) and id(n) not in called}
        return frozenset(found - set(self.quantities))

    def refuse(self, expected: str) -> ConfigurationError:
        """The error that says what this expression should have been."""
        return ConfigurationError(self.key, self.source, expected)


def parse(source: object, names: Collection[str], key: str) -> Tree:
    """Parse an expression; ``names`` are those of parameters, which win over units of the same name.

    A number followed by a unit is one quantity: in ``x / 3 EUR/kg`` the divisor is ``3 EUR/kg``.

    Raises:
        ConfigurationError: if the text is not an expression of the grammar; names ``key``.
    """
    if not isinstance(source, str) or not source.strip():
        raise ConfigurationError(key, source, f"an expression, a text of {_GRAMMAR}")
    try:
        text, quantities = _with_quantities(" ".join(source.split()), names, key)
        root = ast.parse(text, mode="eval").body
    except (SyntaxError, tokenize.TokenError, IndentationError, RecursionError, ValueError) as error:
        raise ConfigurationError(key, source, f"an expression of {_GRAMMAR}") from error
    return Tree(source, key, root, quantities)


def _with_quantities(source: str, names: Collection[str], key: str) -> tuple[str, dict[str, tuple[float, Unit]]]:
    """Replace each number with a unit by a name of its own."""
    ignored = (tokenize.NEWLINE, tokenize.ENDMARKER, tokenize.NL)
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type not in ignored]
    words: list[str] = []
    quantities: dict[str, tuple[float, Unit]] = {}
    position = 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        following = tokens[position] if position < len(tokens) else token
        named = following.type == tokenize.NAME and following.string not in ("and", "or", "not")
        if token.type != tokenize.NUMBER or not named:
            words.append(token.string)
            continue
        length = _unit_length(tokens[position:], names)
        unit = parse_unit("".join(t.string for t in tokens[position : position + length]), key)
        name = f"quantity_{len(quantities)}__"
        quantities[name] = (float(token.string), unit)
        words.append(name)
        position += length
    return " ".join(words), quantities


def _unit_length(tokens: list[tokenize.TokenInfo], names: Collection[str]) -> int:
    """How many tokens after a number are its unit: ``EUR / kg``, ``mm ** 2``, but not ``mm * thickness``."""

    def power(start: int) -> int:
        if start + 1 < len(tokens) and tokens[start].string in ("**", "^"):
            return start + 2 if tokens[start + 1].type == tokenize.NUMBER else start
        return start

    length = power(1)
    while length + 1 < len(tokens) and tokens[length].string in "*/" and tokens[length + 1].type == tokenize.NAME:
        name = tokens[length + 1].string
        if name in names or name in FUNCTIONS or not is_unit(name):
            break
        length = power(length + 2)
    return length


class Algebra(ABC, Generic[V]):
    """What the signs of an expression mean for values of type ``V``."""

    @abstractmethod
    def number(self, number: float, unit: Unit | None) -> V:
        """A literal number in ``unit`` (None: a bare number)."""

    @abstractmethod
    def name(self, name: str) -> V:
        """A parameter or derived quantity."""

    @abstractmethod
    def attribute(self, name: str, attribute: str) -> V:
        """A number that belongs to the options of a categorical parameter."""

    @abstractmethod
    def option(self, name: str, option: str) -> V:
        """Whether the categorical parameter is this option."""

    @abstractmethod
    def item(self, value: V, index: int) -> V:
        """One element of an array."""

    @abstractmethod
    def binary(self, operator: str, left: V, right: V) -> V:
        """``+ - * / **``."""

    @abstractmethod
    def call(self, function: str, values: list[V]) -> V:
        """One of `FUNCTIONS`."""

    @abstractmethod
    def compare(self, operator: str, left: V, right: V) -> V:
        """``< <= > >=``: 1 where true."""

    @abstractmethod
    def logic(self, operator: str, values: list[V]) -> V:
        """``and``, ``or``, ``not`` of truth values."""


def interpret(tree: Tree, algebra: Algebra[V]) -> V:
    """The value of an expression in an algebra.

    Raises:
        ConfigurationError: if something is not in the grammar.
    """
    node = tree.root

    def value(part: ast.expr) -> V:
        return interpret(tree.at(part), algebra)

    match node:
        case ast.Constant(value=bool() | str() | None):
            pass
        case ast.Constant(value=int() | float() as number):
            return algebra.number(float(number), None)
        case ast.Name(id=name) if name in tree.quantities:
            return algebra.number(*tree.quantities[name])
        case ast.Name(id=name):
            return algebra.name(name)
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            return algebra.attribute(name, attribute)
        case ast.Subscript(value=array, slice=ast.Constant(value=int() as index)):
            return algebra.item(value(array), index)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return algebra.binary("*", algebra.number(-1.0, None), value(operand))
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return value(operand)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return algebra.logic("not", [value(operand)])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return algebra.binary(OPERATORS[type(op)], value(left), value(right))
        case ast.BoolOp(op=op, values=parts):
            return algebra.logic("and" if isinstance(op, ast.And) else "or", [value(part) for part in parts])
        case ast.Compare():
            return _comparison(tree, node, algebra)
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]) if function in FUNCTIONS:
            return algebra.call(function, [value(argument) for argument in arguments])
    raise tree.refuse(f"an expression of {_GRAMMAR}; {tree.text()!r} is none of these")


def _comparison(tree: Tree, node: ast.Compare, algebra: Algebra[V]) -> V:
    operator: Any = COMPARISONS.get(type(node.ops[0]))
    right = node.comparators[0]
    if len(node.ops) > 1 or operator is None:
        raise tree.refuse("one comparison (<, <=, >, >=) at a time")
    if operator in ("==", "!="):
        if not (isinstance(node.left, ast.Name) and isinstance(right, ast.Constant) and isinstance(right.value, str)):
            raise tree.refuse("== and != only between a categorical parameter and an option in quotes")
        equal = algebra.option(node.left.id, right.value)
        return equal if operator == "==" else algebra.logic("not", [equal])
    return algebra.compare(operator, *(interpret(tree.at(part), algebra) for part in (node.left, right)))
