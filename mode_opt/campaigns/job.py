"""One run of a simulator, named by its content."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self, final

import numpy as np

from mode_opt.errors import ConfigurationError, DataError

Value = float | int | str | list[float] | list[int]
"""A design value in field units: a number, the name of an option, or a list for an array."""


@final
@dataclass(frozen=True, eq=False)
class Job:
    """One run of a simulator: what goes in, and nothing about when and where.

    Attributes:
        work: digest of the simulator's description (`Work.digest`).
        design: physical values by name, field units (mm, MeV, ns, tesla, radians).
        events: to be simulated.
        seed: for the program's random numbers, from 1 to 2³¹ − 2, which every generator takes.
        primaries: by name, ``events`` numbers each (or ``events x k``), field units.
    """

    work: str
    design: Mapping[str, Value]
    events: int
    seed: int
    primaries: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.events < 1:
            raise ConfigurationError("job.events", self.events, "at least 1 event")
        for name, column in self.primaries.items():
            if len(column) != self.events:
                raise ConfigurationError(f"job.primaries.{name}", len(column), f"{self.events} values, one an event")
            if np.asarray(column).dtype.kind not in "biuf":
                raise ConfigurationError(f"job.primaries.{name}", np.asarray(column).dtype.name, "numbers")

    @cached_property
    def key(self) -> str:
        """SHA-256 of all that the result depends on, 64 hexadecimal digits."""
        digest = hashlib.sha256(self._text().encode())
        for name in sorted(self.primaries):
            column = np.ascontiguousarray(self.primaries[name])
            digest.update(json.dumps([name, column.dtype.str, column.shape]).encode())
            digest.update(column.tobytes())
        return digest.hexdigest()

    def _text(self) -> str:
        fields = {"work": self.work, "design": dict(self.design), "events": self.events, "seed": self.seed}
        return json.dumps(fields, sort_keys=True, allow_nan=False)

    def pack(self) -> dict[str, np.ndarray]:
        """As arrays for a ``.npz`` file; `unpack` gives the job back."""
        text = np.frombuffer(self._text().encode(), dtype=np.uint8)
        return {"job": text, **{f"primaries.{name}": column for name, column in self.primaries.items()}}

    @classmethod
    def unpack(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """The job that `pack` packed; other arrays are ignored.

        Raises:
            DataError: if there is none.
        """
        try:
            fields: dict[str, Any] = json.loads(bytes(arrays["job"]).decode())
            start = "primaries."
            primaries = {name.removeprefix(start): arrays[name] for name in arrays if name.startswith(start)}
            return cls(**fields, primaries=primaries)
        except (KeyError, ValueError, TypeError, ConfigurationError) as error:
            raise DataError(f"no description of a job ({type(error).__name__}: {error})") from error

    def to_bytes(self) -> bytes:
        """For a file, or a pipe."""
        buffer = io.BytesIO()
        np.savez(buffer, **self.pack())  # type: ignore[arg-type]  # numpy's stub takes the names for its options
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """What `to_bytes` gave.

        Raises:
            DataError: if it is not that.
        """
        return cls.unpack(arrays_of(io.BytesIO(content), "job"))


def arrays_of(source: Any, name: str) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file (a path or a binary stream), never unpickled.

    Raises:
        DataError: if it is truncated, damaged, or not such a file; names it.
    """
    try:
        with np.load(source, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as error:  # a damaged archive makes zipfile raise a dozen different things
        raise DataError(f"{name}: not a complete .npz file ({type(error).__name__}: {error})") from error


def seed_of(base: int, *labels: object) -> int:
    """A seed for a job, from 1 to 2³¹ − 2, by a hash of the seed of the run and what names the job in it."""
    text = json.dumps([base, *map(str, labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % (2**31 - 2) + 1
