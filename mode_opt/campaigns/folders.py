"""The files of a store."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from mode_opt.campaigns.work import Work, work_of
from mode_opt.errors import ConfigurationError, DataError


@final
@dataclass(frozen=True)
class Folders:
    """Paths in a store.

    Attributes:
        root: of the store.
    """

    root: Path

    def result(self, key: str) -> Path:
        """The file with a job's result; complete if it exists."""
        return self.root / "results" / key[:2] / f"{key}.npz"

    def running(self, key: str) -> Path:
        """Where the job runs."""
        return self.root / "running" / key

    def quarantine(self, key: str) -> Path:
        """What the last failed attempt left behind."""
        return self.root / "quarantine" / key

    def handed_out(self, key: str) -> Path:
        """In a drop folder: the job, until it has ended."""
        return self.root / "jobs" / f"{key}.npz"

    def given_up(self, key: str) -> Path:
        """In a drop folder: says that a failed job is not tried again there."""
        return self.quarantine(key) / "given_up"

    def work(self, digest: str) -> Path:
        """The description of a simulator."""
        return self.root / "works" / f"{digest}.json"

    def make(self) -> None:
        """Create what is missing."""
        for name in ("results", "running", "quarantine", "works"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def register(self, work: Work) -> None:
        """Keep the description of a simulator, so that its jobs can be run again from the files alone.

        Of several that differ in what is `Work.local` (limits, places of files) the last stays.
        """
        path, described = self.work(work.digest), {"kind": work.kind, "description": work.description()}
        content = json.dumps(described, indent=1).encode()
        if not path.exists() or path.read_bytes() != content:
            write_whole(path, content)

    def registered(self, digest: str) -> Work:
        """The simulator of this digest.

        Raises:
            DataError: if there is no description of it, or one that was changed.
            ConfigurationError: as `work_of`; if the digest is none.
        """
        try:
            content: Mapping[str, Any] = json.loads(self.work(hexadecimal(digest)).read_text())
            kind, description = content["kind"], content["description"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.root}: no description of simulator {digest[:12]}") from error
        work = work_of(kind, description)
        if work.digest != digest:
            raise DataError(f"{self.work(digest)}: does not describe simulator {digest[:12]}, but {work.digest[:12]}")
        return work


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears at once and complete, or not at all."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def hexadecimal(text: str) -> str:
    """A key or its beginning, if it is one, so that nothing in it is a pattern or a path.

    Raises:
        ConfigurationError: if it is none.
    """
    if not all(c in "0123456789abcdef" for c in text):
        raise ConfigurationError("key", text, "hexadecimal digits of a key, or its beginning")
    return text
