"""What can be designed: continuous, integer, categorical and linked parameters, as declared by the user."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, final

from mode_opt.errors import ConfigurationError
from mode_opt.units import Unit, parse_unit, to_field, unit_text

Numbers = float | str | Sequence[float | str]


class Parameter:
    """A design parameter; numbers are in its declared unit, or texts such as ``"0.3 cm"``."""


@dataclass(frozen=True)
class Numeric(Parameter):
    """What continuous and integer parameters have in common.

    Attributes:
        start: value at the start, one number or ``size`` of them.
        bounds: lowest and highest value, ``None`` for none; each one number or ``size`` of them.
        unit: declared unit; reports use it.
        size: number of elements of an array (default: that of ``start``).
        free: whether it is optimised.
        grid: manufacturing grid, the step of multiples or a list of stock values.
        when: condition under which the parameter exists, e.g. ``"layers > 3"``; in an array ``index`` is the
            number of the element. ``{condition, width}`` sets the width of the smooth step used while
            optimising.
        scale: ``linear`` or ``log`` (then values are positive and neighbourhoods are relative).
    """

    start: Numbers
    bounds: Sequence[Numbers | None] | None = None
    unit: str = ""
    size: int | None = None
    free: bool = True
    grid: Numbers | None = None
    when: str | Mapping[str, Any] | None = None
    scale: str = "linear"


@final
@dataclass(frozen=True)
class Continuous(Numeric):
    """A real number or an array of them."""


@final
@dataclass(frozen=True)
class Integer(Numeric):
    """A whole number or an array of them: relaxed to a real one while optimising, rounded in reports."""


@final
@dataclass(frozen=True)
class Categorical(Parameter):
    """One of several options, e.g. a material: probabilities while optimising, the likeliest in reports.

    Attributes:
        start: the option at the start (it begins with probability ``(1 + 1/k)/2`` of ``k``, so that the
            others can be reached), or a mapping of options to probabilities.
        options: names, or a mapping of names to numbers for expressions:
            ``{PbWO4: {price: 5 EUR/kg}, Pb: {price: 2 EUR/kg}}`` allows ``absorber.price``.
        free: whether it is optimised; a fixed one is its start option with certainty.
    """

    start: str | Mapping[str, float]
    options: Sequence[str] | Mapping[str, Mapping[str, float | str] | None]
    free: bool = True


@final
@dataclass(frozen=True)
class Linked(Parameter):
    """A parameter that follows from others.

    Attributes:
        expression: e.g. ``"8 mm - absorber_thickness"``.
        unit: declared unit; the expression's unit must fit it.
        bounds: lowest and highest value (``None`` for none); they become constraints.
    """

    expression: str
    unit: str | None = None
    bounds: Sequence[float | str | None] | None = None


KINDS: Mapping[str, type[Parameter]] = {
    "continuous": Continuous, "integer": Integer, "categorical": Categorical, "linked": Linked
}  # fmt: skip


def parameter(name: str, spec: "Parameter | Mapping[str, Any]") -> Parameter:
    """A parameter from its specification in YAML; the kind follows from the keys where it is not given.

    Raises:
        ConfigurationError: for a specification that is no mapping, an unknown kind or key, or a missing key.
    """
    key = f"design.parameters.{name}"
    if isinstance(spec, Parameter):
        return spec
    if not isinstance(spec, Mapping):
        raise ConfigurationError(key, spec, "a mapping such as {start: 4.5, bounds: [0.5, 6.0], unit: mm}")
    values = {k: _plain(v) for k, v in spec.items()}
    implied = "linked" if "expression" in values else "categorical" if "options" in values else "continuous"
    kind = values.pop("kind", implied)
    if kind not in KINDS:
        raise ConfigurationError(f"{key}.kind", kind, f"one of {', '.join(KINDS)}")
    known = [field.name for field in fields(KINDS[kind])]  # type: ignore[arg-type]
    for name_of_key, value in values.items():
        if name_of_key not in known:
            expected = f"no such key; a {kind} parameter has {', '.join(known)}"
            raise ConfigurationError(f"{key}.{name_of_key}", value, expected)
    required = {"linked": ["expression"], "categorical": ["start", "options"]}.get(kind, ["start"])
    for missing in required:
        if missing not in values:
            raise ConfigurationError(f"{key}.{missing}", None, f"a value: a {kind} parameter needs '{missing}'")
    return KINDS[kind](**values)


def _plain(value: Any) -> Any:
    """Tuples and dictionaries instead of whatever containers a configuration came in."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_plain(v) for v in value)
    return value


