"""Job list out, results in: for sites where nothing of ours may keep running."""

import math
import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import final

from mode_opt.campaigns.executors.base import Executor
from mode_opt.campaigns.failures import CampaignError
from mode_opt.campaigns.folders import Folders, write_whole
from mode_opt.campaigns.job import Job
from mode_opt.campaigns.outcome import Outcome
from mode_opt.campaigns.performing import Task, existing, failed_as, read_result
from mode_opt.errors import DataError


@final
class FileDrop(Executor):
    """Writes jobs into a folder, and takes results that somebody else put there.

    The folder is laid out as a store: ``works/`` describes the simulators, ``jobs/`` holds one file for each job.
    ``mode-opt store work FOLDER`` runs them, wherever the folder (or a copy) is, as often at a time as one likes. What
    comes back to ``results/`` and ``quarantine/`` moves to the store of the campaign. Nothing in it is a pickle.

    Args:
        folder: of jobs and results; created if missing.
        wait: for all results; otherwise the first request whose results are not all there ends the session once its
            jobs are written, and the next session goes on from there.
    """

    def __init__(self, folder: str | Path, wait: bool = True) -> None:
        self.folders, self.wait = Folders(Path(folder).absolute()), wait
        self._awaited: dict[str, list[_Handed]] = {}

    @property
    def capacity(self) -> int:
        return 1

    @property
    def task_seconds(self) -> float:
        return 0.0

    @property
    def ahead(self) -> float:
        return math.inf

    def submit(self, task: Task) -> "Future[list[Outcome]]":
        self.folders.make()
        self.folders.register(task.work)
        handed = _Handed(task)
        for job in task.jobs:
            self._awaited.setdefault(job.key, []).append(handed)
            if not self._ended(job.key) and not self.folders.handed_out(job.key).exists():
                write_whole(self.folders.handed_out(job.key), job.to_bytes())
        return handed.future

    def poll(self) -> None:
        ended = [key for key in self._keys() if self._taken(key)]
        waiting = ((key, [each for each in handed if not each.future.done()]) for key, handed in self._awaited.items())
        self._awaited = {key: handed for key, handed in waiting if handed}
        if not ended and self._awaited and not self.wait:
            raise CampaignError(
                f"{len(self._awaited)} jobs wait in {self.folders.root / 'jobs'}: run `mode-opt store work "
                f"{self.folders.root}` where they may run, several times at once if you like, bring results/ and "
                f"quarantine/ back if that is another place, then run the same again"
            )

    def close(self, wait: bool = True) -> None:
        self._awaited.clear()

    def _keys(self) -> list[str]:
        """Jobs that have ended, of those awaited."""
        found = [path.stem for path in (self.folders.root / "results").glob("??/*.npz")]
        found += [path.parent.name for path in (self.folders.root / "quarantine").glob("*/given_up")]
        return [key for key in found if key in self._awaited]

    def _ended(self, key: str) -> bool:
        return self.folders.result(key).exists() or self.folders.given_up(key).exists()

    def _taken(self, key: str) -> bool:
        """Move what came for a job to the store; whether it was whole."""
        handed = self._awaited[key][0]
        outcome = _brought(handed.jobs[key], self.folders, Folders(handed.task.root))
        if outcome is None:  # still being copied
            return False
        self.folders.handed_out(key).unlink(missing_ok=True)
        for each in self._awaited.pop(key):
            each.note(outcome)
        return True


class _Handed:
    """A task, and the outcomes of its jobs that are known."""

    def __init__(self, task: Task) -> None:
        self.task, self.jobs = task, {job.key: job for job in task.jobs}
        self.future: Future[list[Outcome]] = Future()
        self._outcomes: dict[str, Outcome] = {}

    def note(self, outcome: Outcome) -> None:
        self._outcomes[outcome.key] = outcome
        if len(self._outcomes) == len(self.jobs) and self.future.set_running_or_notify_cancel():
            self.future.set_result([self._outcomes[job.key] for job in self.task.jobs])


def _brought(job: Job, drop: Folders, store: Folders) -> Outcome | None:
    source, target = drop.result(job.key), store.result(job.key)
    if source.exists():
        try:
            if Job.unpack(read_result(source)).key != job.key:
                raise DataError(f"{source}: holds the result of another job")
        except DataError:
            return None
        write_whole(target, source.read_bytes())
        source.unlink()
        shutil.rmtree(drop.quarantine(job.key), ignore_errors=True)
        return existing(store, job.key)
    kept = store.quarantine(job.key)
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(drop.quarantine(job.key), kept)
    outcome = failed_as(kept, job.key)
    shutil.rmtree(drop.quarantine(job.key), ignore_errors=True)
    return outcome
