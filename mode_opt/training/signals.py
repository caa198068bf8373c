"""Ending a run on request without losing anything."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mode_opt.errors import ModeOptError


class Interrupted(ModeOptError):
    """The user or the batch system asked the run to end; ``signal`` says how."""

    def __init__(self, number: int) -> None:
        self.signal = number
        super().__init__(f"interrupted by {signal.Signals(number).name}")


class Requests:
    """Signals received, to be acted on between two design steps.

    Attributes:
        patient: True while a design step must not be torn apart: a first signal is then only noted (`pending`),
            a second one raises. Otherwise the first one raises.
    """

    def __init__(self) -> None:
        self.patient = False
        self.pending: int | None = None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Signal handler.

        Raises:
            Interrupted: unless the first signal can be left pending.
        """
        if self.patient and self.pending is None:
            self.pending = number
            return
        raise Interrupted(number)

    def obey(self) -> None:
        """Raise `Interrupted` if a signal is pending."""
        if self.pending is not None:
            raise Interrupted(self.pending)


@contextmanager
def listening(requests: Requests) -> Iterator[None]:
    """Send SIGINT and SIGTERM to ``requests`` while the block runs (in the main thread)."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, requests.receive)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
