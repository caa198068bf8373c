"""A function or class in Python as a black box."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Self, final

from mode_opt.campaigns import Arrays, Failure, Job, JobFailure, Work
from mode_opt.campaigns.job import arrays_of
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.simulation.isolated.process import held
from mode_opt.simulation.isolated.source import checksums, name_of, source_of
from mode_opt.simulation.programs.running import Limits, bytes_of


@final
class PythonFunction(Work):
    """A Python function that simulates, in a process of its own, where it may leak, crash and hang.

    It is called as ``function(design, primaries, events, seed, **arguments)``: design values by name in field units
    (numbers, lists, names of options), primaries by name (``n`` or ``n x k`` numbers), the number ``n`` of events, and
    a seed, with which the global generators of `random` and `numpy.random` are seeded, too. It returns ``hits``
    (``n x h x f``, ``n x h`` or ``n``), or a mapping with ``hits`` and if they are known ``mask`` (``n x h``) and
    ``weight`` (``n``). A class is made once in each process, ``cls(**arguments)``, and called for each job.

    Each thread that runs jobs keeps a process, which takes one job after the other. It works in the job's folder, its
    output goes to ``log.txt`` there, its BLAS has one thread unless ``OMP_NUM_THREADS`` says otherwise. It is
    replaced after a failure, and ends with the thread. It loads numpy and the module of the function (with the
    packages that this is in), and nothing else of mode_opt.

    Args:
        function: ``package.module:name``, or the function itself if it can be imported by such a name.
        arguments: what JSON can hold.
        path: folders in which the module is looked for first. Where they lie does not count for the digest.
        files: that the result depends on, besides the module's source: their checksums count, their places do not.
        time_limit: seconds for a job, loading of the module included; None: no limit.
        memory_limit: address space, libraries included, such as ``2 GB`` (Linux); None: no limit.
        jobs_per_process: after so many the process is replaced: against what leaks; 1 for what cannot run twice.
        version: of whatever else the result depends on.

    Raises:
        ConfigurationError: for a function that another process cannot import, arguments that are not JSON, files
            that cannot be read, limits that are not positive. In `run`: if the source or a file has changed.
    """

    kind = "function"
    local = Work.local | {"path", "files", "time_limit", "memory_limit"}

    def __init__(
        self,
        function: str | Callable[..., Any],
        arguments: Mapping[str, Any] | None = None,
        path: str | Path | Sequence[str | Path] = (),
        files: Sequence[str | Path] = (),
        time_limit: float | None = None,
        memory_limit: str | None = None,
        jobs_per_process: int = 200,
        version: str = "",
    ) -> None:
        folders = [path] if isinstance(path, str | Path) else path
        self.path = tuple(str(Path(folder).expanduser().absolute()) for folder in folders)
        self.files = tuple(Path(file).expanduser().absolute() for file in files)
        self.function, self.arguments = name_of(function), _json(dict(arguments or {}))
        self._limits = Limits(time_limit, bytes_of(memory_limit))
        if jobs_per_process < 1:
            raise ConfigurationError("program.jobs_per_process", jobs_per_process, "at least 1")
        self.time_limit, self.memory_limit = time_limit, memory_limit
        self.jobs_per_process, self.version = int(jobs_per_process), str(version)
        self.fingerprint = self._fingerprint()

    def description(self) -> dict[str, Any]:
        return {
            "function": self.function,
            "arguments": self.arguments,
            "path": list(self.path),
            "files": [str(file) for file in self.files],
            "time_limit": self.time_limit,
            "memory_limit": self.memory_limit,
            "jobs_per_process": self.jobs_per_process,
            "version": self.version,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Self:
        arguments = {name: value for name, value in description.items() if name != "fingerprint"}
        work = cls(**arguments)
        changed = _changed(description.get("fingerprint"), work.fingerprint)
        if changed:
            raise ConfigurationError("program.fingerprint", changed, "files as they were when the results were made")
        return work

    def run(self, job: Job, folder: Path) -> Arrays:
        process = held(self._settings(), folder, self.jobs_per_process)
        if process.jobs == 0:  # about to load the module: on a worker, or long after this was made
            self._check()
        answer = process.simulate(job.to_bytes(), folder, self.time_limit)
        if process.jobs >= self.jobs_per_process:
            process.close()
        try:
            return arrays_of(BytesIO(answer), "the function's answer")
        except DataError as error:
            raise JobFailure(Failure.UNREADABLE, str(error)) from error

    def limit(self) -> float | None:
        return self.time_limit

    def _check(self) -> None:
        changed = _changed(self.fingerprint, self._fingerprint())
        if changed:
            raise ConfigurationError("program.function", changed, "files as they were when this simulator was made")

    def _fingerprint(self) -> list[list[str]]:
        """Checksums of the module's source and the files."""
        source = checksums([source_of(self.function, self.path)], "program.function")
        return source + checksums(self.files, "program.files")

    def _settings(self) -> bytes:
        further = [str(Path(entry).absolute()) for entry in sys.path]
        fields = {"function": self.function, "arguments": self.arguments, "path": self.path, "further": further}
        marks = {"memory_limit": self._limits.memory, "fingerprint": self.fingerprint, "version": self.version}
        return json.dumps(fields | marks).encode()


def _json(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments as the other process gets them."""
    try:
        received: dict[str, Any] = json.loads(json.dumps(arguments, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigurationError("program.arguments", arguments, f"what JSON can hold ({error})") from error
    return received


def _changed(before: Any, now: list[list[str]]) -> str:
    """Names of the files whose checksums differ; empty if none does."""
    known = list(before or ())
    return ", ".join(entry[0] for number, entry in enumerate(now) if known[number : number + 1] != [entry])
