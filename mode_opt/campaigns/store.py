"""Results of simulator runs: plain files, and an index in SQLite that can be rebuilt from them."""

import itertools
import json
import math
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from mode_opt.campaigns.claims import clean
from mode_opt.campaigns.failures import CampaignError, Failure
from mode_opt.campaigns.folders import Folders, hexadecimal
from mode_opt.campaigns.job import Job
from mode_opt.campaigns.outcome import Outcome, Status
from mode_opt.campaigns.performing import existing, read_result
from mode_opt.campaigns.work import Work
from mode_opt.errors import ConfigurationError, DataError

VERSION = 1
SCHEMA = """
create table if not exists jobs (
    key text primary key, work text not null, status text not null, failure text, message text,
    events integer not null, seed integer not null, design text not null,
    seconds real not null, bytes integer not null, attempts integer not null, used real not null
) without rowid;
create index if not exists jobs_by_work on jobs (work, status);
create index if not exists jobs_by_use on jobs (used, key);
"""
CHUNK = 500
"""Keys of one query."""


@final
@dataclass(frozen=True)
class Entry:
    """A row of the index.

    Attributes:
        job: key, work, events and seed; design values in field units.
        outcome: how it ended.
        used: when it was last asked for, seconds since 1970.
    """

    key: str
    work: str
    design: Mapping[str, Any]
    events: int
    seed: int
    outcome: Outcome
    used: float


