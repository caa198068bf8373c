"""A Dask cluster: on this machine, on a batch system, or one that runs already."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, final

from mode_opt.campaigns.claims import stop
from mode_opt.campaigns.executors.base import Executor
from mode_opt.campaigns.folders import Folders
from mode_opt.campaigns.outcome import Outcome
from mode_opt.campaigns.performing import Task
from mode_opt.errors import ConfigurationError

BATCH_SYSTEMS = {
    **{"slurm": "SLURMCluster", "htcondor": "HTCondorCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"},
    **{"sge": "SGECluster", "oar": "OARCluster"},
}
"""Names of batch systems, and the classes of dask-jobqueue that speak with them."""
COUNTED = 5.0
"""Seconds for which the number of workers is remembered."""


@final
class DaskExecutor(Executor):
    """Tasks on the workers of a Dask cluster, which must see the folder of the store under the same path.

    Only outcomes travel back: results are in the store. A worker that dies loses the task it had, of which what is
    done stays done. The cluster is started with the first task, and closed with the executor unless it was running
    before. Dask's connections carry pickles: use it in networks you trust, or with its TLS options.

    Args:
        workers: started on this machine, or jobs submitted to the batch system; ignored with ``address``.
        cluster: ``local``, or a batch system of `BATCH_SYSTEMS`.
        address: of the scheduler of a cluster that runs, e.g. ``tcp://node:8786``.
        options: arguments of ``distributed.LocalCluster`` or of the class of dask-jobqueue.
        task_seconds: how long a task should last; None: 1 s on this machine, else 30 s.
        patience: seconds in which the scheduler must answer.

    Raises:
        ConfigurationError: for an unknown cluster; at the first task if Dask is not installed or refuses the options.
    """

    def __init__(
        self,
        workers: int = 2,
        cluster: str = "local",
        address: str | None = None,
        options: Mapping[str, Any] | None = None,
        task_seconds: float | None = None,
        patience: float = 60.0,
    ) -> None:
        if workers < 1:
            raise ConfigurationError("executor.workers", workers, "at least 1")
        if cluster not in ("local", *BATCH_SYSTEMS):
            raise ConfigurationError("executor.cluster", cluster, f"local, {', '.join(BATCH_SYSTEMS)}")
        self.workers, self.cluster, self.address = workers, cluster, address
        self.options, self.patience = dict(options or {}), patience
        self._seconds = task_seconds
        self._client: Any = None
        self._started: Any = None
        self._tasks: dict[Future[list[Outcome]], Task] = {}
        self._counted = (workers, -COUNTED)

    @property
    def capacity(self) -> int:
        count, when = self._counted
        if self._client is not None and time.monotonic() - when > COUNTED:
            threads = sum(self._client.nthreads().values())
            count = max(1, threads) if self.address is not None else max(self.workers, threads)
            self._counted = count, time.monotonic()
        return count

    @property
    def task_seconds(self) -> float:
        on_this_machine = self.cluster == "local" and self.address is None
        return self._seconds if self._seconds is not None else 1.0 if on_this_machine else 30.0

    def submit(self, task: Task) -> "Future[list[Outcome]]":
        if self._client is None:
            self._connect()
        future = _Bridge(self._client.submit(Task.run, task, pure=False, retries=0)).future
        self._tasks[future] = task
        future.add_done_callback(lambda ended: self._tasks.pop(ended, None))
        return future

    def close(self, wait: bool = True) -> None:
        client, cluster, self._client, self._started = self._client, self._started, None, None
        if client is not None:
            client.close()
        if cluster is not None:
            cluster.close()
        # Workers are gone, what they started on this machine may be not.
        stop(Folders(task.root).running(job.key) for task in self._tasks.values() for job in task.jobs)
        self._tasks.clear()

    def _connect(self) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise ConfigurationError("executor", "dask", "Dask, which `pip install mode-opt[dask]` installs") from error
        if self.address is None:
            self._started = self._local() if self.cluster == "local" else self._batch()
        target = self.address if self._started is None else self._started
        try:
            self._client = Client(target, timeout=self.patience, set_as_default=False)
        except OSError as error:
            self.close()
            expected = f"a Dask scheduler that answers within {self.patience:g} s ({error})"
            raise ConfigurationError("executor.address", str(self.address or self.cluster), expected) from error

    def _local(self) -> Any:
        from dask import config
        from distributed import LocalCluster

        defaults = {"threads_per_worker": 1, "processes": True, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
        # A job that killed its worker is not given to the next one: that is for the campaign to decide.
        with config.set({"distributed.scheduler.allowed-failures": 0}):
            return self._made(LocalCluster, {"n_workers": self.workers, **defaults, **self.options})

    def _batch(self) -> Any:
        try:
            import dask_jobqueue
        except ImportError as error:
            expected = "dask-jobqueue, which `pip install mode-opt[dask]` installs"
            raise ConfigurationError("executor.cluster", self.cluster, expected) from error
        from dask import config

        with config.set({"distributed.scheduler.allowed-failures": 0}):
            cluster = self._made(getattr(dask_jobqueue, BATCH_SYSTEMS[self.cluster]), self.options)
        cluster.scale(jobs=self.workers)
        return cluster

    def _made(self, kind: Any, options: Mapping[str, Any]) -> Any:
        try:
            return kind(**options)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigurationError(
                "executor.options", dict(options), f"options with which {kind.__name__} starts ({error})"
            ) from error


class _Bridge:
    """The future of a Dask task as one of the standard library; Dask's own is let go of when it has ended."""

    def __init__(self, remote: Any) -> None:
        self.future: Future[list[Outcome]] = Future()
        self._remote, self._lock = remote, threading.Lock()
        self.future.add_done_callback(self._cancelled)
        remote.add_done_callback(self._ended)

    def _ended(self, remote: Any) -> None:
        with self._lock:
            self._remote = None
        if not self.future.set_running_or_notify_cancel():
            return
        error = ConnectionError("cancelled by Dask") if remote.cancelled() else remote.exception()
        if error is None:
            self.future.set_result(remote.result())
        else:
            self.future.set_exception(error)

    def _cancelled(self, future: "Future[list[Outcome]]") -> None:
        with self._lock:
            remote, self._remote = self._remote, None
        if remote is not None and future.cancelled():
            remote.cancel()
