"""Running the jobs of a drop folder: what ``mode-opt store work`` does on a grid."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from mode_opt.campaigns.claims import clean
from mode_opt.campaigns.failures import CampaignError, Failure
from mode_opt.campaigns.folders import Folders, write_whole
from mode_opt.campaigns.job import Job
from mode_opt.campaigns.outcome import Outcome, Status
from mode_opt.campaigns.performing import attempted
from mode_opt.campaigns.work import Work
from mode_opt.errors import ConfigurationError, DataError


@final
@dataclass
class Worked:
    """What a worker did.

    Attributes:
        done: jobs with a result.
        failed: jobs that were given up.
        left: job files that were neither, because others run them or the worker's time was over.
    """

    done: int = 0
    failed: int = 0
    left: int = 0


def work_off(
    folder: str | Path,
    results: str | Path | None = None,
    jobs: int | None = None,
    seconds: float | None = None,
    attempts: int = 3,
) -> Worked:
    """Run the jobs of a drop folder, one after the other, until none is left that nobody else runs.

    Several workers may share a folder, also on several machines; one that is killed loses only the job it was at.
    Classes of `Work` that the jobs need must be imported before.

    Args:
        folder: of jobs, as `FileDrop` writes it.
        results: where ``results/``, ``quarantine/`` and ``running/`` are; None: in the same folder.
        jobs: that are run at most.
        seconds: after which no further job is begun.
        attempts: of each job before it is given up.

    Raises:
        ConfigurationError: for no attempts at all; for a simulator that cannot be built here.
        DataError: for a file that is not a job, or whose simulator is not described in the folder.
        CampaignError: if the disk is full.
    """
    if attempts < 1:
        raise ConfigurationError("attempts", attempts, "at least 1")
    drop, end = Folders(Path(folder).absolute()), None if seconds is None else time.monotonic() + seconds
    place = drop if results is None else Folders(Path(results).absolute())
    place.make()
    clean(place.root / "running")
    works: dict[str, Work] = {}
    worked = Worked()
    for path in _shuffled(drop):
        if (jobs is not None and worked.done + worked.failed >= jobs) or (end is not None and time.monotonic() >= end):
            break
        job = _job(path)
        if job is None:
            continue
        if job.work not in works:
            works[job.work] = drop.registered(job.work)
        outcome = _worked(works[job.work], job, place, attempts)
        if outcome is not None:
            path.unlink(missing_ok=True)
            worked.done += outcome.status is Status.DONE
            worked.failed += outcome.status is not Status.DONE
    worked.left = sum(1 for _ in (drop.root / "jobs").glob("*.npz"))
    return worked


def _shuffled(drop: Folders) -> Iterator[Path]:
    """Job files that are there now, in an order of this worker's own, so that workers rarely meet."""
    paths = sorted((drop.root / "jobs").glob("*.npz"))
    random.SystemRandom().shuffle(paths)
    yield from paths


def _job(path: Path) -> Job | None:
    """None if another worker has just finished it."""
    try:
        job = Job.from_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    if job.key != path.stem:
        raise DataError(f"{path}: holds job {job.key[:12]}")
    return job


def _worked(work: Work, job: Job, place: Folders, attempts: int) -> Outcome | None:
    """How the job ended; None if another worker is at it."""
    for _ in range(attempts):
        outcome = attempted(work, job, place)
        if outcome is None or outcome.failure is None:
            return outcome
        if outcome.failure is Failure.DISK:
            raise CampaignError(f"no space left for results in {place.root} ({outcome.message}); make room, go on")
        if not outcome.failure.retried:
            break
    write_whole(place.given_up(job.key), b"")
    return outcome
