"""How long jobs take, and how many of them make a task."""

import math
import statistics
from collections import deque
from typing import final

from mode_opt.campaigns.executors import Executor

REMEMBERED = 200


@final
class Pace:
    """The durations of the last jobs."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)

    def note(self, seconds: float) -> None:
        """One more job has ended."""
        self._seconds.append(seconds)

    @property
    def median(self) -> float | None:
        """Seconds of a job; None before the first has ended."""
        return statistics.median(self._seconds) if self._seconds else None

    def size(self, executor: Executor, waiting: int) -> int:
        """Jobs of the next task: enough to last, few enough that all workers have some."""
        if self.median is None:
            return 1
        lasting = math.ceil(executor.task_seconds / max(self.median, 1e-4))
        return max(1, min(lasting, math.ceil(waiting / (2 * executor.capacity))))
