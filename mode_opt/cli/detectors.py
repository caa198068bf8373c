"""``mode-opt detectors``: what is installed, read from the configuration files alone."""

from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from mode_opt.cli.discovery import sources
from mode_opt.errors import ConfigurationError


def main(arguments: list[str]) -> int:
    """Print a table of each detector's parameters, with its simulators and constraints."""
    if arguments:
        raise ConfigurationError("detectors", " ".join(arguments), "no arguments")
    console = Console(highlight=False)
    for source in sources():
        for path in source.files():
            content: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[assignment]
            _print(console, path.stem, content)
    return 0


def _print(console: Console, name: str, content: dict[str, Any]) -> None:
    console.print(f"[bold]{name}[/bold]  {content.get('description', '')}")
    design = content.get("design", {})
    for key, names in (("simulators", _available(content)), ("constraints", design.get("constraints"))):
        if names:
            console.print(f"  {key}: {', '.join(map(str, names))}")
    for base in content.get("defaults", []):
        if isinstance(base, str) and base != "_self_":
            console.print(f"  as {base}, but:")
    if design.get("parameters"):
        table = Table("parameter", "start", "bounds or options", "unit", box=None, padding=(0, 3, 0, 2))
        for parameter, entry in design["parameters"].items():
            table.add_row(parameter, *(_cell(entry, keys) for keys in (("start", "expression"), _RANGE, ("unit",))))
        console.print(table)
    console.print()


def _available(content: dict[str, Any]) -> list[str]:
    """Names of the simulators that are not switched off."""
    return [name for name, arguments in (content.get("simulators") or {}).items() if arguments is not None]


_RANGE = ("bounds", "options", "size")


def _cell(entry: dict[str, Any], keys: tuple[str, ...]) -> str:
    values = [entry[key] for key in keys if entry.get(key) is not None]
    return ", ".join(" – ".join(map(str, v)) if isinstance(v, list) else str(v) for v in values)