@final
class Store:
    """The results of all jobs, each of which is run once.

    ``results/ab/abcd….npz`` holds the events of one job, ``works/`` the descriptions of simulators, ``quarantine/``
    the logs of jobs that failed; ``index.sqlite`` knows all of them. A result file appears at once and whole, and is
    the truth: the index is rebuilt from the files by `rebuild`. Several processes may share a store.

    Args:
        root: folder; created if missing.
        limit: bytes of results above which `prune` removes those not used for longest; None: no limit.

    Raises:
        ConfigurationError: if the folder cannot be written, or was made by a later version.
    """

    def __init__(self, root: str | Path, limit: int | None = None) -> None:
        self.folders, self.limit = Folders(Path(root).absolute()), limit
        try:
            self.folders.make()
        except OSError as error:
            expected = f"a folder that can be written ({error.strerror})"
            raise ConfigurationError("campaign.store", str(root), expected) from error
        if limit is not None and limit <= 0:
            raise ConfigurationError("campaign.limit", limit, "a positive number of bytes, or null")
        try:
            self._open()
        except sqlite3.OperationalError as error:  # locked for a minute, or not allowed
            raise ConfigurationError("campaign.store", str(root), f"a store that opens ({error})") from error
        except sqlite3.DatabaseError:
            self.rebuild()

    def _open(self) -> None:
        with self._connection() as connection:
            (version,) = connection.execute("pragma user_version").fetchone()
            if version > VERSION:
                raise ConfigurationError("campaign.store", str(self.root), f"version {VERSION}, not {version}")
            if version == 0:
                connection.executescript(f"{SCHEMA}; pragma user_version = {VERSION}")

    @property
    def root(self) -> Path:
        """The folder."""
        return self.folders.root

    def clean(self) -> int:
        """Remove what killed sessions left half done, and kill what still runs for them; returns how many jobs."""
        return clean(self.root / "running")

    def register(self, work: Work) -> None:
        """Keep the description of a simulator, so that its jobs can be run again from the store alone."""
        self.folders.register(work)

    def work(self, digest: str) -> Work:
        """The simulator of this digest.

        Raises:
            DataError: if the store has no description of it, or one that was changed.
            ConfigurationError: as `work_of`.
        """
        return self.folders.registered(digest)

    def known(self, jobs: Sequence[Job]) -> dict[str, Outcome]:
        """Jobs that have ended before, by key; results that the index lost are found and entered again."""
        found: dict[str, Outcome] = {}
        with self._connection() as connection:
            for start in range(0, len(jobs), CHUNK):
                keys = [job.key for job in jobs[start : start + CHUNK]]
                rows = connection.execute(f"select * from jobs where key in ({_marks(keys)})", keys).fetchall()
                ended = {row["key"]: _outcome(row) for row in rows}
                found |= {key: o for key, o in ended.items() if (o.status is Status.DONE) == self._has(key)}
        lost = [job for job in jobs if job.key not in found and self._has(job.key)]
        adopted = [(job, outcome) for job in lost if (outcome := existing(self.folders, job.key)) is not None]
        self.touch(list(found))
        self.record(adopted)
        return found | {job.key: outcome for job, outcome in adopted}

    def record(self, ended: Iterable[tuple[Job, Outcome]]) -> None:
        """Enter jobs that have ended."""
        rows = [_row(job, outcome) for job, outcome in ended]
        if rows:
            self._write(f"insert or replace into jobs values ({_marks(rows[0])})", rows)

    def touch(self, keys: Sequence[str]) -> None:
        """These results are used now."""
        if keys:
            self._write("update jobs set used = ? where key = ?", [(time.time(), key) for key in keys])

    def forget(self, keys: Sequence[str]) -> None:
        """Remove jobs, their results and logs: they will be run again if they are asked for."""
        for key in map(hexadecimal, keys):
            self.folders.result(key).unlink(missing_ok=True)
            shutil.rmtree(self.folders.quarantine(key), ignore_errors=True)
        self._write("delete from jobs where key = ?", [(key,) for key in keys])

    def read(self, key: str) -> dict[str, np.ndarray]:
        """The result of a job: ``hits``, ``mask``, ``weight``, ``seconds`` and the arrays of `Job.pack`.

        Raises:
            DataError: if there is none or it is damaged.
        """
        return read_result(self.folders.result(key))

    def entries(self, work: str = "", status: Status | None = None, key: str = "") -> Iterator[Entry]:
        """Rows of the index, one at a time, those used last first.

        Args:
            work: digest of a simulator, or its beginning.
            status: only jobs that ended so.
            key: of a job, or its beginning.
        """
        query = """select * from jobs where work glob ? and key glob ? and status glob ? and (used, key) < (?, ?)
                   order by used desc, key desc limit ?"""
        chosen = f"{hexadecimal(work)}*", f"{hexadecimal(key)}*", status or "*"
        last: tuple[float, str] = (math.inf, "")
        while True:  # a page at a time, so that a slow reader keeps nobody from writing
            with self._connection() as connection:
                rows = connection.execute(query, (*chosen, *last, CHUNK)).fetchall()
            for row in rows:
                fields = json.loads(row["design"]), row["events"], row["seed"]
                yield Entry(row["key"], row["work"], *fields, _outcome(row), row["used"])
            if len(rows) < CHUNK:
                return
            last = rows[-1]["used"], rows[-1]["key"]

    def totals(self) -> list[dict[str, Any]]:
        """Jobs, events, seconds and bytes of each work, status and failure."""
        query = """select work, status, failure, count(*) as jobs, sum(events) as events, sum(seconds) as seconds,
                   sum(bytes) as bytes from jobs group by work, status, failure order by work, status, failure"""
        with self._connection() as connection:
            return [dict(row) for row in connection.execute(query)]

    def prune(self, limit: int | None = None, keep: frozenset[str] = frozenset()) -> int:
        """Remove results not used for longest until the others take at most ``limit`` bytes; returns how many.

        Args:
            limit: bytes; None: that of the store, nothing is removed if it has none.
            keep: keys that stay, whatever their age.
        """
        most = self.limit if limit is None else limit
        if most is None:
            return 0
        with self._connection() as connection:
            (total,) = connection.execute("select coalesce(sum(bytes), 0) from jobs").fetchone()
            oldest = "select key, bytes from jobs where status = 'done' order by used, key"
            victims: list[str] = []
            for row in connection.execute(oldest):
                if total <= most:
                    break
                if row["key"] not in keep:
                    victims.append(row["key"])
                    total -= row["bytes"]
        self.forget(victims)
        return len(victims)

    def rebuild(self) -> tuple[int, int]:
        """Make the index anew from the files; returns results found, and damaged files removed.

        An index too damaged to be read is moved aside; jobs in quarantine are then tried again when asked for.
        """
        try:
            self._write("delete from jobs where status = ?", [(Status.DONE.value,)])
        except sqlite3.DatabaseError:
            (self.root / "index.sqlite").replace(self.root / "index.damaged")
            self._open()
        found = damaged = 0
        paths = iter(sorted((self.root / "results").glob("??/*.npz")))
        while chunk := list(itertools.islice(paths, CHUNK)):
            entered = [pair for path in chunk if (pair := _adopted(path)) is not None]
            self.record(entered)
            found, damaged = found + len(entered), damaged + len(chunk) - len(entered)
        return found, damaged

    def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """In one transaction, which waits for those of other processes."""
        try:
            with self._connection() as connection:
                connection.execute("begin immediate")
                connection.executemany(statement, rows)
                connection.execute("commit")
        except sqlite3.OperationalError as error:
            words = f"the index of {self.root} cannot be written ({error}); nothing is lost: mend that and resume"
            raise CampaignError(words) from error

    def _has(self, key: str) -> bool:
        return self.folders.result(key).exists()

    def _connection(self) -> "closing[sqlite3.Connection]":
        # Losing the index to a power cut costs a rebuild, not data: no waiting for the disk at each transaction.
        connection = sqlite3.connect(self.root / "index.sqlite", timeout=60.0, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute("pragma synchronous = off")
        return closing(connection)


def _marks(items: Sequence[object]) -> str:
    return ",".join("?" * len(items))


def _adopted(path: Path) -> tuple[Job, Outcome] | None:
    """The job of a result file and its outcome; None, and the file is removed, if it is damaged or another's."""
    size = path.stat().st_size
    try:
        arrays = read_result(path)
        job = Job.unpack(arrays)
        if job.key == path.stem:
            return job, Outcome(job.key, Status.DONE, seconds=float(arrays["seconds"]), bytes=size)
    except DataError as error:
        if isinstance(error.__cause__, OSError) and not path.exists():
            return None
        if isinstance(error.__cause__, OSError):  # it cannot be read now, which does not make it damaged
            raise
    path.unlink(missing_ok=True)
    return None


def _row(job: Job, outcome: Outcome) -> tuple[Any, ...]:
    failure = None if outcome.failure is None else outcome.failure.value
    design = json.dumps(dict(job.design), sort_keys=True)
    ending = (outcome.status.value, failure, outcome.message)
    return (
        job.key,
        job.work,
        *ending,
        job.events,
        job.seed,
        design,
        outcome.seconds,
        outcome.bytes,
        outcome.attempts,
        time.time(),
    )


def _outcome(row: sqlite3.Row) -> Outcome:
    failure = None if row["failure"] is None else Failure(row["failure"])
    ending = Status(row["status"]), failure, row["message"] or ""
    return Outcome(row["key"], *ending, row["seconds"], row["bytes"], row["attempts"], reused=True)
