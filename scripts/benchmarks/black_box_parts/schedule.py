"""Many runs in a few processes, each file written when its run is done, so that a killed schedule can go on."""

import argparse
import math
import os
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from .measure import Limits, measure
from .methods import METHODS
from .problems import problem_named
from .record import FAILED, Run, place


@dataclass(frozen=True)
class Task:
    """One run and its limits; it also ends when the gap is this ``share`` of that of the start, if that is not 0."""

    folder: Path
    problem: str
    method: str
    seed: int
    budget: float
    seconds: float
    share: float = 0.0

    @property
    def path(self) -> Path:
        return place(self.folder, self.problem, self.method, self.seed)

    def done(self, retry: bool) -> bool:
        """Whether a run that serves is there; ``retry`` repeats those that failed."""
        if not self.path.exists():
            return False
        run = Run.read(self.path)
        return run.serves(self.budget, self.seconds) and not (retry and run.status == FAILED)

    def perform(self) -> str:
        """Run, write, and say in a line how it went."""
        problem = problem_named(self.problem)
        goal = problem.optimum + self.share * (problem.start - problem.optimum) if self.share > 0 else -math.inf
        run = measure(problem, self.method, self.seed, Limits(self.budget, self.seconds, goal))
        run.write(self.path)
        line = f"{self.problem}, {self.method}, seed {self.seed}: {run.last('objective'):.4g} after"
        line += f" {run.last('calls'):.0f} calls, {run.last('wall_seconds'):.0f} s ({run.status})"
        return line + (f": {run.message}" if run.message else "")


def carry_out(options: argparse.Namespace, share: float = 0.0) -> None:
    """Perform what ``problems``, ``methods`` and ``seeds`` ask for and is not there, and print a line for each run.

    The first seed of everything comes before the second of anything.
    """
    missing = {name: METHODS[name].missing() for name in options.methods}
    for name, what in missing.items():
        print(f"{name} is left out: {what}" if what else f"{name}: {METHODS[name].label}", flush=True)
    wanted = [
        Task(options.runs, problem, method, seed, options.calls, options.seconds, share)
        for seed in range(options.seeds)
        for problem in options.problems
        for method in options.methods
        if not missing[method]
    ]
    still = [task for task in wanted if not task.done(options.retry)]
    print(f"{len(wanted) - len(still)} of {len(wanted)} runs are there already", flush=True)
    for line in perform(still, options.workers):
        print(line, flush=True)


def perform(tasks: Sequence[Task], workers: int) -> Iterable[str]:
    """Perform all; yields a line for each as it ends. One worker is this process."""
    if workers <= 1:
        torch.set_num_threads(1)
        for task in tasks:
            yield task.perform()
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # the children inherit it before they import torch
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin, (os.getpid(),)) as pool:
        pending = [pool.submit(task.perform) for task in tasks]
        try:
            for future in as_completed(pending):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(parent: int) -> None:
    """In a new worker: one thread, and an end when the parent is gone, however it went."""
    torch.set_num_threads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
