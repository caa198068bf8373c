"""Running jobs: what happens on whatever machine a task lands on."""

import errno
import io
import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from mode_opt.campaigns.claims import claim, clear, keep, release
from mode_opt.campaigns.failures import Failure, JobFailure
from mode_opt.campaigns.folders import Folders, write_whole
from mode_opt.campaigns.job import Job, arrays_of
from mode_opt.campaigns.outcome import Outcome, Status
from mode_opt.campaigns.work import Arrays, Work
from mode_opt.errors import ConfigurationError, DataError

WAIT = 0.2
"""Seconds between looks at a job that another session runs."""
FULL = (errno.ENOSPC, errno.EDQUOT)


@final
@dataclass(frozen=True)
class Task:
    """Some jobs of one work, run one after the other: what an executor gets.

    Attributes:
        work: the simulator.
        jobs: at least one.
        root: of the store, which this process and the one that sent the task both see.
    """

    work: Work
    jobs: Sequence[Job]
    root: Path

    def run(self, stopped: Callable[[], bool] = lambda: False) -> list[Outcome]:
        """The outcome of each job, in order; results are in the store. ``stopped`` jobs are not begun."""
        folders = Folders(self.root)
        return [perform(self.work, job, folders) for job in self.jobs if not stopped()]


def perform(work: Work, job: Job, folders: Folders) -> Outcome:
    """One attempt at a job; if another living session runs it, its result is awaited instead.

    Raises:
        ConfigurationError: if the work cannot run here at all.
    """
    while (outcome := attempted(work, job, folders)) is None:
        time.sleep(WAIT)
    return outcome


def attempted(work: Work, job: Job, folders: Folders) -> Outcome | None:
    """One attempt at a job; None if another living session runs it.

    A result appears at once and whole, or not at all; a failure leaves its log in ``quarantine/``.

    Raises:
        ConfigurationError: a mistake in the configuration is no failure of the job.
    """
    folder, start = folders.running(job.key), time.monotonic()
    try:
        if not claim(folder):
            return existing(folders, job.key)
    except OSError as error:
        return _outcome(job, _failure(error), 0.0)
    try:
        return existing(folders, job.key) or _simulated(work, job, folders)
    except ConfigurationError:
        raise
    except Exception as error:  # a mistake in a Work must not lose the other jobs of the task
        outcome = _outcome(job, _failure(error), time.monotonic() - start)
        _leave_behind(job, outcome, folders)
        return outcome
    except BaseException:  # Ctrl-C: nobody looks after the program any longer
        clear([folder])
        raise
    finally:
        release(folder)


def existing(folders: Folders, key: str) -> Outcome | None:
    """The outcome of a job whose result is already there; a damaged file is removed."""
    path = folders.result(key)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    try:
        seconds = float(_members(content, str(path))["seconds"])
    except DataError:
        path.unlink(missing_ok=True)
        return None
    return Outcome(key, Status.DONE, seconds=seconds, bytes=len(content), reused=True)


def checked(arrays: Arrays, job: Job) -> dict[str, np.ndarray]:
    """The result of a job in the store's types, with mask and weight; padding is zero.

    Raises:
        JobFailure: for a wrong number of events or of dimensions, no hits, or numbers that are not finite.
    """
    if "hits" not in arrays:
        raise JobFailure(Failure.UNREADABLE, f"no hits among {', '.join(arrays) or 'nothing'}")
    with np.errstate(over="ignore"):  # what is too large for the store is infinite, and found below
        hits = np.asarray(arrays["hits"], dtype=np.float32)
        weight = np.asarray(arrays.get("weight", np.ones(hits.shape[:1])), dtype=np.float32)
    if hits.ndim != 3:
        raise JobFailure(Failure.UNREADABLE, f"hits of shape {hits.shape}, expected events x hits x features")
    if len(hits) != job.events:
        raise JobFailure(Failure.COUNT, f"{len(hits)} events came back, expected {job.events}")
    mask = np.asarray(arrays.get("mask", np.ones(hits.shape[:2])), dtype=np.bool_)
    for name, array, shape in (("mask", mask, hits.shape[:2]), ("weight", weight, hits.shape[:1])):
        if array.shape != shape:
            raise JobFailure(Failure.UNREADABLE, f"{name} of shape {array.shape}, expected {shape}")
    hits = np.where(mask[..., None], hits, np.float32(0))
    bad = ~(np.isfinite(hits).all((1, 2)) & np.isfinite(weight))
    if bad.any():
        raise JobFailure(Failure.NOT_FINITE, f"{bad.sum()} of {job.events} events hold NaN or infinity")
    return {"hits": hits, "mask": mask, "weight": weight}


def read_result(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a result file: ``hits``, ``mask``, ``weight``, ``seconds`` and those of `Job.pack`.

    Raises:
        DataError: if it is damaged or missing.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return _members(content, str(path))


def failed_as(kept: Path, key: str) -> Outcome:
    """The outcome of a job in quarantine, from what it left behind."""
    try:
        fields = json.loads((kept / "failure.json").read_text())
        failure, message = Failure(fields["failure"]), str(fields["message"])
        return Outcome(key, Status.QUARANTINED, failure, message, float(fields["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Outcome(key, Status.QUARANTINED, Failure.LOST, "nothing is known of how it failed")


def _members(content: bytes, name: str) -> dict[str, np.ndarray]:
    arrays = arrays_of(io.BytesIO(content), name)
    if not {"hits", "mask", "weight", "job", "seconds"} <= set(arrays) or arrays["seconds"].shape != ():
        raise DataError(f"{name}: not a result of a campaign (it holds {', '.join(arrays)})")
    return arrays


def _simulated(work: Work, job: Job, folders: Folders) -> Outcome:
    """The job is run, and its result written."""
    start = time.monotonic()
    arrays = checked(work.run(job, folders.running(job.key)), job)
    seconds = time.monotonic() - start
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **job.pack(), seconds=np.float64(seconds))  # type: ignore[arg-type]
    write_whole(folders.result(job.key), buffer.getvalue())
    shutil.rmtree(folders.quarantine(job.key), ignore_errors=True)
    return Outcome(job.key, Status.DONE, seconds=seconds, bytes=buffer.tell())


def _failure(error: Exception) -> JobFailure:
    if isinstance(error, JobFailure):
        return error
    if isinstance(error, OSError) and error.errno in FULL:
        return JobFailure(Failure.DISK, str(error))
    return JobFailure(Failure.RAISED, f"{type(error).__name__}: {error}")


def _outcome(job: Job, failure: JobFailure, seconds: float) -> Outcome:
    return Outcome(job.key, Status.FAILED, failure.kind, failure.message, seconds)


def _leave_behind(job: Job, outcome: Outcome, folders: Folders) -> None:
    """Keep what the attempt left, with the job and what went wrong, in place of what an earlier one left."""
    folder = folders.running(job.key)
    if outcome.failure is None or outcome.failure is Failure.DISK:  # there is no place to keep it
        return
    with suppress(OSError):  # should the disk be full by now, the message still gets home
        (folder / "job.npz").write_bytes(job.to_bytes())
        fields = {"failure": outcome.failure.value, "message": outcome.message, "seconds": outcome.seconds}
        (folder / "failure.json").write_text(json.dumps(fields | {"work": job.work}))
        keep(folder, folders.quarantine(job.key))
