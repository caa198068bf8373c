"""Numbers in what a program prints."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np

from mode_opt.errors import ConfigurationError, DataError
from mode_opt.simulation.programs.outputs.columns import Column, Jagged, Reader

_SEPARATORS = re.compile(r"[\s,;]+")


@final
class PatternReader(Reader):
    """Groups of a regular expression, one match an event (or a hit).

    Args:
        pattern: with groups; ``^`` and ``$`` match at lines.

    Raises:
        ConfigurationError: if it is no regular expression or has no group.
    """

    def __init__(self, pattern: str) -> None:
        try:
            self.pattern = re.compile(pattern, re.MULTILINE)
        except (re.error, TypeError) as error:
            words = f"a regular expression ({error})"
            raise ConfigurationError("program.output.pattern", pattern, words) from error
        if not self.pattern.groups:
            raise ConfigurationError("program.output.pattern", pattern, "a group around the numbers: (...)")

    @property
    def names(self) -> Sequence[str]:
        return [*self.pattern.groupindex, *(str(k + 1) for k in range(self.pattern.groups))]

    def read(self, path: Path, names: Sequence[str]) -> Mapping[str, Column]:
        text = path.read_text(encoding="utf-8", errors="replace")
        if text and not text.endswith("\n"):
            raise DataError("the last line has no end: the program did not finish writing")
        matches = list(self.pattern.finditer(text))
        groups = {name: int(name) if name.isdigit() else name for name in names}
        return {name: _column([match[group] for match in matches], name) for name, group in groups.items()}


def _column(texts: Sequence[str | None], name: str) -> Column:
    """One number a match, or a list of numbers for each if any match has another count."""
    lists = [[each for each in _SEPARATORS.split(text) if each] for text in texts if text is not None]
    if len(lists) < len(texts):
        raise DataError(f"{name}: the group takes no part in {len(texts) - len(lists)} of {len(texts)} matches")
    try:
        values = np.array([float(each) for row in lists for each in row], np.float64)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error
    counts = np.array([len(row) for row in lists], np.int64)
    return values if (counts == 1).all() else Jagged(values, counts)
