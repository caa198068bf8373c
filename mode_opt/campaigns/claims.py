"""Who runs a job: each is run by one process at a time, also if several sessions on several machines share a store."""

import errno
import fcntl
import itertools
import json
import math
import os
import shutil
import signal
import socket
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

OWNER, CHILD = ".owner.json", ".child.json"
SPARE = "spare-"
BEAT = 20.0
"""Seconds between the signs of life of a process for the folders that it has claimed."""
SILENT = 180.0
"""Seconds without a sign of life after which a process on another machine counts as dead."""

_spare: defaultdict[tuple[Path, int], list[Path]] = defaultdict(list)
_claimed: dict[Path, float] = {}
_TICKS = os.sysconf("SC_CLK_TCK") if Path("/proc/self/stat").exists() else None
_heart: list[threading.Thread] = []


def claim(folder: Path) -> bool:
    """Take a running folder for this process: True if it is ours now, False if somebody alive has it.

    A folder whose owner has died is cleared and taken. The folder is made elsewhere, with its owner in it, and moved
    to its place, which only one process can do.
    """
    prepared = _prepared(folder.parent)
    if _moved(prepared, folder) or (_taken_from_the_dead(folder) and _moved(prepared, folder)):
        _claimed[folder] = time.monotonic()
        _beat()
        return True
    _spare[folder.parent, os.getpid()].append(prepared)
    return False


def release(folder: Path) -> None:
    """Give a claimed folder back, and remove what is in it.

    It is used again for the next job: to remove a folder takes some file systems as long as a short simulation.
    """
    since = _claimed.pop(folder, None)
    if since is None:  # in quarantine
        return
    if time.monotonic() - since > SILENT / 2 and _read(folder / OWNER) != _own(os.getpid()):
        return  # this machine slept, and another has taken the folder
    spare = folder.with_name(f"{SPARE}{uuid.uuid4().hex}")
    try:
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            elif entry.name != OWNER:
                Path(entry.path).unlink()
        folder.rename(spare)
        _spare[folder.parent, os.getpid()].append(spare)
    except OSError:  # something still writes there
        shutil.rmtree(folder, ignore_errors=True)


def keep(folder: Path, place: Path) -> None:
    """Move a claimed folder to another place, in place of what is there, with all that is in it."""
    _claimed.pop(folder, None)
    for name in (OWNER, CHILD):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    folder.rename(place)


def note_child(folder: Path, pid: int) -> None:
    """Remember the program that runs for this folder, whose process group dies with it if the session is killed."""
    (folder / CHILD).write_text(json.dumps(_identity(pid, _now())))


def clean(running: Path) -> int:
    """Clear the folders of dead processes; returns how many jobs these were running."""
    dead = [folder for folder in running.iterdir() if folder.is_dir() and not alive(folder)]
    if dead:
        with _lock(running):
            dead = [folder for folder in dead if folder.exists() and not alive(folder)]
            clear(dead)
    return sum(not folder.name.startswith(SPARE) for folder in dead)


def alive(folder: Path) -> bool:
    """Whether the process that took this folder still runs, as far as can be known from here."""
    owner = _read(folder / OWNER)
    if owner is None:  # being made, or being removed
        with suppress(OSError):
            return _clock(folder.parent) - folder.stat().st_mtime < 10.0
        return False
    if owner["host"] == socket.gethostname():
        return _runs(owner)
    with suppress(OSError):
        return _clock(folder.parent) - (folder / OWNER).stat().st_mtime < SILENT
    return False


def clear(folders: Iterable[Path]) -> None:
    """Kill what runs in folders, whoever owns them, and remove them."""
    listed = list(folders)
    stop(listed)
    for folder in listed:
        shutil.rmtree(folder, ignore_errors=True)


