"""Small simulators seen from outside, for the tests of campaigns; can be sent to other processes by name."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from mode_opt.campaigns import Failure, Job, JobFailure, Work, note_child, seed_of


class Noise(Work):
    """Normal hits around the design value ``centre``, and a log with the seed; notes its runs in files if told where.

    Args:
        runs: folder that gets an empty file for every run; "": none.
        fails: by seed, what goes wrong: a `Failure`'s name, ``raise``, ``os``, ``die`` (the process ends), ``hits``
            (NaN), ``short``.
        times: of each failing seed's first runs that go wrong; 0: all.
        seconds: that a run takes.
    """

    kind = "noise of the tests"

    def __init__(self, runs: str = "", fails: dict[str, str] | None = None, times: int = 0, seconds: float = 0.0):
        self.runs, self.fails, self.times, self.seconds = runs, fails or {}, times, seconds

    def description(self):
        return {"runs": self.runs, "fails": self.fails, "times": self.times, "seconds": self.seconds}

    @classmethod
    def of(cls, description):
        return cls(**description)

    def run(self, job, folder):
        assert [path for path in folder.iterdir() if not path.name.startswith(".")] == []
        (folder / "log.txt").write_text(f"seed {job.seed}\n")
        run = self._count(job)
        time.sleep(self.seconds)
        wrong = self.fails.get(str(job.seed)) if self.times == 0 or run <= self.times else None
        if wrong == "raise":
            raise ValueError("a mistake in a Work")
        if wrong == "os":
            raise OSError(errno.ENOSPC, "No space left on device")
        if wrong == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if wrong in Failure.__members__:
            raise JobFailure(Failure[wrong], f"{wrong} as wanted")
        rng = np.random.default_rng(job.seed)
        hits = job.design.get("centre", 0.0) + rng.normal(size=(job.events - (wrong == "short"), 2, 1))
        return {"hits": np.where(wrong == "hits", np.nan, hits)}

    def _count(self, job: Job) -> int:
        if not self.runs:
            return 1
        Path(self.runs).mkdir(exist_ok=True)
        run = 1 + len(list(Path(self.runs).glob(f"{job.seed}.*")))
        Path(self.runs, f"{job.seed}.{run}.{time.monotonic_ns()}").touch()
        return run


class Script(Work):
    """A Python program, ``python -S -c CODE``, that is told folder, seed and events and writes nothing of interest."""

    kind = "script of the tests"

    def __init__(self, code: str):
        self.code = code

    def description(self):
        return {"code": self.code}

    @classmethod
    def of(cls, description):
        return cls(**description)

    def run(self, job, folder):
        command = [sys.executable, "-S", "-c", self.code, str(job.seed), str(job.events)]
        process = subprocess.Popen(command, cwd=folder, start_new_session=True)
        note_child(folder, process.pid)
        if process.wait() != 0:
            raise JobFailure(Failure.EXIT, f"exit code {process.returncode}")
        return {"hits": np.full((job.events, 1, 1), float(job.seed))}


def jobs_of(work: Work, count: int, events: int = 3, base: int = 0, **design) -> list[Job]:
    """Jobs of one design that differ by their seeds."""
    values = {"centre": 1.0, **design}
    return [Job(work.digest, values, events, seed_of(base, k), {"energy": np.ones(events)}) for k in range(count)]


def seeds_of(jobs: list[Job]) -> list[str]:
    return [str(job.seed) for job in jobs]


def results(store, jobs: list[Job]) -> dict[str, bytes]:
    """All events by key, as bytes: two data sets are equal if these are."""
    arrays = {job.key: store.read(job.key) for job in jobs}
    return {key: b"".join(a[name].tobytes() for name in ("hits", "mask", "weight")) for key, a in arrays.items()}
