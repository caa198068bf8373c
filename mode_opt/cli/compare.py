"""``mode-opt compare``: whole optimisations with several gradient estimators or searches from the same start."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.table import Table as Grid

from mode_opt.cli import optimise
from mode_opt.cli.build import detector_of, settings_of
from mode_opt.cli.estimators import any_search, chosen, nodes
from mode_opt.cli.series import Series, begun, estimate_text, only_quiet, wide_console
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.report.comparison_figure import write_comparison
from mode_opt.training.run_directory import write_rows


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


def series(directory: Path) -> Series:
    """The runs in a directory."""
    return Series(directory, "compare", "comparison")


def main(arguments: list[str]) -> int:
    """Run or resume a comparison (``resume=DIR``): runs that are finished are not repeated."""
    return begun(arguments, series, _task, _resume)


def _task(configuration: DictConfig) -> None:
    directory = Path(HydraConfig.get().runtime.output_dir)
    series(directory).refuse_second()
    carry_out(directory, plan(configuration, directory))


def _resume(directory: Path, overrides: list[str]) -> int:
    content = series(directory).read()
    try:
        runs = [Run(**entry) for entry in content["runs"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{series(directory).plan}: no comparison to resume ({error!r})") from error
    carry_out(directory, runs, only_quiet(overrides))
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
            series(directory).prepare(run.directory, single)
            runs.append(run)
    series(directory).write({"runs": [vars(run) for run in runs]})
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
            words = f"{run.gradient}, seed {run.seed} ({number} of {len(runs)})"
            failed = series(directory).make(run.directory, words, overrides or [])
            if failed is not None:
                failures[run.directory] = failed
    finally:
        rows = [_row(series(directory), run, failures) for run in runs]
        write_rows(directory / "compare.csv", rows)
        write_comparison(directory)
    _print(rows)
    Console(highlight=False, soft_wrap=True).print(f"written to {directory.resolve()}")


def _row(made: Series, run: Run, failures: dict[str, str]) -> dict[str, Any]:
    """A row of ``compare.csv``; what was not measured is empty."""
    content = made.result(run.directory)
    objective = content.get("objective", {})
    failed = run.directory in failures
    row: dict[str, Any] = {"gradient": run.gradient, "seed": run.seed}
    row["status"] = "failed" if failed else content.get("status", "not begun")
    for name in ("initial", "final", "improvement"):
        estimate = objective.get(name, {})
        row[name] = estimate.get("value", "")
        row[f"{name}_standard_error"] = estimate.get("standard_error", "")
    row |= {"simulator_calls": content.get("simulator_calls", ""), "seconds": made.seconds(run.directory)}
    row |= {"directory": run.directory, "message": failures.get(run.directory, content.get("message", ""))}
    return row


def _print(rows: list[dict[str, Any]]) -> None:
    grid = Grid("gradient", "seed", "final objective", "improvement", "calls", "seconds", "status", box=None)
    for row in rows:
        estimates = [estimate_text(row[name], row[f"{name}_standard_error"]) for name in ("final", "improvement")]
        calls = f"{row['simulator_calls']:.3g}" if row["simulator_calls"] != "" else ""
        seconds = f"{row['seconds']:.1f}" if row["seconds"] != "" else ""
        status = f"{row['status']}: {row['message']}" if row["message"] else row["status"]
        grid.add_row(row["gradient"], str(row["seed"]), *estimates, calls, seconds, status)
    wide_console().print(grid)
