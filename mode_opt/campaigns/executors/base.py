"""The contract of executors."""

from abc import ABC, abstractmethod
from concurrent.futures import Future

from mode_opt.campaigns.outcome import Outcome
from mode_opt.campaigns.performing import Task


class Executor(ABC):
    """Runs tasks somewhere. Starts nothing before the first task; may be used again after `close`."""

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Tasks that run at the same time."""

    @property
    @abstractmethod
    def task_seconds(self) -> float:
        """How long a task should last for its overhead to be negligible; short jobs are put together until it does."""

    @property
    def ahead(self) -> float:
        """Tasks that are handed over at the same time: some wait, so that no worker does. Infinite: all, at once."""
        return 3 * self.capacity

    @abstractmethod
    def submit(self, task: Task) -> "Future[list[Outcome]]":
        """Run a task; the future may raise if the machine it ran on is lost.

        Raises:
            RuntimeError | OSError: if no tasks are taken any longer.
        """

    def poll(self) -> None:
        """Called each time before tasks are waited for, and once a second meanwhile.

        An executor that nobody calls back looks for ended tasks here.

        Raises:
            CampaignError: if there is nothing to wait for.
        """
        return

    @abstractmethod
    def close(self, wait: bool = True) -> None:
        """Let go of workers and connections; without ``wait`` tasks that run are stopped."""
