"""One run, its file, and the measurement of the designs on its way."""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from mode_opt.design import DesignPoint
from mode_opt.errors import ModeOptError
from mode_opt.experiment import Alternation, Effort, Experiment, Optimisers
from mode_opt.objectives import jackknife, weighted_mean
from mode_opt.objectives.uncertainty import Replicas
from mode_opt.simulation import stream

from .setting import CASES, METHODS, REPLAYED, experiment

PATHWISE_STEPS = 250
LEARNING_RATES = (3e-3, 0.05)


@dataclass(frozen=True)
class Thoroughness:
    """Of the measurement of a design: training steps and batch of a fresh reconstruction, events, repetitions."""

    steps: int = 600
    batch: int = 1024
    events: int = 40_000
    replicas: int = 2


@dataclass
class Run:
    """One method on one case with one seed.

    Attributes:
        calls: simulated events before the first step and after each.
        designs: the answer at that time, field values.
        seconds: wall time until then.
        budget: calls before which the last step began.
        message: the error of a run that failed.
        measured: by the number of calls, ``replicas`` lists of J and of J without each of 20 groups of events.
    """

    case: str
    method: str
    seed: int
    budget: float
    calls: list[float] = field(default_factory=list)
    designs: list[list[float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    message: str = ""
    measured: dict[str, list[list[float]]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return Path(self.case) / f"{self.method}-{self.seed}.json"

    def at(self, calls: float) -> list[float]:
        """The answer after at most so many calls."""
        return [design for spent, design in zip(self.calls, self.designs, strict=True) if spent <= calls][-1]

    def write(self, folder: Path) -> None:
        """As JSON; the file is there as a whole or not at all."""
        path = folder / self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Run":
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def optimised(case: str, method: str, seed: int, budget: float, effort: Effort | None = None) -> Run:
    """Optimise from the start design; every simulated event counts."""
    run, begin = Run(case, method, seed, budget), time.monotonic()
    make = METHODS[method].search
    search = None if make is None else make(CASES[case])
    subject = experiment(CASES[case], search, seed)
    alternation = Alternation(subject, effort or (Effort() if search is None else REPLAYED), seed)
    optimisers = Optimisers(
        torch.optim.Adam(subject.reconstruction.parameters(), lr=LEARNING_RATES[0]),
        torch.optim.Adam([subject.design.psi], lr=LEARNING_RATES[1]),
    )

    def note() -> None:
        run.calls.append(float(subject.simulator_calls))
        run.designs.append(alternation.design.values[0].tolist())
        run.seconds.append(time.monotonic() - begin)

    note()
    try:
        for _ in alternation.warm_up(optimisers):
            pass
        while len(run.calls) <= PATHWISE_STEPS if search is None else run.calls[-1] < budget:
            alternation.step(optimisers)
            note()
    except ModeOptError as error:
        run.message = f"{type(error).__name__}: {error}"
    return run


def measure(run: Run, calls: float, how: Thoroughness, seed: int = 1000) -> bool:
    """Measure the answer after so many calls; False if that has been done. The same primaries and seeds for all."""
    name = f"{calls:.0f}"
    if name in run.measured:
        return False
    subject = experiment(CASES[run.case], seed=0)
    phi = DesignPoint(torch.tensor([run.at(calls)]), subject.design().layout)
    run.measured[name] = [_replica(subject, phi, how, seed, index) for index in range(how.replicas)]
    return True


def _replica(subject: Experiment, phi: DesignPoint, how: Thoroughness, seed: int, index: int) -> list[float]:
    """J and its jackknife replicas with one fresh reconstruction, trained at this very design."""
    reconstruction = subject.fresh_reconstruction(phi, seed + index)
    optimiser = torch.optim.Adam(reconstruction.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(how.steps, 1))
    for step in range(how.steps):
        events = subject.simulate(phi, how.batch, stream("cpu", seed, "train", index, step))
        loss = weighted_mean(-reconstruction(events, phi).log_prob(events.truth), events.weight).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reconstruction.parameters(), 10.0)
        optimiser.step()
        schedule.step()
    events = subject.simulate(phi, how.events, stream("cpu", seed, "measure"))
    with torch.no_grad():
        found = jackknife(subject.objective, events, reconstruction(events, phi), phi)
    return [float(found.value), *found.left_out.tolist()]


def replicas(values: list[list[float]]) -> list[Replicas]:
    """As they are written in a run."""
    rows = [torch.tensor(row, dtype=torch.float64) for row in values]
    return [Replicas(row[0], row[1:]) for row in rows]
