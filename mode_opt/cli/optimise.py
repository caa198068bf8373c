"""``mode-opt optimise``: from a configuration to a verified better design."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mode_opt.cli.build import chosen_of, detector_of, names_of, settings_of, watched
from mode_opt.cli.compose import launched, overridden, saved
from mode_opt.cli.sweep import study
from mode_opt.errors import ConfigurationError, ModeOptError
from mode_opt.report import write_report
from mode_opt.simulation import external
from mode_opt.training.job import Job
from mode_opt.training.progress import Progress
from mode_opt.training.result import Result
from mode_opt.training.run_directory import prepare
from mode_opt.training.signals import Requests, listening

CHANGEABLE = ("budget.", "early_stopping.", "verification.", "quiet=", "trainer.", "campaign.", "executor.")
"""Keys of a run that may be given anew when it is resumed."""


def main(arguments: list[str]) -> int:
    """Run or resume an optimisation; Hydra's own options (``--multirun``, ``--cfg job``, …) work."""
    resumed = [word.partition("=")[2] for word in arguments if word.startswith("resume=")]
    if resumed and resumed[-1] not in ("", "null"):
        return _resume(Path(resumed[-1]), [word for word in arguments if not word.startswith("resume=")])
    for word in arguments:
        if word.startswith("hydra.run.dir="):  # before Hydra writes its own files there
            _refuse_second_run(Path(word.partition("=")[2]))
    launched(_task, "optimise", "config", arguments)
    return 0


def _task(configuration: DictConfig) -> float:
    directory = Path(HydraConfig.get().runtime.output_dir)
    _refuse_second_run(directory)
    return study(configuration, directory, run)


def _refuse_second_run(directory: Path) -> None:
    """A checkpoint of another configuration would be continued as if it were of this one."""
    if (directory / "checkpoints" / "last.ckpt").exists():
        expected = f"a folder without a run; continue that one with mode-opt optimise resume={directory}"
        raise ConfigurationError("hydra.run.dir", str(directory), expected)


def _resume(directory: Path, overrides: list[str]) -> int:
    configuration = saved(directory)
    for text in overrides:
        if not text.startswith(CHANGEABLE):
            expected = f"changes of {', '.join(word.rstrip('.=') for word in CHANGEABLE)} only"
            raise ConfigurationError("resume", text, expected)
    run(overridden(configuration, overrides), directory)
    return 0


def run(configuration: DictConfig, directory: Path) -> float:
    """Optimise, verify and report in this run directory; returns the verified objective of the final design.

    Raises:
        ModeOptError: if the run failed or was interrupted; what was reached is saved and reported.
    """
    directory = directory.resolve()
    configuration.run_directory = str(directory)
    prepare(directory)
    detector, requests = detector_of(configuration), Requests()
    units = {name: entry["unit"] or "" for name, entry in detector.design.concrete().items()}
    with listening(requests), quiet_lightning(), Progress(units, configuration.quiet) as progress:
        settings = settings_of(configuration)
        begin = time.monotonic()
        calls = _planned_calls(configuration, directory)
        experiment, method = chosen_of(configuration, detector, progress.phase, calls)
        names, setup = names_of(detector, experiment, method), time.monotonic() - begin
        if method.reason is not None:
            progress.say(f"gradient: {names['gradient']}, because {method.reason}")
        job = Job(detector, experiment, settings, directory, names, progress, requests, setup)
        try:
            with watched(experiment.simulator, progress.jobs):
                result = job.run()
        except ModeOptError:
            _report(directory, progress)
            progress.say(f"continue with: mode-opt optimise resume={_relative(directory)}")
            raise
        finally:
            _jobs(job, progress)
        _summary(result, progress)
        if job.judgement is not None and job.judgement.kind != "better":
            progress.say(f"  {job.judgement.words}")
        _report(directory, progress)
    return float(result.content["objective"]["final"]["value"])


def _jobs(job: Job, progress: Progress) -> None:
    """What external programs did, into the result and onto the screen."""
    for part in external(job.experiment.simulator):
        summary = part.campaign.summary()
        job.result.update(campaign=summary)
        failed = ", ".join(f"{count} {kind}" for kind, count in summary["failed"].items())
        words = f"  {summary['jobs']} jobs, {summary['reused']} of them from the store {summary['store']}"
        progress.say(f"{words}; failed for good: {failed or 'none'}")


def _planned_calls(configuration: DictConfig, directory: Path) -> int | None:
    """The budget of simulator calls that the run was begun with: another one must not change the method in it."""
    begun = saved(directory) if (directory / ".hydra" / "config.yaml").is_file() else configuration
    calls = begun.budget.simulator_calls
    return None if calls is None else int(calls)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence what Lightning says about data loaders, which here only count steps, and about the hardware."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _report(directory: Path, progress: Progress) -> None:
    progress.phase("drawing", 0.0)
    page = write_report(directory)
    progress.phase("drawing", 1.0)
    progress.say(f"report: {_relative(page)}")


def _summary(result: Result, progress: Progress) -> None:
    for name, entry in result.content["design"].items():
        values = [entry["initial"], entry["final"]]
        first, last = (f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)
        change = f"{first} -> {last} {entry['unit'] or ''}".rstrip()
        progress.say(f"  {name}: {change if len(first) < 40 else f'{len(values[1])} values, see the report'}")
    objective = result.content["objective"]
    _say_estimates("objective", objective, progress)
    for name, part in objective.get("parts", {}).items():
        _say_estimates(name, part, progress)


def _say_estimates(what: str, entries: dict[str, Any], progress: Progress) -> None:
    for name in ("initial", "final", "improvement"):
        if name in entries:
            progress.say(f"  {what}, {name}: {entries[name]['value']:.5g} ± {entries[name]['standard_error']:.2g}")