@dataclass(frozen=True)
class Block:
    """A numeric parameter with everything in field units and checked.

    Attributes:
        declared: the parameter as the user declared it.
        start, lower, upper: ``size`` numbers each, infinite where unbounded.
        grid: step of multiples, stock values, or None.
    """

    name: str
    declared: Numeric
    unit: Unit
    start: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    grid: float | tuple[float, ...] | None

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self.start)

    @property
    def integer(self) -> bool:
        """Whether values are whole numbers."""
        return isinstance(self.declared, Integer)

    @property
    def stock(self) -> float | tuple[float, ...] | None:
        """Step or list of values that can be made (1 for integers); None if all can."""
        return self.grid if self.grid is not None else 1.0 if self.integer else None


def block(name: str, declared: Numeric) -> Block:
    """Check a numeric parameter and express it in field units.

    Raises:
        ConfigurationError: NaN, a unit that does not fit, reversed bounds, a start value outside of them,
            sizes that differ, a log scale with values that are not positive, a fractional start of an
            integer.
    """
    key = f"design.parameters.{name}"
    unit = parse_unit(declared.unit, f"{key}.unit")
    if not isinstance(declared.free, bool):
        raise ConfigurationError(f"{key}.free", declared.free, "true or false")
    if declared.scale not in ("linear", "log"):
        raise ConfigurationError(f"{key}.scale", declared.scale, "linear or log")
    size = _size(declared, key)
    start = vector(declared.start, size, unit, f"{key}.start")
    lower, upper = bounds(declared.bounds, size, unit, f"{key}.bounds")
    result = Block(name, declared, unit, start, lower, upper, _grid(declared, unit, key))
    _check(result, key)
    return result


def _size(declared: Numeric, key: str) -> int:
    given = declared.start
    length = len(given) if isinstance(given, Sequence) and not isinstance(given, str) else None
    size = declared.size if declared.size is not None else length or 1
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigurationError(f"{key}.size", size, "a whole number, 1 or more")
    if length is not None and length != size:
        raise ConfigurationError(f"{key}.start", given, f"one number or {size} of them, as 'size' says")
    return size


def vector(value: object, size: int, unit: Unit, key: str) -> tuple[float, ...]:
    """``size`` finite numbers in field units, from one number or ``size`` of them.

    Raises:
        ConfigurationError: for anything else.
    """
    many = isinstance(value, Sequence) and not isinstance(value, str)
    items: Sequence[object] = value if many else [value] * size  # type: ignore[assignment]
    if len(items) != size:
        raise ConfigurationError(key, value, f"one number or {size} of them")
    numbers = tuple(to_field(item, unit, key) for item in items)
    if not all(map(math.isfinite, numbers)):
        raise ConfigurationError(key, value, f"a finite number in {unit}")
    return numbers


