"""One run of a program: started, watched, ended with all that it started, and judged by how it ended."""

import math
import os
import re
import select
import shlex
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from mode_opt.campaigns import Failure, JobFailure, note_child
from mode_opt.errors import ConfigurationError

LOG, STANDARD_OUTPUT, COMMAND = "log.txt", "stdout.txt", "command.txt"
RESERVED = (LOG, STANDARD_OUTPUT, COMMAND, ".owner.json", ".child.json", "job.npz", "failure.json")
"""Names in a run's folder that belong to the campaign."""
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


@final
@dataclass(frozen=True)
class Limits:
    """What a run may take.

    Attributes:
        seconds: or None.
        memory: bytes of address space, or None.
        success: exit codes of a run that went well; the negative of a signal's number for a death by it.

    Raises:
        ConfigurationError: for what cannot be a limit, and for one on memory where the system has none.
    """

    seconds: float | None = None
    memory: int | None = None
    success: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        number = self.seconds is None or (isinstance(self.seconds, int | float) and 0 < self.seconds < math.inf)
        if not number:
            raise ConfigurationError("program.time_limit", self.seconds, "seconds, more than 0, or null")
        codes = isinstance(self.success, tuple) and all(isinstance(code, int) for code in self.success)
        if not codes or not self.success:
            raise ConfigurationError("program.success", self.success, "a list of exit codes")
        if self.memory is not None and _prlimit() is None:
            raise ConfigurationError("program.memory_limit", self.memory, "null: only Linux can limit a program here")


def bytes_of(text: str | None) -> int | None:
    """What ``2 GB`` or ``512 MiB`` means.

    Raises:
        ConfigurationError: if it is not of this form.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([A-Za-z]+)\s*", text) if isinstance(text, str) else None
    size = float(match[1]) * _BYTES.get(match[2], 0) if match else 0
    if size < 1:
        raise ConfigurationError("program.memory_limit", text, f"a size such as '2 GB'; units: {', '.join(_BYTES)}")
    return int(size)


def run_program(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], printed: bool, limits: Limits
) -> None:
    """Run a program until it ends; nothing that it started in its process group survives.

    Args:
        arguments: the program and what it is told, as they are: no shell.
        folder: where it runs; gets ``command.txt``, ``log.txt``, and ``stdout.txt`` if that is read.
        environment: added to that of this process.
        printed: whether standard output is the result.
        limits: of the run.

    Raises:
        ConfigurationError: if there is no such program or it cannot be executed.
        JobFailure: if it does not end well or not in time.
    """
    (folder / COMMAND).write_text(command_line(arguments, environment) + "\n")
    process = _started(arguments, folder, environment, printed)
    try:
        if limits.memory is not None:
            _limit_memory(process.pid, limits.memory)
        note_child(folder, process.pid)
        in_time = _ended(process, limits.seconds)
    finally:
        _kill(process)
    _judge(process.returncode, in_time, folder, limits)


def command_line(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """One line for a shell, in which nothing of the arguments is anything but an argument."""
    variables = [f"{name}={value}" for name, value in environment.items()]
    return shlex.join([*(["env", *variables] if variables else []), *arguments])


def _started(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], printed: bool
) -> "subprocess.Popen[bytes]":
    log = (folder / LOG).open("wb")
    output = (folder / STANDARD_OUTPUT).open("wb") if printed else log
    with log, output:
        try:
            return subprocess.Popen(
                list(arguments),
                cwd=folder,
                env={**os.environ, **environment} if environment else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                start_new_session=True,
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            words = "a program in the folder of its description, in PATH, or with its whole path (and what it runs on)"
            raise ConfigurationError("program.command", arguments[0], words) from error
        except PermissionError as error:
            words = f"a program that may be executed (chmod +x): {error.strerror}"
            raise ConfigurationError("program.command", arguments[0], words) from error
        except OSError as error:
            if error.strerror and "format" in error.strerror.lower():
                words = f"a program, or a script whose first line says what runs it: {error.strerror}"
                raise ConfigurationError("program.command", arguments[0], words) from error
            raise


def _prlimit() -> Any:
    try:
        import resource
    except ImportError:  # not on every system
        return None
    return getattr(resource, "prlimit", None)


def _limit_memory(pid: int, size: int) -> None:
    import resource

    with suppress(ProcessLookupError):
        _prlimit()(pid, resource.RLIMIT_AS, (size, size))


def _ended(process: "subprocess.Popen[bytes]", seconds: float | None) -> bool:
    """Whether the program ended by itself in time. It is left as a zombie where the system lets us.

    As long as it is one, its number, which is that of its group too, belongs to nobody else. `Popen.wait` would look
    every now and then, which is too late for a program of 10 ms.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode is not None
    try:
        watch = select.poll()
        watch.register(handle, select.POLLIN)
        return bool(watch.poll(None if seconds is None else min(math.ceil(seconds * 1000), 2**31 - 1)))
    finally:
        os.close(handle)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End the whole process group, also what the program left behind."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _judge(code: int, in_time: bool, folder: Path, limits: Limits) -> None:
    words = _last_words(folder)
    if not in_time:
        raise JobFailure(Failure.HANG, f"still ran after {limits.seconds:g} s and was killed{words}")
    if code in limits.success:
        return
    memory = "" if limits.memory is None else f" (it had {limits.memory / 1e6:.0f} MB of memory)"
    if code < 0:
        raise JobFailure(Failure.CRASH, f"killed by {_signal(-code)}{memory}{words}")
    inside = f", as shells report {_signal(code - 128)}" if 128 < code <= 128 + signal.NSIG else ""
    raise JobFailure(Failure.EXIT, f"exit code {code}{inside}, expected {_listed(limits.success)}{memory}{words}")


def _listed(codes: Collection[int]) -> str:
    return " or ".join(map(str, codes))


def _signal(number: int) -> str:
    try:
        known = signal.Signals(number)
    except ValueError:
        return f"signal {number}"
    return f"{known.name} ({signal.strsignal(known)})"


def _last_words(folder: Path, lines: int = 4, letters: int = 400) -> str:
    """The end of the log, made fit for one line."""
    with suppress(OSError), (folder / LOG).open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 4096))
        text = file.read().decode(errors="replace")
        last = " | ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())
        clean = "".join(letter if letter.isprintable() else "?" for letter in last)
        return f"; its last words: {clean[-letters:]}" if clean else ""
    return ""
