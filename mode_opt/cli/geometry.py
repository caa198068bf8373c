"""``mode-opt geometry``: the volumes of one design for Geant4, and what they weigh, cost and put in the way."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mode_opt.cli.build import detector_of
from mode_opt.cli.compose import built, composed
from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Detector
from mode_opt.geometry import Price, Volume, engineering_table, macro, overlaps, write_gdml, write_json

SHOWN = 5
"""Overlaps that a message lists."""


def main(arguments: list[str]) -> int:
    """Write the design (``design=RUN_DIR`` or ``design.NAME=VALUE``) as it would be built into ``output=FILE``."""
    configuration = composed(arguments, "geometry")
    output = _output(configuration.output)
    if configuration.overlaps not in ("error", "warn"):
        raise ConfigurationError("overlaps", configuration.overlaps, "error or warn")
    detector = detector_of(configuration)
    if output is not None and output.suffix == ".mac":
        title = f"{detector.name}: the design as it would be built"
        output.write_text(macro(detector.design.concrete(), built(configuration.macro), title))
    else:
        _volumes(detector, configuration, output)
    if output is not None and not configuration.quiet:
        print(f"{detector.name} in {output}")
    return 0


def _output(given: Any) -> Path | None:
    if given is None:
        return None
    path = Path(str(given))
    if path.suffix not in (".mac", *WRITERS) or not path.parent.is_dir():
        raise ConfigurationError("output", str(given), f"a file .mac, {', '.join(WRITERS)} in a folder that exists")
    return path


def _volumes(detector: Detector, configuration: DictConfig, output: Path | None) -> None:
    if detector.volumes is None:
        expected = "a detector that describes its volumes (output=FILE.mac needs none: it writes the parameters)"
        raise ConfigurationError("detector", detector.name, expected)
    world = detector.volumes(detector.design.buildable())
    world = world.priced(_prices(configuration.prices))
    _check(world, configuration.overlaps == "warn")
    beam = _beam(configuration.beam)
    if output is None:
        print(engineering_table(world, beam).text(), end="")
    else:
        WRITERS[output.suffix](output, world, beam)


def _prices(node: Any) -> dict[str, Price]:
    given = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node or {}
    if not isinstance(given, Mapping):
        raise ConfigurationError("prices", given, "prices by name of material, e.g. 'prices.PbWO4=30 EUR/kg'")
    return {name: Price.of(text, f"prices.{name}") for name, text in given.items() if isinstance(name, str)}


def _beam(node: Any) -> tuple[float, float]:
    values = list(node) if OmegaConf.is_list(node) else [node]
    if len(values) != 2 or not all(isinstance(value, int | float) for value in values):
        raise ConfigurationError("beam", values, "x and y in mm, e.g. [0, 0]")
    return values[0], values[1]


def _check(world: Volume, warn: bool) -> None:
    found = [str(overlap) for overlap in overlaps(world)]
    if not found:
        return
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    message = "; ".join(found[:SHOWN]) + more
    if not warn:
        raise ConfigurationError("design", message, "no overlaps (overlaps=warn goes on all the same)")
    print(f"mode-opt: overlaps: {message}", file=sys.stderr)


def _gdml(path: Path, world: Volume, beam: tuple[float, float]) -> None:
    write_gdml(path, world)


def _json(path: Path, world: Volume, beam: tuple[float, float]) -> None:
    write_json(path, world, table=engineering_table(world, beam).as_json())


def _csv(path: Path, world: Volume, beam: tuple[float, float]) -> None:
    path.write_text(engineering_table(world, beam).csv())


def _text(path: Path, world: Volume, beam: tuple[float, float]) -> None:
    path.write_text(engineering_table(world, beam).text())


WRITERS: Mapping[str, Callable[[Path, Volume, tuple[float, float]], None]] = {
    ".gdml": _gdml,
    ".json": _json,
    ".csv": _csv,
    ".txt": _text,
}
"""By the end of the file's name."""
