"""Several optimisations in one directory: each an ordinary run of its own, made one after the other, and resumed."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from mode_opt.cli import optimise
from mode_opt.cli.compose import launched, overridden, saved
from mode_opt.errors import ConfigurationError, DataError, ModeOptError
from mode_opt.training.run_directory import write_json
from mode_opt.training.signals import Interrupted

Resume = Callable[[Path, list[str]], int]


@dataclass(frozen=True)
class Series:
    """The directory of a command that makes several runs.

    Attributes:
        directory: that holds the plan, and a folder for each run.
        command: ``compare``, after which the plan is called ``compare.json``.
        noun: what the command makes, for messages.
    """

    directory: Path
    command: str
    noun: str

    @property
    def plan(self) -> Path:
        """The file that says which runs there are."""
        return self.directory / f"{self.command}.json"

    def refuse_second(self) -> None:
        """Raise `ConfigurationError` if the directory holds a plan already."""
        if self.plan.exists():
            again = f"continue that one with mode-opt {self.command} resume={self.directory}"
            raise ConfigurationError("hydra.run.dir", str(self.directory), f"a folder without a {self.noun}; {again}")

    def read(self) -> dict[str, Any]:
        """The plan.

        Raises:
            DataError: if there is none.
        """
        try:
            content = json.loads(self.plan.read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"{self.plan}: no {self.noun} to resume ({error!r})") from error
        if not isinstance(content, dict):
            raise DataError(f"{self.plan}: no {self.noun} to resume (a {type(content).__name__})")
        return content

    def write(self, plan: dict[str, Any]) -> None:
        """Keep the plan."""
        write_json(self.plan, plan)

    def prepare(self, run: str, configuration: DictConfig) -> None:
        """Write the configuration of a run where `make`, and ``mode-opt optimise resume=``, look for it."""
        folder = self.directory / run / ".hydra"
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(configuration, folder / "config.yaml")

    def prepared(self, run: str) -> bool:
        """Whether a run has its configuration."""
        return (self.directory / run / ".hydra" / "config.yaml").is_file()

    def make(self, run: str, words: str, overrides: list[str]) -> str | None:
        """Make a run, or the rest of it; one that is finished is left alone.

        Args:
            run: its folder, relative to the directory.
            words: what it is, for the screen.
            overrides: of its configuration.

        Returns:
            Why it failed; None if it did not.

        Raises:
            Interrupted: on request.
        """
        folder = self.directory / run
        if self.result(run).get("status") == "finished":
            return None
        configuration = overridden(saved(folder), overrides)
        say = Console(stderr=True, highlight=False, markup=False, quiet=bool(configuration.quiet))
        say.print(words)
        try:
            optimise.run(configuration, folder)
        except Interrupted:
            say.print(f"continue with: mode-opt {self.command} resume={self.directory}")
            raise
        except Exception as error:  # whatever an estimator or simulator raises, the other runs are made
            return _first_line(error)
        return None

    def result(self, run: str) -> dict[str, Any]:
        """``result.json`` of a run; empty if it has none."""
        try:
            content = json.loads((self.directory / run / "result.json").read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def history(self, run: str) -> list[dict[str, str]]:
        """Rows of ``history.csv`` of a run; none if it has none."""
        try:
            with (self.directory / run / "history.csv").open(newline="") as file:
                return list(csv.DictReader(file))
        except (OSError, ValueError):
            return []

    def seconds(self, run: str) -> float | str:
        """Wall time of the optimisation alone, without set-up and verification; empty if it is not known."""
        try:
            return float(self.history(run)[-1]["seconds"])
        except (LookupError, ValueError, TypeError):
            return ""


def _first_line(error: BaseException) -> str:
    """What an error says, or that of mode_opt behind it."""
    chain: BaseException | None = error
    while chain is not None and not isinstance(chain, ModeOptError):
        chain = chain.__cause__ or chain.__context__
    text = str(error if chain is None else chain)
    return text.splitlines()[0] if text else type(error).__name__


def given(arguments: list[str], key: str) -> str | None:
    """The last value of ``key=value`` in the arguments; None if there is none, or it is null."""
    values = [word.partition("=")[2] for word in arguments if word.startswith(f"{key}=")]
    return values[-1] if values and values[-1] not in ("", "null") else None


def begun(
    arguments: list[str], series: Callable[[Path], Series], task: Callable[[DictConfig], None], resume: Resume
) -> int:
    """Begin a series with its configuration file, named like its command; or resume one, ``resume=DIR``.

    Args:
        arguments: of the command.
        series: of a directory.
        task: begins one.
        resume: its directory and further overrides.
    """
    resumed, folder = given(arguments, "resume"), given(arguments, "hydra.run.dir")
    if resumed is not None:
        return resume(Path(resumed), [word for word in arguments if not word.startswith("resume=")])
    if folder is not None:  # before Hydra writes its own files there
        series(Path(folder)).refuse_second()
    command = series(Path()).command
    launched(task, command, command, arguments)
    return 0


def only_quiet(overrides: list[str]) -> list[str]:
    """The overrides of a resumed series.

    Raises:
        ConfigurationError: for one that would change what is done.
    """
    for text in overrides:
        if not text.startswith("quiet="):
            raise ConfigurationError("resume", text, "quiet=true or false only: all runs have the same configuration")
    return overrides


def wide_console() -> Console:
    """For tables."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:  # a file has no width
        console.width = 160
    return console


def estimate_text(value: float | str, error: float | str) -> str:
    """A value with its error; empty if it was not measured."""
    return "" if isinstance(value, str) or isinstance(error, str) else f"{value:.5g} ± {error:.2g}"