def stop(folders: Iterable[Path]) -> None:
    """Kill the programs that run for folders, and wait until they are gone.

    Their process groups are known from `note_child`; a session that was killed before it could take that note, and
    programs that left the group, are found by the folder they work in. What has a terminal is a person's.
    """
    listed = [folder.resolve() for folder in folders]
    victims = [process for folder in listed if (process := _child(folder)) is not None]
    for process in victims:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    for process in _working_in(listed):
        victims.append(process)
        with suppress(psutil.Error):
            process.kill()
    deadline = time.monotonic() + 2.0
    while any(_there(process) for process in victims) and time.monotonic() < deadline:
        time.sleep(0.005)


def _prepared(running: Path) -> Path:
    """A folder with nothing in it but its owner, this process."""
    with suppress(IndexError):
        while True:
            spare = _spare[running, os.getpid()].pop()
            if spare.exists():
                return spare
    folder = running / f"{SPARE}{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    (folder / OWNER).write_text(json.dumps(_own(os.getpid())))
    return folder


def _moved(prepared: Path, folder: Path) -> bool:
    try:
        prepared.rename(folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _taken_from_the_dead(folder: Path) -> bool:
    """Clear a folder whose owner is dead; one process at a time, so that none clears what another has just taken."""
    if alive(folder):
        return False
    with _lock(folder.parent):
        if alive(folder):
            return False
        clear([folder])
    return True


@contextmanager
def _lock(running: Path) -> Iterator[None]:
    with (running / ".lock").open("w") as file:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _clock(running: Path) -> float:
    """The file server's time, which times of files are to be compared with."""
    file = running / ".clock"
    file.touch()
    return file.stat().st_mtime


def _beat() -> None:
    """See to it that a thread of this process shows that it lives."""
    if not _heart or not _heart[0].is_alive():
        _heart[:] = [threading.Thread(target=_beats, name="mode_opt claims", daemon=True)]
        _heart[0].start()


def _beats() -> None:
    while True:
        time.sleep(BEAT)
        for folder in [*list(_claimed), *itertools.chain(*list(_spare.values()))]:
            with suppress(OSError):
                os.utime(folder / OWNER)


def _identity(pid: int, started: float) -> dict[str, Any]:
    return {"host": socket.gethostname(), "boot": _boot(), "pid": pid, "started": started}


@lru_cache(maxsize=1)
def _own(pid: int) -> dict[str, Any]:
    return _identity(pid, _started(pid))


@lru_cache(maxsize=1)
def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{psutil.boot_time():.0f}"


def _started(pid: int) -> float:
    """When a process started: seconds since boot, or since 1970 where these cannot be had.

    The latter change with the clock of the machine, which a virtual one may set at any time.
    """
    if _TICKS is not None:
        with suppress(OSError, ValueError, IndexError):
            return float(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) / _TICKS
        return math.inf
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return math.inf


def _now() -> float:
    return time.time() if _TICKS is None else time.clock_gettime(time.CLOCK_BOOTTIME)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
        return content if {"host", "pid", "started"} <= set(content) else None
    except (OSError, ValueError, TypeError):
        return None


def _runs(identity: dict[str, Any]) -> bool:
    """Whether this very process runs: one that was given the same number later has started later."""
    try:
        pid = int(identity["pid"])
        same = identity["boot"] == _boot() and _started(pid) <= float(identity["started"]) + 0.05
        return same and _there(psutil.Process(pid))
    except (psutil.Error, KeyError, ValueError, TypeError):
        return False


def _there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _child(folder: Path) -> psutil.Process | None:
    """The program noted for a folder, if it runs here."""
    child = _read(folder / CHILD)
    if child is None or child["host"] != socket.gethostname() or not _runs(child):
        return None
    with suppress(psutil.Error):
        return psutil.Process(int(child["pid"]))
    return None


def _working_in(folders: list[Path]) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            here = Path(process.cwd())
            if any(here.is_relative_to(folder) for folder in folders) and process.terminal() is None:
                yield process
