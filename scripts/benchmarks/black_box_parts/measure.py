"""One run: a method on a problem until its budget of simulator calls, or its time, is spent."""

import copy
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mode_opt.design import DesignPoint
from mode_opt.errors import ModeOptError
from mode_opt.experiment import Alternation, Effort, Experiment, Optimisers
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import Simulator, stream

from .methods import METHODS, Method
from .problems import Problem
from .record import BUDGET, ENDED, FAILED, GOAL, SECONDS, Run

IDLE = 200
"""Steps in a row without a simulator call after which a method is taken to stand."""


class Watch:
    """Counts the distinct designs that a simulator is given, and keeps its noise from being repeated.

    A hook on the simulator itself, so that methods meet the type that they expect. Each call gets a fresh generator,
    whatever generator the method gave: somebody else's program has no common random numbers. Primaries may be common.
    """

    def __init__(self, simulator: Simulator, seed: int, repeatable: bool) -> None:
        self._seen: set[int] = set()
        self._repeatable = repeatable
        self._generator = stream("cpu", seed, "noise that nobody can repeat")
        simulator.register_forward_pre_hook(self._before, with_kwargs=True)

    @property
    def designs(self) -> int:
        return len(self._seen)

    def _before(self, simulator: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        bound = dict(zip(("phi", "primaries", "generator"), given, strict=False)) | named
        phi: DesignPoint = bound["phi"]
        self._seen.update(hash(row.tobytes()) for row in phi.values.detach().cpu().numpy())
        if not self._repeatable:
            seed = int(torch.randint(2**62, (1,), generator=self._generator))
            bound["generator"] = torch.Generator(phi.values.device).manual_seed(seed)
        return (bound["phi"], bound["primaries"], bound.get("generator")), {}


class Clock:
    """Wall and CPU seconds of what it is asked to do; nothing else is counted."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def timed(self, action: Callable[[], object]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            action()
        finally:
            self.wall += time.perf_counter() - wall
            self.cpu += time.process_time() - cpu


@dataclass(frozen=True)
class Limits:
    """When a run ends: after so many calls, or CPU seconds, or when the exact objective is at or below ``goal``."""

    calls: float
    seconds: float = math.inf
    goal: float = -math.inf


def measure(problem: Problem, name: str, seed: int, limits: Limits) -> Run:
    """Run a method; an error ends the run, which is then ``failed`` and keeps what it had reached."""
    run = Run(problem.name, name, seed, limits.calls, limits.seconds)
    run.machine = f"{platform.machine()}, torch {torch.__version__}"
    torch.manual_seed(seed)
    try:
        _follow(run, problem, limits, _prepare(problem, METHODS[name], seed))
    except (ModeOptError, ArithmeticError, RuntimeError, ValueError, TypeError, LookupError) as error:
        run.status, run.message = FAILED, f"{type(error).__name__}: {error}"[:500]
    return run


@dataclass(frozen=True, eq=False)
class Prepared:
    """What takes the steps, and who watches the simulator."""

    alternation: Alternation
    optimisers: Optimisers
    watch: Watch


def _prepare(problem: Problem, method: Method, seed: int) -> Prepared:
    detector = copy.deepcopy(problem.detector)
    simulator = detector.simulator()
    watch = Watch(simulator, seed, method.repeats_noise)
    design, primaries = detector.design, detector.primaries
    setup = method.build(problem, design)
    # Nothing is reconstructed: a belief that is given, not fitted, costs no simulated events.
    targets = primaries.sample(2, stream("cpu", seed, "shape")).truth.shape[2]
    experiment = Experiment(design, simulator, primaries, PriorBelief(targets), detector.objective, setup.gradient)
    # Adam does not mind the size of a gradient, and a clipped one is not the one that was estimated.
    effort = Effort(events=max(setup.events, 2), warm_up=0, reconstruction_steps=0, clip=1e12)
    idle = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    optimisers = Optimisers(idle, idle if setup.optimiser is None else setup.optimiser)
    return Prepared(Alternation(experiment, effort, seed), optimisers, watch)


def _follow(run: Run, problem: Problem, limits: Limits, prepared: Prepared) -> None:
    alternation, optimisers = prepared.alternation, prepared.optimisers
    experiment, method, clock, idle = alternation.experiment, METHODS[run.method], Clock(), 0
    allowed = IDLE if method.steps == math.inf else math.inf

    def note() -> None:
        answer = experiment.design().detach() if method.iterate else alternation.design
        value = problem.objective(answer)
        calls = float(experiment.simulator_calls)
        run.add(
            calls, float(prepared.watch.designs), value if math.isfinite(value) else math.inf, clock.wall, clock.cpu
        )

    note()
    clock.timed(lambda: list(alternation.warm_up(optimisers)))
    while run.steps < method.steps and idle < allowed:
        before = experiment.simulator_calls
        clock.timed(lambda: alternation.step(optimisers))
        note()
        idle = idle + 1 if experiment.simulator_calls == before else 0
        run.status = reason(run, limits)
        if run.status != ENDED:
            return


def reason(run: Run, limits: Limits) -> str:
    """Why a run ends, or `ENDED` as long as it may go on."""
    if run.last("objective") <= limits.goal:
        return GOAL
    if run.last("calls") >= limits.calls:
        return BUDGET
    return SECONDS if run.last("cpu_seconds") >= limits.seconds else ENDED
