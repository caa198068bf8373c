"""The configuration that a run kept: its text for the page, and bounds and limits for the figures."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mode_opt.errors import DataError
from mode_opt.report.table import read_text

_SECRET = re.compile(r"(?i)([\w.\-]*(?:password|passwd|secret|token|api_?key|credential)[\w\-]*['\"]?\s*[:=]\s*)(\S+)")


def redact(text: str) -> str:
    """The text without the values of keys that name a password, token or key: a report is sent by e-mail."""
    return _SECRET.sub(r"\1(not shown)", text)


@dataclass(frozen=True)
class Configuration:
    """A resolved configuration.

    Attributes:
        text: the YAML, without secrets.
        tree: the same as nested mappings.
        overrides: what was changed on the command line, empty if that was not recorded.
    """

    text: str
    tree: Mapping[str, Any]
    overrides: tuple[str, ...] = ()

    def bounds(self, parameter: str, unit: str = "") -> tuple[float, float] | None:
        """Lower and upper bound of a parameter in its declared unit, if two plain numbers are stated."""
        for node in _nodes(self.tree):
            entry = node.get(parameter)
            if isinstance(entry, Mapping):
                numbers = [_plain_number(v, entry.get("unit") or unit) for v in _pair(entry)]
                if len(numbers) == 2 and None not in numbers:
                    return numbers[0], numbers[1]  # type: ignore[return-value]
        return None

    def sense(self, constraint: str) -> str | None:
        """``"<="`` or ``">="`` of a constraint that is written as an expression; None if unknown."""
        for node in _nodes(self.tree):
            constraints = node.get("constraints")
            for name, text in _expressions(constraints):
                found = re.fullmatch(r"([^<>=]+)(<=|>=|<|>)([^<>=]+)", text.strip())
                if found and constraint in (name, found.group(1).strip()):
                    flipped = found.group(1).strip()[0] in "0123456789.-"  # 400 mm >= length
                    return "<=" if (found.group(2)[0] == "<") != flipped else ">="
        return None


def read_configuration(directory: Path) -> Configuration | None:
    """The configuration in ``directory`` (``RUN_DIR/.hydra``), None if there is none.

    Raises:
        DataError: if ``config.yaml`` is not YAML.
    """
    import yaml

    path = directory / "config.yaml"
    if not path.exists():
        return None
    text, overrides = read_text(path), directory / "overrides.yaml"
    try:
        tree = yaml.safe_load(text)
        changes = yaml.safe_load(read_text(overrides)) if overrides.exists() else []
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not valid YAML ({' '.join(str(error).split())}); the file is corrupt") from None
    words = tuple(redact(str(change)) for change in changes) if isinstance(changes, list) else ()
    return Configuration(redact(text), tree if isinstance(tree, Mapping) else {}, words)


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(tree, Mapping):
        yield tree
        for value in tree.values():
            yield from _nodes(value)


def _pair(entry: Mapping[str, Any]) -> list[Any]:
    bounds = entry.get("bounds")
    if isinstance(bounds, list):
        return bounds
    return [entry[key] for key in ("lower", "upper", "low", "high", "minimum", "maximum") if key in entry]


def _plain_number(value: Any, unit: Any) -> float | None:
    if isinstance(value, str) and unit and value.endswith(str(unit)):
        value = value.removesuffix(str(unit)).strip()
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _expressions(constraints: Any) -> Iterator[tuple[str, str]]:
    if isinstance(constraints, Mapping):
        pairs = list(constraints.items())
    else:
        pairs = [("", entry) for entry in constraints] if isinstance(constraints, list) else []
    for name, entry in pairs:
        candidates = entry.values() if isinstance(entry, Mapping) else [entry]
        label = entry.get("name", name) if isinstance(entry, Mapping) else name
        yield from ((str(label), text) for text in candidates if isinstance(text, str))
