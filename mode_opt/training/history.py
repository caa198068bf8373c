"""``history.csv``: one row a design step, blank where something was not measured."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

from mode_opt.errors import DataError

FIRST = ("step", "objective", "objective_standard_error", "validation", "validation_standard_error")


class History:
    """The rows of a run, in memory and on disk.

    Args:
        path: of ``history.csv``.
        keep: rows up to this step are kept from an existing file, later ones (not covered by the checkpoint
            that the run resumes from) are dropped and will be computed again.

    Raises:
        DataError: if an existing file is no history, or ends before step ``keep``.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = self._read(keep) if keep else []
        self.names: list[str] = []
        self._rewrite()

    def _read(self, keep: int) -> list[dict[str, float]]:
        try:
            with self.path.open(newline="") as file:
                rows = [
                    {name: float(text) for name, text in row.items() if text not in ("", None)}
                    for row in csv.DictReader(file)
                ]
            kept = [row for row in rows if row["step"] <= keep]
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise DataError(f"{self.path}: cannot be read as a history of design steps ({error})") from error
        if len(kept) != keep:
            raise DataError(f"{self.path}: holds {len(kept)} of the {keep} steps of the checkpoint")
        return kept

    def _rewrite(self) -> None:
        self.names = self._header()
        temporary = self.path.with_suffix(".csv.part")
        with temporary.open("w", newline="") as file:
            if self.rows:
                writer = csv.DictWriter(file, self.names)
                writer.writeheader()
                writer.writerows(self.rows)
        temporary.replace(self.path)

    def _header(self) -> list[str]:
        names = dict.fromkeys(name for row in self.rows for name in row)  # a column may begin later
        return [*FIRST, *(name for name in names if name not in FIRST)]

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row and write it at once, so that a killed run leaves its history.

        A row with a column that none before it had makes the file be written anew.
        """
        self.rows.append(dict(row))
        if len(self.rows) == 1 or not set(row) <= set(self.names):
            self._rewrite()
            return
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.names).writerow(self.rows[-1])

    @property
    def validations(self) -> list[tuple[float, float]]:
        """Value and standard error of the validations so far."""
        return [(r["validation"], r["validation_standard_error"]) for r in self.rows if "validation" in r]

    def judged(self, value: Callable[[Mapping[str, float]], float]) -> list[tuple[float, float]]:
        """The same, each with the value that its row is worth today (`Alternation.judged`)."""
        return [(value(r), r["validation_standard_error"]) for r in self.rows if "validation" in r]

    @property
    def seconds(self) -> float:
        """Seconds that the steps so far took."""
        return self.rows[-1]["seconds"] if self.rows else 0.0
