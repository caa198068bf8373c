"""What a job runs: a description of a simulator that can be sent, stored and named by its content."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from mode_opt.campaigns.job import Job
from mode_opt.errors import ConfigurationError

Arrays = Mapping[str, np.ndarray]
"""A result by name; the first axis of each array is the event. ``hits`` (n x h x f) is always there."""


class Work(ABC):
    """A simulator seen from outside: runs one job at a time in a folder of its own. Can be pickled.

    ``description`` is all that the results depend on, besides the job: two works with the same description give the
    same result for the same job, on any machine.
    """

    kind: str
    """Name of the class in stored descriptions."""
    local: ClassVar[frozenset[str]] = frozenset({"folder"})
    """Entries of the description that results do not depend on: where files lie on this machine, limits."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Constructor arguments as JSON; what else results depend on (checksums of files) under ``fingerprint``.

        What is `local` does not count for `digest`.
        """

    @classmethod
    @abstractmethod
    def of(cls, description: Mapping[str, Any]) -> Self:
        """The work with this description.

        Raises:
            ConfigurationError: if it cannot be built here; if checksums differ from the fingerprint, saying which.
        """

    @abstractmethod
    def run(self, job: Job, folder: Path) -> Arrays:
        """Simulate.

        Args:
            job: what to simulate.
            folder: empty, of this run alone, and removed after success: what is written there, ``log.txt`` above
                all, is kept if the job fails.

        Returns:
            ``hits`` n x h x f, and if they are known ``mask`` n x h and ``weight`` n.

        Raises:
            JobFailure: whatever the program did wrong.
        """

    def command(self, job: Job) -> str:
        """How a person would run this job by hand, in one line; empty if there is no such way."""
        return ""

    def limit(self) -> float | None:
        """Seconds that a job may take, or None."""
        return None

    @property
    def uniform_primaries(self) -> bool:
        """Whether all events of a job must have the same primaries, because the program is told one for all."""
        return False

    @property
    def digest(self) -> str:
        """SHA-256 of the description without what is `local`, 64 hexadecimal digits."""
        described = {name: value for name, value in self.description().items() if name not in self.local}
        text = json.dumps([self.kind, described], sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def work_of(kind: str, description: Mapping[str, Any]) -> Work:
    """The work of this kind and description, as it was stored.

    Only classes that are already imported are looked at, so that a stored file cannot name code to load.

    Raises:
        ConfigurationError: if no such kind is known, or as `Work.of`.
    """
    known = {work.kind: work for work in _concrete(Work)}  # type: ignore[type-abstract]  # only looked through
    if kind not in known:
        raise ConfigurationError("work.kind", kind, f"one of {', '.join(sorted(known)) or '(none is imported)'}")
    return known[kind].of(description)


def _concrete(parent: type[Work]) -> Iterator[type[Work]]:
    for child in parent.__subclasses__():
        yield from _concrete(child)
        if not getattr(child, "__abstractmethods__", None):
            yield child
