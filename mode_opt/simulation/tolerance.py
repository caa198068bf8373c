"""Whether a failed design may be marked instead of raising, and where the reasons are collected."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_REASONS: ContextVar[list[str] | None] = ContextVar("reasons of failed designs", default=None)


@contextmanager
def tolerance() -> Iterator[list[str]]:
    """Within it, simulators may give the events of a design that failed the weight NaN; yields the reasons."""
    reasons: list[str] = []
    token = _REASONS.set(reasons)
    try:
        yield reasons
    finally:
        _REASONS.reset(token)


def tolerated() -> list[str] | None:
    """Where to put the reason of a design's failure; None: raise instead."""
    return _REASONS.get()
