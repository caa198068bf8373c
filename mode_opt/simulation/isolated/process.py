"""The parent's side of an isolated process."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import final

from mode_opt.campaigns import Failure, JobFailure, note_child

SCRIPT = Path(__file__).with_name("child.py")
START = 120.0
"""Seconds within which a child must be ready, before any code of the user is loaded."""
LOOK = 0.5
"""Seconds between looks at whether a child that says nothing still lives."""
GRACE = 2.0
"""Seconds that a child has to leave by itself."""
HELD = 4
"""Children of different works that a thread keeps."""


@final
class IsolatedProcess:
    """A Python process that simulates jobs of one work, and that may do what it likes.

    Leads a session of its own, and ends with the thread that started it.

    Args:
        settings: for ``child.py``.
        folder: of the job for which it is started; what it says while it starts goes to the log there.

    Raises:
        JobFailure: if it does not start.
    """

    def __init__(self, settings: bytes, folder: Path) -> None:
        self._connection, theirs = Pipe()
        command = [sys.executable, "-P", str(SCRIPT), str(theirs.fileno()), str(os.getpid())]
        with theirs, (folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                cwd=folder,
                env={"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | os.environ,
                start_new_session=True,
            )
        self.close = weakref.finalize(self, _end, self._process, self._connection, os.getpid())
        self.jobs = 0
        self._owner = os.getpid()
        note_child(folder, self._process.pid)
        self._exchange([settings], START)

    @property
    def usable(self) -> bool:
        """Whether it waits for a job: not if it has ended, and not in a copy of this process made by a fork."""
        return self.close.alive and self._owner == os.getpid() and self._process.poll() is None

    def simulate(self, job: bytes, folder: Path, limit: float | None) -> bytes:
        """The arrays of a job as `.npz`.

        After a failure the process has ended, because nobody knows in what state it was left.

        Raises:
            JobFailure: whatever went wrong.
        """
        if self.jobs:
            note_child(folder, self._process.pid)
        self.jobs += 1
        answer = self._exchange([str(folder.absolute()).encode(), job], limit)
        if not answer.startswith(b"{"):
            return answer
        self.close()
        try:
            fields = json.loads(answer)
            kind, message = Failure[fields["failure"]], str(fields["message"])
        except (ValueError, KeyError, TypeError):
            kind, message = Failure.UNREADABLE, "an answer that is neither arrays nor an error"
        raise JobFailure(kind, message)

    def _exchange(self, messages: list[bytes], limit: float | None) -> bytes:
        try:
            for message in messages:
                self._connection.send_bytes(message)
            self._await(limit)
            return self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise self._death() from error

    def _await(self, limit: float | None) -> None:
        """Until it answers; a program that it started may hold the pipe open after its own end."""
        end = None if limit is None else time.monotonic() + limit
        while not self._connection.poll(LOOK if end is None else max(0.0, min(LOOK, end - time.monotonic()))):
            if self._process.poll() is not None and not self._connection.poll():
                raise EOFError
            if end is not None and time.monotonic() >= end:
                self._kill()
                raise JobFailure(Failure.HANG, f"no answer after {limit:g} s")

    def _death(self) -> JobFailure:
        """How it ended."""
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:  # alive, but it closed its pipe
            self._kill()
            return JobFailure(Failure.UNREADABLE, "the process closed its pipe without an answer")
        self._kill()
        if code < 0:
            return JobFailure(Failure.CRASH, f"ended by signal {_signal_name(-code)}")
        return JobFailure(Failure.EXIT, f"the process ended with exit code {code}")

    def _kill(self) -> None:
        _kill_group(self._process)
        self.close()


def held(settings: bytes, folder: Path, jobs: int) -> IsolatedProcess:
    """The process of this thread for these settings, a fresh one if there is none or if it has done so many jobs."""
    mine: dict[bytes, IsolatedProcess] = _HELD.__dict__.setdefault("processes", {})
    process = mine.pop(settings, None)
    if process is not None and not (process.usable and process.jobs < jobs):
        process.close()
        process = None
    while len(mine) >= HELD:
        mine.pop(next(iter(mine))).close()
    mine[settings] = process or IsolatedProcess(settings, folder)
    return mine[settings]


def release() -> None:
    """End the processes of this thread."""
    for process in _HELD.__dict__.pop("processes", {}).values():
        process.close()


_HELD = threading.local()
"""Of each thread, so that no two threads talk to the same process, and their processes end with them."""


def _end(process: "subprocess.Popen[bytes]", connection: Connection, owner: int) -> None:
    """Let it go, or make it."""
    connection.close()
    if owner != os.getpid():
        return
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        _kill_group(process)
        process.wait()


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """With all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _signal_name(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)
