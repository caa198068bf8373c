"""The jobs of one call of `Campaign.stream`, from waiting to ended."""

import heapq
import itertools
import json
import queue
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from mode_opt.campaigns.executors import Executor
from mode_opt.campaigns.failures import CampaignError, Failure
from mode_opt.campaigns.folders import write_whole
from mode_opt.campaigns.job import Job
from mode_opt.campaigns.outcome import Outcome, Status
from mode_opt.campaigns.pace import Pace
from mode_opt.campaigns.patience import Patience, Tally
from mode_opt.campaigns.performing import Task, existing
from mode_opt.campaigns.store import Store
from mode_opt.campaigns.work import Work
from mode_opt.errors import ConfigurationError

LOOK = 1.0
"""Seconds between looks at tasks of which nothing is heard."""

TOGETHER = 0.2
"""Seconds of which endings are entered in the index together."""


@dataclass(order=True)
class _Waiting:
    """A job that has not ended; those that rest after a failure are ordered by when they are ready again."""

    ready: float
    number: int
    job: Job = field(compare=False)
    attempts: int = field(compare=False, default=0)


_Ends = list[tuple[_Waiting, Outcome]]


class Request:
    """Hands jobs over to an executor, and says how each ended.

    Args:
        work: that the jobs are of.
        store: where results are, and their endings are entered.
        executor: where tasks run.
        patience: with failures and stragglers.
        tally: of the request; attempts that are repeated are counted there.
    """

    def __init__(self, work: Work, store: Store, executor: Executor, patience: Patience, tally: Tally) -> None:
        self.work, self.store, self.executor, self.patience, self.tally = work, store, executor, patience, tally
        self.pace = Pace()
        self._fresh: deque[_Waiting] = deque()
        self._resting: list[_Waiting] = []
        self._flying: dict[Future[list[Outcome]], tuple[list[_Waiting], float]] = {}
        self._landed: queue.SimpleQueue[Future[list[Outcome]]] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._unrecorded: list[tuple[Job, Outcome]] = []
        self._recorded = time.monotonic()
        self._all_run: float | None = None

    def add(self, jobs: Iterable[Job]) -> None:
        """More jobs, none of which has ended."""
        self._fresh.extend(_Waiting(0.0, next(self._numbers), job) for job in jobs)

    @property
    def open(self) -> int:
        """Jobs that have not ended."""
        flying = sum(len(waiting) for waiting, _ in self._flying.values())
        return len(self._fresh) + len(self._resting) + flying

    def advance(self, until: float) -> Iterator[Outcome]:
        """Run until at most so many jobs are left; yields those that end.

        Raises:
            CampaignError: if the executor takes no more jobs, or the disk is full.
            ConfigurationError: if the simulator cannot be run as it is configured.
        """
        self._submit()
        while self.open > until:
            self.executor.poll()
            ended = [end for future in self._awaited() for end in self._outcomes(future)]
            ended += self._stragglers()
            self._unrecorded += [(w.job, o) for w, o in ended if o.status is not Status.DROPPED]
            self._submit()
            self._record(after=TOGETHER)
            yield from (outcome for _, outcome in ended)
        self._record()

    def cancel(self) -> None:
        """Nobody waits any longer: tasks that have not begun do not begin; what ended is entered in the store."""
        for future in list(self._flying):
            future.cancel()
        self._record()

    def _record(self, after: float = 0.0) -> None:
        """Enter what ended in the index, several at once; should we be killed before, their files are found."""
        if self._unrecorded and time.monotonic() - self._recorded >= after:
            ended, self._unrecorded = self._unrecorded, []
            self.store.record(ended)
            self._recorded = time.monotonic()

    def _submit(self) -> None:
        now = time.monotonic()
        while self._resting and self._resting[0].ready <= now:
            self._fresh.append(heapq.heappop(self._resting))
        while self._fresh and len(self._flying) < self.executor.ahead:
            size = self.pace.size(self.executor, len(self._fresh))
            waiting = [self._fresh.popleft() for _ in range(size)]
            task = Task(self.work, [w.job for w in waiting], self.store.root)
            try:
                future = self.executor.submit(task)
            except (RuntimeError, OSError) as error:
                words = f"the executor takes no jobs ({type(error).__name__}: {error}); results so far are kept"
                raise CampaignError(words) from error
            self._flying[future] = waiting, time.monotonic()
            future.add_done_callback(self._landed.put)

    def _awaited(self) -> list[Future[list[Outcome]]]:
        """Tasks that have ended: at least one, unless something else is to be done before."""
        seconds = LOOK
        if self._resting and len(self._flying) < self.executor.ahead:
            seconds = min(LOOK, max(0.0, self._resting[0].ready - time.monotonic()))
        done: list[Future[list[Outcome]]] = []
        try:
            done.append(self._landed.get(timeout=seconds))
            while True:
                done.append(self._landed.get_nowait())
        except queue.Empty:
            return [future for future in done if future in self._flying]

    def _outcomes(self, future: Future[list[Outcome]]) -> _Ends:
        """How the jobs of a task ended, those that are tried again left out."""
        waiting, _ = self._flying.pop(future)
        try:
            outcomes = future.result()
        except (CampaignError, ConfigurationError):
            raise
        except Exception as error:
            return self._lost(waiting, f"{type(error).__name__}: {error}")
        ended = [end for pair in zip(waiting, outcomes, strict=False) if (end := self._ended(*pair)) is not None]
        return ended + self._lost(waiting[len(outcomes) :], "the executor was closed")

    def _lost(self, waiting: list[_Waiting], words: str) -> _Ends:
        """What becomes of the jobs of a task whose worker died.

        They ran in order, so that the first without a result is the one that may have killed it: only that has failed.
        """
        ended: _Ends = []
        rest = deque(waiting)
        while rest and (outcome := existing(self.store.folders, rest[0].job.key)) is not None:
            ended.append((rest[0], replace(outcome, attempts=rest.popleft().attempts + 1, reused=False)))
        if rest:
            suspect = rest.popleft()
            end = self._ended(suspect, Outcome(suspect.job.key, Status.FAILED, Failure.LOST, words))
            ended += [] if end is None else [end]
        self._fresh.extendleft(reversed(rest))
        return ended

    def _ended(self, waiting: _Waiting, outcome: Outcome) -> tuple[_Waiting, Outcome] | None:
        """The job and how it ended; None if it is tried again."""
        patience, failure = self.patience, outcome.failure
        if outcome.status is Status.QUARANTINED:
            return waiting, outcome
        waiting.attempts += 1
        if failure is None:
            self.pace.note(outcome.seconds)
            return waiting, replace(outcome, attempts=waiting.attempts)
        if failure.retried and waiting.attempts < patience.attempts:
            self.tally.retried += 1
            waiting.ready = time.monotonic() + min(60.0, patience.backoff * 2 ** (waiting.attempts - 1))
            heapq.heappush(self._resting, waiting)
            return None
        if failure is Failure.DISK:
            root = self.store.root
            words = f"no space left for results in {root} ({outcome.message}); nothing is lost: make room and resume"
            raise CampaignError(words)
        if failure is Failure.LOST:
            self._note_lost(waiting.job, outcome)
        return waiting, replace(outcome, status=Status.QUARANTINED, attempts=waiting.attempts)

    def _note_lost(self, job: Job, outcome: Outcome) -> None:
        """Its worker could not leave behind what is needed to run the job again."""
        kept = self.store.folders.quarantine(job.key)
        fields = {"failure": Failure.LOST.value, "message": outcome.message, "seconds": 0.0, "work": job.work}
        write_whole(kept / "job.npz", job.to_bytes())
        write_whole(kept / "failure.json", json.dumps(fields).encode())

    def _stragglers(self) -> _Ends:
        """Tasks that are not waited for any longer."""
        fraction, median, now = self.patience.stragglers, self.pace.median, time.monotonic()
        if self._fresh or self._resting or len(self._flying) > self.executor.capacity:
            self._all_run = None
            return []
        self._all_run = self._all_run or now  # none waits in the executor since then
        run = self.tally.total - self.tally.reused
        if fraction is None or median is None or self.open > (1 - fraction) * run:
            return []
        dropped: _Ends = []
        for future, (waiting, start) in list(self._flying.items()):
            seconds = now - max(start, self._all_run)
            if seconds > 3 * median * len(waiting):
                del self._flying[future]
                future.cancel()
                words = f"dropped after {seconds:.3g} s, the median is {median:.3g} s"
                dropped += [(w, Outcome(w.job.key, Status.DROPPED, message=words)) for w in waiting]
        return dropped
