"""What a run leaves behind, written so that a kill never leaves half a file."""

import csv
import hashlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mode_opt.errors import ConfigurationError

PACKAGES = ("mode_opt", "torch", "lightning", "hydra-core", "botorch", "geomloss", "uproot", "awkward", "numpy")


def prepare(directory: Path) -> None:
    """Make the folders of a run.

    Raises:
        ConfigurationError: if they cannot be made or written to.
    """
    try:
        (directory / "checkpoints").mkdir(parents=True, exist_ok=True)
        probe = directory / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigurationError("hydra.run.dir", str(directory), f"a folder that can be written ({error})") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    temporary.replace(path)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file atomically; the columns are those of the first row."""
    rows = list(rows)
    temporary = path.with_suffix(path.suffix + ".part")
    with temporary.open("w", newline="") as file:
        if rows:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    temporary.replace(path)


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Version of each installed package."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name.replace("_", "-"))
        except PackageNotFoundError:
            continue
    return found


def sha256(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _command() -> str:
    """The command line, as it can be typed again."""
    name = Path(sys.argv[0]).name
    return f"{'python -m mode_opt.cli' if name.endswith('.py') else name} {shlex.join(sys.argv[1:])}"


def provenance(device: torch.device, files: Iterable[Path] = ()) -> dict[str, Any]:
    """Where and with what a run was made."""
    hardware: dict[str, Any] = {"machine": platform.machine(), "cores": os.cpu_count(), "device": str(device)}
    if device.type == "cuda":
        hardware["gpu"] = torch.cuda.get_device_name(device)
    return {
        "command": _command(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "hardware": hardware,
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "inputs": {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in files},
    }
