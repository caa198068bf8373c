"""Showing how a run goes."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """A live bar in a terminal; plain lines, one a validation, in a log file.

    Args:
        units: unit of each parameter that is shown, by the name of its column.
        quiet: show nothing.
        console: where to write.
    """

    def __init__(self, units: Mapping[str, str], quiet: bool = False, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, quiet=quiet)
        self.units = dict(list(units.items())[:4])
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[details]}"),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self._jobs = self._bar.add_task("", total=1.0, details="", visible=False)
        self._phase, self._task = "", self._bar.add_task("", total=1.0, details="", visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text)

    def phase(self, name: str, fraction: float, details: str = "") -> None:
        """Show how far a phase of the run has come, from 0 to 1."""
        if name != self._phase:
            self._phase = name
            self._bar.reset(self._task, total=1.0, visible=True)
            if self._bar.disable:
                self.console.print(name)
        self._bar.update(self._task, description=name, completed=fraction, details=details)

    def jobs(self, words: str, fraction: float) -> None:
        """Show how the runs of an external simulator go, under the phase; without words: none runs."""
        self._bar.update(self._jobs, description="  jobs", completed=fraction, details=words, visible=bool(words))

    def step(self, row: Mapping[str, float], fraction: float, check: bool = False) -> None:
        """Show a design step; the row is one of ``history.csv``."""
        values = [f"{name} {row[name]:.4g} {unit}".rstrip() for name, unit in self.units.items() if name in row]
        parts = [f"objective {row['objective']:.4g}", ", ".join(values), f"{row['simulator_calls']:.3g} calls"]
        details = " | ".join(part for part in parts if part)
        self.phase("optimising", fraction, details)
        if check and self._bar.disable:
            if "validation" in row:
                details = f"validated {row['validation']:.5g} ± {row['validation_standard_error']:.2g} | {details}"
            self.console.print(f"  step {row['step']:.0f}: {details}", soft_wrap=True)
