"""The process in which a user's function runs: a script of its own, which loads numpy and that function only.

Started by `mode_opt.simulation.isolated.process.IsolatedProcess`. Over one pipe come, as bytes and never pickled: the
settings (JSON); then for each job its folder and the job (`.npz`). Back go ``ready`` and for each job the arrays
(`.npz`) or what went wrong (JSON: ``failure``, the name of a kind, and ``message``).
"""

import atexit
import contextlib
import ctypes
import faulthandler
import io
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

WATCH = 0.5
"""Seconds between looks at whether the parent still lives."""
PR_SET_PDEATHSIG = 1


class Unreadable(Exception):
    """The function returned what is no result."""


def main(descriptor: int, parent: int) -> None:
    """Serve jobs until the parent closes the pipe or dies."""
    os.set_inheritable(descriptor, False)
    connection = Connection(descriptor)
    atexit.register(os.killpg, 0, signal.SIGKILL)  # registered first, so run last: what the function started ends too
    _die_with(parent)
    faulthandler.enable()
    settings = json.loads(connection.recv_bytes())
    _limit_memory(settings["memory_limit"])
    sys.path[:] = [*settings["path"], *sys.path, *(p for p in settings["further"] if p not in sys.path)]
    simulate: Callable[..., object] | None = None
    connection.send_bytes(b"ready")
    with contextlib.suppress(EOFError):
        while True:
            folder, content = connection.recv_bytes().decode(), connection.recv_bytes()
            with _logging(folder):
                try:
                    simulate = simulate or _load(settings["function"], settings["arguments"])
                    answer = _simulated(simulate, content)
                except SystemExit as error:
                    answer = _failure("EXIT", f"the function ended with exit code {error.code}")
                except Unreadable as error:
                    answer = _failure("UNREADABLE", str(error))
                except BaseException as error:
                    traceback.print_exc()
                    answer = _failure("RAISED", traceback.format_exception_only(error)[-1].strip())
            connection.send_bytes(answer)


def _load(function: str, arguments: dict[str, Any]) -> Callable[..., object]:
    """The function with its arguments; an instance, if it is a class."""
    module, _, name = function.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if isinstance(found, type):
        instance: Callable[..., object] = found(**arguments)
        return instance
    return lambda *job: found(*job, **arguments)


def _simulated(simulate: Callable[..., object], content: bytes) -> bytes:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        job = json.loads(archive["job"].tobytes())
        names = [name for name in archive.files if name.startswith("primaries.")]
        primaries = {name.removeprefix("primaries."): archive[name] for name in names}
    random.seed(job["seed"])
    np.random.seed(job["seed"])  # noqa: NPY002  # for functions that use the global generator
    buffer = io.BytesIO()
    np.savez(buffer, **_arrays(simulate(job["design"], primaries, job["events"], job["seed"])))  # type: ignore[arg-type]
    return buffer.getvalue()


def _arrays(answer: object) -> dict[str, np.ndarray]:
    """What the function returned, as arrays; hits with three axes."""
    given = dict(answer) if isinstance(answer, Mapping) else {"hits": answer}
    unknown = [str(name) for name in given if name not in ("hits", "mask", "weight")]
    if unknown or "hits" not in given:
        raise Unreadable(f"the function returned {', '.join(map(str, given))}, expected hits and maybe mask, weight")
    arrays = {name: np.asarray(value) for name, value in given.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise Unreadable(f"{name} of type {type(given[name]).__name__}, expected an array of real numbers")
    hits = arrays["hits"]
    if not 1 <= hits.ndim <= 3:
        raise Unreadable(f"hits of shape {hits.shape}, expected events (x hits (x features))")
    return arrays | {"hits": hits.reshape(hits.shape + (1,) * (3 - hits.ndim))}


def _failure(kind: str, message: str) -> bytes:
    return json.dumps({"failure": kind, "message": message}).encode()


@contextlib.contextmanager
def _logging(folder: str) -> Iterator[None]:
    """Work in a folder, with standard output and error in its log, those of C libraries included."""
    os.chdir(folder)
    _output_to("log.txt")
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        ctypes.CDLL(None).fflush(None)
        _output_to(os.devnull)
        os.chdir(os.sep)  # the folder may be removed now


def _output_to(path: str) -> None:
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(opened, 1)
    os.dup2(opened, 2)
    os.close(opened)


def _limit_memory(limit: int | None) -> None:
    """Of the address space, in bytes."""
    if limit is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _die_with(parent: int) -> None:
    """End when the parent does, however it ends and whatever runs here."""
    with contextlib.suppress(
        AttributeError, OSError
    ):  # Linux: the kernel sees to it, even if the function never yields
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
