"""A design as commands of a Geant4 macro."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from mode_opt.errors import ConfigurationError
from mode_opt.units import Unit, field_unit, parse_unit

GEANT4_UNITS = {
    **{"mm": "mm", "cm": "cm", "m": "m", "km": "km", "um": "um", "nm": "nm"},
    **{"millimeter": "mm", "centimeter": "cm", "meter": "m", "micrometer": "um", "nanometer": "nm"},
    **{"MeV": "MeV", "GeV": "GeV", "TeV": "TeV", "keV": "keV", "eV": "eV", "MeV/c": "MeV", "GeV/c": "GeV"},
    **{"ns": "ns", "us": "us", "ms": "ms", "s": "s", "ps": "ps", "T": "tesla", "tesla": "tesla", "kg": "kg", "g": "g"},
    **{"rad": "rad", "radian": "rad", "deg": "deg", "degree": "deg", "mrad": "mrad", "K": "kelvin", "kelvin": "kelvin"},
    **{"mm^2": "mm2", "cm^2": "cm2", "mm^3": "mm3", "cm^3": "cm3", "mm**2": "mm2", "mm**3": "mm3"},
}
"""Geant4's names of units, by ours."""

PLACES = ("name", "value", "unit", "index")

_WORD = re.compile(r"[A-Za-z0-9_.+-]+")
_PLACE = re.compile(r"\{([^{}]*)\}")


@final
@dataclass(frozen=True)
class MacroTemplate:
    """How the commands of a macro are written.

    Attributes:
        number: of a parameter with one number; ``{name}``, ``{value}`` and ``{unit}`` are replaced.
        element: of each element of an array, with ``{index}`` from 0.
        category: of a category, whose value is the name of its option.
        parameters: templates of single parameters by name, in place of these; null leaves one out.

    Raises:
        ConfigurationError: for a template that is not one line, or another place to fill in.
    """

    number: str = "/mode_opt/{name} {value} {unit}"
    element: str = "/mode_opt/{name} {index} {value} {unit}"
    category: str = "/mode_opt/{name} {value}"
    parameters: Mapping[str, str | None] | None = None

    def __post_init__(self) -> None:
        own = {f"parameters.{name}": text for name, text in (self.parameters or {}).items() if text is not None}
        for key, text in {"number": self.number, "element": self.element, "category": self.category, **own}.items():
            if not isinstance(text, str) or not text.isprintable() or not text.strip():
                raise ConfigurationError(f"macro.{key}", text, "one line of text")
            for place in _PLACE.findall(text):
                if place not in PLACES:
                    expected = ", ".join(f"{{{name}}}" for name in PLACES)
                    raise ConfigurationError(f"macro.{key}", text, f"no {{{place}}}: what is replaced is {expected}")


def macro(design: Mapping[str, Mapping[str, Any]], template: MacroTemplate | None = None, title: str = "") -> str:
    """The text of a macro: a command for each number of a design, in its declared unit where Geant4 knows that.

    A number whose unit Geant4 does not know is written in field units without a unit, below a comment that says so.
    Parameters that do not exist in the design (conditions) are left out.

    Args:
        design: as of `mode_opt.design.Design.concrete`: ``{name: {"value": ..., "unit": ...}}``.
        template: how commands are written.
        title: a comment at the top.

    Raises:
        ConfigurationError: for a name or an option that is no single word, or a template of an unknown parameter.
    """
    made = template or MacroTemplate()
    for name in made.parameters or {}:
        if name not in design:
            raise ConfigurationError(f"macro.parameters.{name}", name, f"one of {', '.join(design)}")
    lines = [f"# {line}" for line in title.splitlines()]
    for name, entry in design.items():
        lines += _commands(_word(name, "design"), entry["value"], entry["unit"] or "", made)
    return "\n".join(lines) + "\n"


def _commands(name: str, value: Any, unit: str, template: MacroTemplate) -> list[str]:
    own = template.parameters or {}
    if own.get(name, "") is None or value is None:
        return []
    if isinstance(value, str):
        text = own.get(name) or template.category
        return [_filled(text, {"name": name, "value": _word(value, f"design.{name}"), "unit": "", "index": ""})]
    known, factor, note = _unit(unit)
    values = list(value) if isinstance(value, list | tuple) else [value]
    text = own.get(name) or (template.element if isinstance(value, list | tuple) else template.number)
    comment = [f"# {name}: {note}"] if note else []
    numbers = enumerate(values)
    return comment + [
        _filled(text, {"name": name, "value": _text(v, factor), "unit": known, "index": str(k)})
        for k, v in numbers
        if v is not None
    ]


def _filled(template: str, words: Mapping[str, str]) -> str:
    """Places are replaced once: what is put in is not looked at again."""
    return _PLACE.sub(lambda match: words[match[1]], template).rstrip()


def _text(value: Any, factor: float) -> str:
    return str(value) if isinstance(value, int) and factor == 1 else repr(float(value) * factor)


def _unit(text: str) -> tuple[str, float, str]:
    """Geant4's name of a unit, the factor that numbers take, and a comment if there is no such unit."""
    if not text or text in GEANT4_UNITS:
        return GEANT4_UNITS.get(text, ""), 1.0, ""
    unit = parse_unit(text)
    field = _field(unit)
    if field.text in GEANT4_UNITS or not field.text:
        return GEANT4_UNITS.get(field.text, ""), unit.factor, ""
    return "", unit.factor, f"in {field.text}"


def _field(unit: Unit) -> Unit:
    return field_unit(dict(unit.dimension))


def _word(text: str, key: str) -> str:
    if not _WORD.fullmatch(text):
        raise ConfigurationError(key, text, "a word of letters, digits, _, ., + and -, which a macro can hold")
    return text
