"""The ways in which a run of a simulator ends without a result."""

import enum
from typing import final

from mode_opt.errors import SimulationError


@final
class Failure(enum.StrEnum):
    """Why a job has no result; the value is what tables and the index show."""

    EXIT = "exit code"
    CRASH = "crash"
    HANG = "time limit"
    MISSING = "output missing"
    UNREADABLE = "output unreadable"
    COUNT = "wrong number of events"
    NOT_FINITE = "not finite"
    RAISED = "exception"
    LOST = "worker lost"
    DISK = "disk full"

    @property
    def retried(self) -> bool:
        """Whether the same job, run again, may succeed: the same seed gives the same NaN."""
        return self is not Failure.NOT_FINITE


class JobFailure(Exception):
    """Raised by a `Work` whose program did not deliver.

    Args:
        kind: what happened.
        message: one line for people: what came, what was expected.
    """

    def __init__(self, kind: Failure, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message = kind, message

    def __reduce__(self) -> tuple[type["JobFailure"], tuple[Failure, str]]:
        return JobFailure, (self.kind, self.message)


class CampaignError(SimulationError):
    """A campaign that cannot go on: too much failed, the disk is full, or it waits for results from elsewhere.

    Unlike other simulation errors it is not the failure of single designs, and no search survives it; what was
    simulated before stays in the store, and ``resume`` continues from there.
    """
