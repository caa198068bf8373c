"""What a run has to tell its user in words."""

from collections.abc import Callable, Mapping
from typing import Any


class Notes:
    """Texts, each shown once and counted.

    Args:
        say: shows a text to the user.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.counts: dict[str, int] = {}

    def restore(self, counts: Mapping[str, int]) -> None:
        """Take over what was noted, and shown, before the run was interrupted."""
        self.counts = dict(counts)

    def add(self, text: str) -> None:
        """Note a text; it is shown if it is new."""
        if text not in self.counts:
            self._say(f"note: {text}")
        self.counts[text] = self.counts.get(text, 0) + 1

    def entries(self) -> dict[str, Any]:
        """For ``result.json``: ``notes``, a list of ``{text, count}`` in the order of appearance; nothing if empty."""
        notes = [{"text": text, "count": count} for text, count in self.counts.items()]
        return {"notes": notes} if notes else {}
