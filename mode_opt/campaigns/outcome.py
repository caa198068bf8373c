"""How a job ended."""

import enum
from dataclasses import dataclass
from typing import final

from mode_opt.campaigns.failures import Failure


@final
class Status(enum.StrEnum):
    """Of a job."""

    DONE = "done"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    DROPPED = "dropped"


@final
@dataclass(frozen=True)
class Outcome:
    """How an attempt at a job, or the job, ended. Holds no events: `Store.read` has them.

    Attributes:
        key: of the job.
        status: ``failed`` ends an attempt, the others a job.
        failure: why, if it failed.
        message: the same in words.
        seconds: that the simulator ran.
        bytes: size of the result file.
        attempts: that were made.
        reused: whether the result was in the store before.
    """

    key: str
    status: Status
    failure: Failure | None = None
    message: str = ""
    seconds: float = 0.0
    bytes: int = 0
    attempts: int = 1
    reused: bool = False
