"""Many runs of a simulator: each once, whatever happens."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, final

from mode_opt.campaigns.executors import Executor, Processes
from mode_opt.campaigns.failures import CampaignError, Failure
from mode_opt.campaigns.job import Job
from mode_opt.campaigns.outcome import Outcome, Status
from mode_opt.campaigns.patience import Patience, Tally
from mode_opt.campaigns.request import Request
from mode_opt.campaigns.store import Store
from mode_opt.campaigns.work import Work

CHUNK = 2000
"""Jobs that are looked up in the store at a time."""
JUDGED = 10
"""Jobs that must have ended before a campaign is given up for too many failures."""

Report = Callable[[Tally], None]
"""Called whenever a job has ended."""


@final
class Campaign:
    """Runs jobs on an executor, with a store that remembers.

    A job whose result is in the store is not run. Failed attempts are repeated where that helps; a job that goes on
    failing is put in quarantine, with its log and a command that runs exactly it again, and is not tried again until
    it is released (``mode-opt store retry``). A killed session loses only what was running.

    Args:
        store: or its folder.
        executor: where jobs run.
        patience: with failures and stragglers.
        report: is told of every job that ends.
    """

    def __init__(
        self,
        store: Store | str | Path,
        executor: Executor | None = None,
        patience: Patience | None = None,
        report: Report = lambda tally: None,
    ) -> None:
        self.store = store if isinstance(store, Store) else Store(store)
        self.executor = executor or Processes()
        self.patience, self.report = patience or Patience(), report
        self.failures: Counter[Failure] = Counter()
        self.ended = self.reused = 0
        self._run: Counter[Failure | None] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.close(wait=False)

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: copies of a simulator share workers, store and counts."""
        return self

    def stream(self, work: Work, jobs: Iterable[Job], total: int | None = None) -> Iterator[Outcome]:
        """Run jobs; the outcome of each as it ends, in no particular order, and of equal jobs once.

        Args:
            work: the simulator.
            jobs: may be a generator: they are taken as they are needed.
            total: how many there are, for the report.

        Raises:
            CampaignError: if too many fail, or the disk is full. Results so far are in the store.
        """
        self.store.clean()
        self.store.register(work)
        if total is None and isinstance(jobs, Sequence):
            total = len({job.key for job in jobs})
        tally = Tally(total or 0)
        request = Request(work, self.store, self.executor, self.patience, tally)
        backlog = CHUNK // 2 if math.isfinite(self.executor.ahead) else math.inf
        seen: set[str] = set()
        fresh = (job for job in jobs if not (job.key in seen or seen.add(job.key)))  # type: ignore[func-returns-value]
        try:
            while chunk := list(itertools.islice(fresh, CHUNK)):
                known = self.store.known(chunk)
                for outcome in known.values():
                    yield self._end(outcome, tally)
                request.add(job for job in chunk if job.key not in known)
                for outcome in request.advance(until=backlog):
                    yield self._end(outcome, tally)
            for outcome in request.advance(until=0):
                yield self._end(outcome, tally)
        finally:
            request.cancel()
            self.store.prune(keep=frozenset(seen))

    def run(self, work: Work, jobs: Iterable[Job]) -> dict[str, Outcome]:
        """The outcomes of all jobs, by key.

        Raises:
            CampaignError: as `stream`.
        """
        return {outcome.key: outcome for outcome in self.stream(work, list(jobs))}

    def summary(self) -> dict[str, Any]:
        """For a result: jobs that were asked for, how many were in the store, and how many failed, by kind."""
        failed = {kind.value: count for kind, count in self.failures.most_common()}
        return {"jobs": self.ended, "reused": self.reused, "failed": failed, "store": str(self.store.root)}

    def _end(self, outcome: Outcome, tally: Tally) -> Outcome:
        tally.count(outcome)
        self.report(tally)
        self.ended += 1
        self.reused += outcome.reused
        if outcome.status is Status.QUARANTINED and outcome.failure is not None:
            self.failures[outcome.failure] += 1
        if not outcome.reused:
            self._run[outcome.failure] += 1
            self._judge(outcome)
        return outcome

    def _judge(self, last: Outcome) -> None:
        """Give up if significantly more jobs than allowed failed, of those that this session ran."""
        run, limit = self._run.total(), self.patience.failed
        failed = run - self._run[None]
        chance = 2 * math.sqrt(run * limit * (1 - limit))
        if last.failure is None or run < JUDGED or failed <= run * limit + chance:
            return
        kinds = ", ".join(f"{count} {kind}" for kind, count in self._run.most_common() if kind is not None)
        raise CampaignError(
            f"{failed} of {run} jobs failed ({kinds}), more than campaign.patience.failed = {limit:g} allows. The "
            f"last: {last.key[:12]}: {last.failure}, {last.message}. Logs: {self.store.root / 'quarantine'}; to run "
            f"one again: mode-opt store run {self.store.root} {last.key[:12]}"
        )
