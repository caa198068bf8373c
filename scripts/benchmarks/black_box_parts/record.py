"""What is kept of one run, and what is read off it."""

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

COLUMNS = ("calls", "designs", "objective", "wall_seconds", "cpu_seconds")
BUDGET, SECONDS, FAILED, ENDED, GOAL = "budget", "seconds", "failed", "ended", "goal"


@dataclass
class Run:
    """One method on one problem with one seed.

    Attributes:
        problem: by name.
        method: by name.
        seed: of the method; the problem is always the same.
        budget: simulator calls after which no further step is made.
        seconds: CPU time after which no further step is made (a busy machine then changes nothing).
        status: why it ended: ``budget``, ``seconds``, ``goal`` (it need not get further), ``failed``, or ``ended``
            (its steps are used up, or it stands).
        message: the error of a failed run.
        machine: where and with which torch.
        columns: `COLUMNS`, before the first step and after each: cumulative simulator calls, cumulative distinct
            designs simulated, exact objective of the answer at that moment, and cumulative seconds, in which the
            evaluation of the exact objective is not contained.
    """

    problem: str
    method: str
    seed: int
    budget: float
    seconds: float
    status: str = ENDED
    message: str = ""
    machine: str = ""
    columns: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in COLUMNS})

    def add(self, *values: float) -> None:
        """One row, in the order of `COLUMNS`."""
        for name, value in zip(COLUMNS, values, strict=True):
            self.columns[name].append(value)

    @property
    def steps(self) -> int:
        return len(self.columns["calls"]) - 1

    def last(self, name: str) -> float:
        return self.columns[name][-1] if self.columns[name] else math.nan

    def serves(self, budget: float, seconds: float) -> bool:
        """Whether a run with these limits would not get further than this one did."""
        if self.status == SECONDS:
            return self.seconds >= seconds or self.last("calls") >= budget
        return self.status in (FAILED, ENDED, GOAL) or self.budget >= budget

    def reached(self, threshold: float, axis: str = "calls") -> float:
        """Calls (or another column) when the objective of the answer is first at or below it; infinite if never."""
        rows = zip(self.columns[axis], self.columns["objective"], strict=True)
        return next((position for position, objective in rows if objective <= threshold), math.inf)

    def objective_at(self, calls: float) -> float:
        """Exact objective of the answer after at most so many calls; NaN if it ended long before them."""
        stands = self.status in (FAILED, ENDED) and self.budget >= calls
        return self.carried(calls) if stands or self.last("calls") >= 0.9 * calls else math.nan

    def carried(self, calls: float) -> float:
        """The same, with the last value kept for ever."""
        rows = zip(self.columns["calls"], self.columns["objective"], strict=True)
        return next((objective for position, objective in reversed(list(rows)) if position <= calls), math.nan)

    def seconds_per_step(self, name: str = "wall_seconds") -> float:
        """Mean over the steps."""
        return (self.last(name) - self.columns[name][0]) / self.steps if self.steps > 0 else math.nan

    def write(self, path: Path) -> None:
        """As JSON; the file is there as a whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Run":
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def place(folder: Path, problem: str, method: str, seed: int) -> Path:
    """The file of a run."""
    return folder / problem.replace(":", ".") / method / f"{seed}.json"


def finished(folder: Path) -> list[Run]:
    """All runs of a folder, ordered by problem, method and seed."""
    runs = [Run.read(path) for path in folder.glob("*/*/*.json")]
    return sorted(runs, key=lambda run: (run.problem, run.method, run.seed))


def quantile(values: list[float], share: float) -> float:
    """With linear interpolation between the sorted values; infinite where one of the two neighbours is."""
    known = sorted(value for value in values if not math.isnan(value))
    if not known:
        return math.nan
    position = share * (len(known) - 1)
    low, high = known[math.floor(position)], known[math.ceil(position)]
    if math.isinf(high):
        return low if position == math.floor(position) else high
    return low + (high - low) * (position - math.floor(position))
