"""Texts with placeholders: how numbers of a design reach a program, and nothing else does."""

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from mode_opt.errors import ConfigurationError
from mode_opt.units import Unit, parse_unit

NAME = re.compile(r"[A-Za-z0-9_.+-]+")
"""What a text that comes from a design may consist of."""
TOLERANCE = 1e-3
"""How far from a whole number the filter ``integer`` accepts."""


class Quantity(float):
    """A number in field units that remembers of which kind it is, so that `to` can refuse a unit that does not fit."""

    __slots__ = ("name", "unit")

    def __new__(cls, value: float, name: str, unit: Unit) -> "Quantity":
        quantity = super().__new__(cls, value)
        quantity.name, quantity.unit = name, unit
        return quantity

    name: str
    unit: Unit


@final
@dataclass(frozen=True)
class Template:
    """A Jinja2 template.

    Attributes:
        key: the configuration key that messages name.
        source: its text.

    Raises:
        ConfigurationError: if it cannot be parsed.
    """

    key: str
    source: str = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.source, str):
            raise ConfigurationError(self.key, self.source, "a text, perhaps with placeholders such as {{ seed }}")
        _compiled(self.source, self.key)

    @property
    def names(self) -> frozenset[str]:
        """Names that must be known to render it."""
        return _compiled(self.source, self.key)[1]

    def render(self, context: Mapping[str, Any]) -> str:
        """The text with values in place of placeholders.

        Raises:
            ConfigurationError: for names that do not exist, and if values do not fit the template.
        """
        compiled, names = _compiled(self.source, self.key)
        if compiled is None:
            return self.source
        if not names <= context.keys():
            missing = ", ".join(sorted(names - context.keys()))
            raise ConfigurationError(self.key, missing, f"names among {', '.join(sorted(context))}")
        try:
            text: str = compiled.render(context)
        except Exception as error:  # whatever the expressions of a template raise
            words = f"a template that can be rendered ({type(error).__name__}: {error})"
            raise ConfigurationError(self.key, self.source[:200], words) from error
        if "\0" in text:
            raise ConfigurationError(self.key, text[:200], "a text without a character of code zero")
        return text


@functools.lru_cache(maxsize=1024)
def _compiled(source: str, key: str) -> tuple[Any, frozenset[str]]:
    """The template that Jinja2 makes, None for a text without placeholders, and the names in it."""
    if not any(start in source for start in ("{{", "{%", "{#")):
        return None, frozenset()
    from jinja2 import TemplateError, meta

    environment = _environment()
    try:
        names = meta.find_undeclared_variables(environment.parse(source))
        return environment.from_string(source), frozenset(names)
    except TemplateError as error:
        words = f"a Jinja2 template (line {getattr(error, 'lineno', 1)}: {error.message})"
        raise ConfigurationError(key, source[:200], words) from error


@functools.cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, finalize=written
    )
    environment.filters.update({"to": to, "integer": integer})
    environment.filters.pop("random")  # a rendered text follows from the job alone
    environment.globals = {"range": environment.globals["range"]}
    return environment


def written(value: Any) -> Any:
    """How a value appears in a text: numbers so that reading them gives the same number, bit for bit.

    A point is put before an exponent, since YAML takes ``1e-05`` for a text.
    """
    if isinstance(value, float):
        text = float.__repr__(value)
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    if isinstance(value, list | tuple):
        return f"[{', '.join(str(written(each)) for each in value)}]"
    return value


def to(value: Any, unit: str) -> Any:
    """Filter ``to``: a number in field units, or each of a list, as one in ``unit``.

    Raises:
        ValueError: if it is no number or of another kind than ``unit``.
        ConfigurationError: for an unknown unit.
    """
    if isinstance(value, list | tuple):
        return [to(each, unit) for each in value]
    target = parse_unit(unit, "filter to")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number and has no unit {unit!r}")
    if isinstance(value, Quantity) and not value.unit.fits(target):
        raise ValueError(f"{value.name} is declared in {value.unit}, which does not fit {unit!r}")
    return float(value) / target.factor


def integer(value: Any) -> Any:
    """Filter ``integer``: the whole number that a number is, but for rounding; also of each of a list.

    Raises:
        ValueError: if it is no number, or further than `TOLERANCE` from a whole one.
    """
    if isinstance(value, list | tuple):
        return [integer(each) for each in value]
    if not isinstance(value, int | float) or not math.isfinite(value) or abs(value - round(value)) > TOLERANCE:
        raise ValueError(f"{value!r} is no whole number; a parameter of kind integer is one")
    return round(value)


def value_of(name: str, value: Any, unit: Unit | None) -> Any:
    """A design value as templates see it.

    Raises:
        ConfigurationError: for a text that is more than a name, and for anything but numbers and texts.
    """
    if isinstance(value, str):
        if not NAME.fullmatch(value):
            raise ConfigurationError(f"design.{name}", value, "a name of letters, digits and _ . + -")
        return value
    if isinstance(value, Sequence):
        return [value_of(name, each, unit) for each in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"design.{name}", value, "a number, the name of an option, or a list of these")
    if unit is not None:
        return Quantity(value, name, unit)
    return value
