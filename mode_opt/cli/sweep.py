"""Several studies with one command: what a sweeper is told of each, and a table of all of them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from mode_opt.errors import ConfigurationError
from mode_opt.training.run_directory import write_json, write_rows
from mode_opt.training.signals import Interrupted

STUDY, TABLE = "study.json", "studies.csv"


def study(configuration: DictConfig, directory: Path, run: Callable[[DictConfig, Path], float]) -> float:
    """Make one run; in a sweep, a failure or NaN gives ``sweep.penalty`` if there is one, and the others go on.

    How each study ended is written to ``study.json`` in its folder, and that of all to ``studies.csv`` in the folder
    of the sweep.

    Args:
        configuration: of the run.
        directory: of the run.
        run: makes it, and returns the verified objective.

    Raises:
        ConfigurationError: for a penalty that is no number.
    """
    if HydraConfig.get().mode is not RunMode.MULTIRUN:
        return run(configuration, directory)
    penalty = _penalty(configuration)
    try:
        value = run(configuration, directory)
    except Interrupted:
        raise
    except Exception as error:
        _note(directory, "failed", None, f"{type(error).__name__}: {error}")
        if penalty is None:
            raise
        return penalty
    finite = math.isfinite(value)
    _note(directory, "finished" if finite else "not finite", value if finite else None, "")
    return value if finite or penalty is None else penalty


def _penalty(configuration: DictConfig) -> float | None:
    value = configuration.sweep.penalty
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigurationError("sweep.penalty", value, "a finite number, or null")
    return float(value)


def _note(directory: Path, status: str, value: float | None, message: str) -> None:
    """Write how this study ended, and the table of all that have."""
    job = HydraConfig.get()
    words = message.splitlines()[0] if message else ""
    entry: dict[str, Any] = {"number": job.job.num, "status": status, "objective": "" if value is None else value}
    entry |= {"overrides": " ".join(job.overrides.task), "directory": directory.name, "message": words}
    write_json(directory / STUDY, entry)
    rows = []
    for path in directory.parent.glob(f"*/{STUDY}"):
        try:
            rows.append(json.loads(path.read_text()))
        except (OSError, ValueError):  # another launcher's process writes it now, and the table after that
            continue
    write_rows(directory.parent / TABLE, sorted(rows, key=lambda row: int(row["number"])))
    shown = f"{value:.5g}" if value is not None else words or "the objective is not finite"
    Console(stderr=True, highlight=False, markup=False).print(f"study {entry['number']}: {status}, {shown}")