def bounds(given: object, size: int, unit: Unit, key: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Lower and upper bounds in field units, ``size`` numbers each; infinite where there is none.

    Raises:
        ConfigurationError: if it is no pair, or the lower is not below the upper.
    """
    if given is None:
        return (-math.inf,) * size, (math.inf,) * size
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        raise ConfigurationError(key, given, "a pair [lowest, highest], with null for no bound")
    sides = []
    for side, none in zip(given, (-math.inf, math.inf), strict=True):
        unbounded = side is None or (isinstance(side, float) and side == none)
        sides.append((none,) * size if unbounded else vector(side, size, unit, key))
    if any(low >= high for low, high in zip(*sides, strict=True)):
        raise ConfigurationError(key, list(given), "the lowest value first, then a higher one")
    return sides[0], sides[1]


def _grid(declared: Numeric, unit: Unit, key: str) -> float | tuple[float, ...] | None:
    given = declared.grid
    if given is None:
        return None
    if isinstance(given, Sequence) and not isinstance(given, str):
        values = tuple(sorted({to_field(item, unit, f"{key}.grid") for item in given}))
        if not values:
            raise ConfigurationError(f"{key}.grid", given, "at least one stock value")
        return values
    step = to_field(given, unit, f"{key}.grid")
    if not 0 < step < math.inf:
        raise ConfigurationError(f"{key}.grid", given, "a positive step or a list of stock values")
    return step


def _check(checked: Block, key: str) -> None:
    declared, unit = checked.declared, checked.unit
    for value, low, high in zip(checked.start, checked.lower, checked.upper, strict=True):
        rounding = 1e-12 * max(abs(value), abs(low) if math.isfinite(low) else 0.0)
        if not low - rounding <= value <= high + rounding:
            expected = f"a value within the bounds [{low / unit.factor:g}, {high / unit.factor:g}] {unit}"
            raise ConfigurationError(f"{key}.start", declared.start, expected)
        if declared.scale == "log" and (value <= 0 or low == 0.0 or -math.inf < low < 0):
            raise ConfigurationError(f"{key}.scale", "log", "positive start value and bounds")
        if checked.integer and value != round(value):
            raise ConfigurationError(f"{key}.start", declared.start, "a whole number")


@dataclass(frozen=True)
class Choice:
    """A categorical parameter, checked.

    Attributes:
        start: probabilities of the options at the start.
        numbers: by attribute, the number of each option in field units and their unit.
    """

    name: str
    declared: Categorical
    options: tuple[str, ...]
    start: tuple[float, ...]
    numbers: Mapping[str, tuple[tuple[float, ...], Unit]]


def choice(name: str, declared: Categorical) -> Choice:
    """Check a categorical parameter.

    Raises:
        ConfigurationError: fewer than two options, a start that is none of them, options without a number
            that others have, or numbers whose units do not fit.
    """
    key = f"design.parameters.{name}"
    given = declared.options
    if isinstance(given, str) or not all(isinstance(option, str) for option in given):
        raise ConfigurationError(f"{key}.options", given, "a list of names, or a mapping of names to numbers")
    options = tuple(given)
    if len(set(options)) < 2 or len(set(options)) != len(options):
        raise ConfigurationError(f"{key}.options", list(options), "at least two different options")
    if not isinstance(declared.free, bool):
        raise ConfigurationError(f"{key}.free", declared.free, "true or false")
    tables = {o: dict(given[o] or {}) for o in options} if isinstance(given, Mapping) else {o: {} for o in options}
    numbers = {}
    for attribute in dict.fromkeys(a for table in tables.values() for a in table):
        numbers[attribute] = _option_numbers(tables, attribute, f"{key}.options")
    return Choice(
        name,
        declared,
        options,
        probabilities(declared.start, options, f"{key}.start", declared.free),
        numbers,
    )


def probabilities(start: object, options: tuple[str, ...], key: str, free: bool) -> tuple[float, ...]:
    """Probabilities of the options, from the name of one or from a mapping or list of weights.

    Raises:
        ConfigurationError: if an option is unknown or the weights are no probabilities.
    """
    if isinstance(start, str):
        if start not in options:
            raise ConfigurationError(key, start, f"one of the options {', '.join(options)}")
        rest = (1 - 1 / len(options)) / 2 / (len(options) - 1) if free else 0.0
        return tuple(1 - rest * (len(options) - 1) if option == start else rest for option in options)
    weights: list[Any] = []
    if isinstance(start, Mapping) and set(start) <= set(options):
        weights = [start.get(option, 0.0) for option in options]
    elif isinstance(start, Sequence):
        weights = list(start)
    if (
        len(weights) != len(options)
        or not all(isinstance(w, int | float) and w >= 0 for w in weights)
        or not sum(weights)
    ):
        raise ConfigurationError(key, start, f"one of the options {', '.join(options)}, or their probabilities")
    total = sum(weights)
    if not free and max(weights) < total:
        raise ConfigurationError(key, start, "one option: a fixed parameter has no probabilities")
    return tuple(weight / total for weight in weights)


def _option_numbers(
    tables: Mapping[str, Mapping[str, Any]], attribute: str, key: str
) -> tuple[tuple[float, ...], Unit]:
    """One number of each option; the first option's unit is that of all."""
    first = next(iter(tables.values())).get(attribute)
    unit = parse_unit(unit_text(first), f"{key}.{next(iter(tables))}.{attribute}")
    numbers = []
    for option, table in tables.items():
        where = f"{key}.{option}.{attribute}"
        if attribute not in table:
            raise ConfigurationError(where, None, f"a number: other options have {attribute!r}")
        numbers.append(to_field(table[attribute], unit, where))
    return tuple(numbers), unit
