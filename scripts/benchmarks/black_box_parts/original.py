"""The runs of the original's authors' code, measured once (see the note at the head of the table)."""

import csv
from pathlib import Path

from .record import FAILED, SECONDS, Run

SOURCE = Path(__file__).parents[1] / "lgso_reference.csv"
PREFIX = "original"
NOTE = (
    "The original: the authors' code (github.com/shir994/L-GSO, commit ce8dcdd) with its published settings "
    "(3000 events a design, 15 epochs) and with fewer epochs or events, one thread of a virtual AMD EPYC core, at most "
    "8 minutes a run; exact objective, outside the count. Some runs have a guard against the division by zero that "
    "ended three others in NaN. `scripts/benchmarks/lgso_reference.csv` has every iteration."
)


def original_runs() -> list[Run]:
    """One `Run` each; the method's name tells events a design and epochs."""
    runs: dict[tuple[str, ...], Run] = {}
    with SOURCE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = tuple(row[name] for name in ("problem", "events_per_design", "epochs", "seed", "guard"))
            number = len([other for other in runs if other[:3] == key[:3]])
            method = f"{PREFIX} {row['events_per_design']} × {row['epochs']}"
            run = runs.setdefault(key, Run(row["problem"], method, number, 0.0, 480.0, SECONDS))
            run.add(*(float(row[name]) for name in ("calls", "designs", "objective", "wall_seconds", "cpu_seconds")))
    for run in runs.values():
        run.status = FAILED if run.steps == 0 else SECONDS
    return list(runs.values())


def label(method: str) -> str:
    """``original 300 × 15`` in words."""
    events, _, epochs = method.removeprefix(PREFIX).strip().partition(" × ")
    return f"original, {events} a design, {epochs} epoch{'' if epochs == '1' else 's'}"
