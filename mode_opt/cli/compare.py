"""``mode-opt compare``: whole optimisations with several gradient estimators or searches from the same start."""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console
from rich.table import Table as Grid

from mode_opt.cli import optimise
from mode_opt.cli.build import detector_of, settings_of
from mode_opt.cli.compose import launched, overridden, saved
from mode_opt.cli.estimators import any_search, chosen, nodes
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.report.comparison_figure import write_comparison
from mode_opt.training.run_directory import write_json, write_rows
from mode_opt.training.signals import Interrupted

PLAN = "compare.json"


@dataclass(frozen=True)
class Run:
    """One optimisation of a comparison.

    Attributes:
        gradient: name of the estimator or search, with options that were given.
        seed: of the run.
        directory: of the run, relative to that of the comparison.
    """

    gradient: str
    seed: int
    directory: str


def main(arguments: list[str]) -> int:
    """Run or resume a comparison (``resume=DIR``): runs that are finished are not repeated."""
    resumed = [word.partition("=")[2] for word in arguments if word.startswith("resume=")]
    if resumed and resumed[-1] not in ("", "null"):
        return _resume(Path(resumed[-1]), [word for word in arguments if not word.startswith("resume=")])
    for word in arguments:
        if word.startswith("hydra.run.dir="):  # before Hydra writes its own files there
            _refuse_second(Path(word.partition("=")[2]))
    launched(_task, "compare", "compare", arguments)
    return 0


def _refuse_second(directory: Path) -> None:
    if (directory / PLAN).exists():
        expected = f"a folder without a comparison; continue that one with mode-opt compare resume={directory}"
        raise ConfigurationError("hydra.run.dir", str(directory), expected)


def _task(configuration: DictConfig) -> None:
    directory = Path(HydraConfig.get().runtime.output_dir)
    _refuse_second(directory)
    carry_out(directory, plan(configuration, directory))


def _resume(directory: Path, overrides: list[str]) -> int:
    try:
        runs = [Run(**entry) for entry in json.loads((directory / PLAN).read_text())["runs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{directory / PLAN}: no comparison to resume ({error!r})") from error
    for text in overrides:
        if not text.startswith("quiet="):
            raise ConfigurationError("resume", text, "quiet=true or false only: all runs have the same configuration")
    carry_out(directory, runs, overrides)
    return 0


def plan(configuration: DictConfig, directory: Path) -> list[Run]:
    """The runs, each with its configuration in its directory.

    Raises:
        ConfigurationError: if no run could be made with the configuration.
    """
    seeds = list(configuration.seeds) if isinstance(configuration.seeds, ListConfig) else [configuration.seeds]
    if not seeds or any(isinstance(s, bool) or not isinstance(s, int) or s < 0 for s in seeds):
        raise ConfigurationError("seeds", seeds, "a list of non-negative integers")
    if len(set(seeds)) < len(seeds):
        raise ConfigurationError("seeds", seeds, "each seed once")
    estimators = nodes(configuration, any_search)
    configuration.run_directory = str(directory.resolve())
    with optimise.quiet_lightning():
        detector_of(configuration), settings_of(configuration)  # refuses now what every run would refuse
    runs = []
    for name, node in estimators.items():
        for seed in seeds:
            run = Run(name, seed, f"{re.sub(r'[^A-Za-z0-9_.=-]+', '_', name)}/seed_{seed}")
            single = chosen(configuration, node)
            single.seed = seed
            folder = directory / run.directory / ".hydra"
            folder.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(single, folder / "config.yaml")
            runs.append(run)
    write_json(directory / PLAN, {"runs": [vars(run) for run in runs]})
    return runs


def carry_out(directory: Path, runs: list[Run], overrides: list[str] | None = None) -> None:
    """Make the runs that are not finished, then write ``compare.csv`` and the figure and print a table.

    A run that fails is named in the table and the others go on.

    Raises:
        Interrupted: on request; what was reached is written, and can be resumed.
    """
    failures: dict[str, str] = {}
    try:
        for number, run in enumerate(runs, 1):
            folder = directory / run.directory
            if _content(folder).get("status") == "finished":
                continue
            configuration = overridden(saved(folder), overrides or [])
            say = Console(stderr=True, highlight=False, markup=False, quiet=bool(configuration.quiet))
            say.print(f"{run.gradient}, seed {run.seed} ({number} of {len(runs)})")
            try:
                optimise.run(configuration, folder)
            except Interrupted:
                say.print(f"continue with: mode-opt compare resume={directory}")
                raise
            except Exception as error:  # whatever an estimator or simulator raises, the other runs are made
                failures[run.directory] = f"{error}".splitlines()[0] if str(error) else type(error).__name__
    finally:
        rows = [_row(directory, run, failures) for run in runs]
        write_rows(directory / "compare.csv", rows)
        write_comparison(directory)
    _print(rows)
    Console(highlight=False, soft_wrap=True).print(f"written to {directory.resolve()}")


def _content(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _row(directory: Path, run: Run, failures: dict[str, str]) -> dict[str, Any]:
    """A row of ``compare.csv``; what was not measured is empty."""
    content = _content(directory / run.directory)
    objective = content.get("objective", {})
    failed = run.directory in failures
    row: dict[str, Any] = {"gradient": run.gradient, "seed": run.seed}
    row["status"] = "failed" if failed else content.get("status", "not begun")
    for name in ("initial", "final", "improvement"):
        estimate = objective.get(name, {})
        row[name] = estimate.get("value", "")
        row[f"{name}_standard_error"] = estimate.get("standard_error", "")
    row |= {"simulator_calls": content.get("simulator_calls", ""), "seconds": _seconds(directory / run.directory)}
    row |= {"directory": run.directory, "message": failures.get(run.directory, content.get("message", ""))}
    return row


def _seconds(folder: Path) -> float | str:
    """Wall time of the optimisation alone, without set-up and verification."""
    try:
        with (folder / "history.csv").open(newline="") as file:
            last = [row["seconds"] for row in csv.DictReader(file)][-1]
        return float(last)
    except (OSError, LookupError, ValueError, TypeError):
        return ""


def _print(rows: list[dict[str, Any]]) -> None:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:  # a file has no width
        console.width = 160
    grid = Grid("gradient", "seed", "final objective", "improvement", "calls", "seconds", "status", box=None)
    for row in rows:
        estimates = [_estimate(row[name], row[f"{name}_standard_error"]) for name in ("final", "improvement")]
        calls = f"{row['simulator_calls']:.3g}" if row["simulator_calls"] != "" else ""
        seconds = f"{row['seconds']:.1f}" if row["seconds"] != "" else ""
        status = f"{row['status']}: {row['message']}" if row["message"] else row["status"]
        grid.add_row(row["gradient"], str(row["seed"]), *estimates, calls, seconds, status)
    console.print(grid)


def _estimate(value: float | str, error: float | str) -> str:
    return "" if isinstance(value, str) or isinstance(error, str) else f"{value:.5g} ± {error:.2g}"
