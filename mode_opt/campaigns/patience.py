"""What a request for many jobs puts up with, and how far it is."""

import math
import time
from dataclasses import dataclass, field
from typing import final

from mode_opt.campaigns.outcome import Outcome, Status
from mode_opt.errors import ConfigurationError


@final
@dataclass(frozen=True)
class Patience:
    """What a campaign puts up with.

    Attributes:
        attempts: of each job, before it is put in quarantine.
        backoff: seconds before the second attempt; twice as long before each further one, at most a minute.
        failed: fraction of the jobs run that may end in quarantine; with significantly more (two standard deviations,
            ten jobs) the campaign stops.
        stragglers: None: wait for every job. A fraction: once so many jobs of a request have ended, those that run
            three times as long as the median are no longer waited for (their results are not lost, but come too
            late). What is dropped depends on the machine's load, so that runs do not repeat bit for bit.

    Raises:
        ConfigurationError: for numbers out of range.
    """

    attempts: int = 3
    backoff: float = 0.2
    failed: float = 0.3
    stragglers: float | None = None

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigurationError("campaign.patience.attempts", self.attempts, "at least 1")
        if not 0 <= self.backoff < math.inf:
            raise ConfigurationError("campaign.patience.backoff", self.backoff, "seconds, at least 0")
        for name in ("failed", "stragglers"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ConfigurationError(f"campaign.patience.{name}", value, "a fraction above 0, at most 1")


@final
@dataclass
class Tally:
    """How far a request is.

    Attributes:
        total: different jobs that were asked for; 0 if that is not known.
        ended: of these.
        reused: that were in the store.
        quarantined: that failed for good.
        dropped: that were no longer waited for.
        retried: attempts that failed and were repeated.
        start: clock at the beginning, seconds.
    """

    total: int
    ended: int = 0
    reused: int = 0
    quarantined: int = 0
    dropped: int = 0
    retried: int = 0
    start: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Jobs run and ended a second."""
        return (self.ended - self.reused) / max(time.monotonic() - self.start, 1e-9)

    @property
    def remaining(self) -> float | None:
        """Seconds to go, if that can be told."""
        return (self.total - self.ended) / self.rate if self.rate > 0 and self.total else None

    def count(self, outcome: Outcome) -> None:
        """One more has ended."""
        self.ended += 1
        self.reused += outcome.reused
        self.quarantined += outcome.status is Status.QUARANTINED
        self.dropped += outcome.status is Status.DROPPED
