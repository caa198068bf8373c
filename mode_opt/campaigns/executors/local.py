"""This machine."""

import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import final

from mode_opt.campaigns.claims import stop
from mode_opt.campaigns.executors.base import Executor
from mode_opt.campaigns.folders import Folders
from mode_opt.campaigns.outcome import Outcome
from mode_opt.campaigns.performing import Task
from mode_opt.errors import ConfigurationError

CLOSING = 5.0
"""Seconds that are tried to stop programs."""


@final
class Serial(Executor):
    """One job after the other, in the calling thread: for debugging."""

    @property
    def capacity(self) -> int:
        return 1

    @property
    def task_seconds(self) -> float:
        return 0.0

    @property
    def ahead(self) -> float:
        return 1

    def submit(self, task: Task) -> "Future[list[Outcome]]":
        future: Future[list[Outcome]] = Future()
        future.set_result(task.run())
        return future

    def close(self, wait: bool = True) -> None:
        """Nothing is held."""


@final
class Processes(Executor):
    """Several jobs at a time on this machine, each in a process of its own that a thread here looks after.

    Args:
        workers: at a time; None: one for each core that this process may use.

    Raises:
        ConfigurationError: for fewer than one.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ConfigurationError("executor.workers", workers, "at least 1, or null for all cores")
        self.workers = workers or _cores()
        self._pool: _Pool | None = None

    @property
    def capacity(self) -> int:
        return self.workers

    @property
    def task_seconds(self) -> float:
        return 0.05

    def submit(self, task: Task) -> "Future[list[Outcome]]":
        self._pool = self._pool or _Pool(self.workers)
        return self._pool.submit(task)

    def close(self, wait: bool = True) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close(wait)


class _Pool:
    """Threads, and the tasks they have."""

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="mode_opt job")
        self._stopped = threading.Event()
        self._tasks: dict[Future[list[Outcome]], Task] = {}

    def submit(self, task: Task) -> "Future[list[Outcome]]":
        future = self._threads.submit(task.run, self._stopped.is_set)
        self._tasks[future] = task
        future.add_done_callback(lambda ended: self._tasks.pop(ended, None))
        return future

    def close(self, wait: bool) -> None:
        self._threads.shutdown(wait=wait, cancel_futures=True)
        self._stopped.set()
        deadline = time.monotonic() + CLOSING
        while self._tasks and time.monotonic() < deadline:  # a program may be starting at this moment
            stop(Folders(task.root).running(job.key) for task in list(self._tasks.values()) for job in task.jobs)
            time.sleep(0.02)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
