"""The results of a campaign in a file for other tools."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from mode_opt.campaigns import Entry, Status, Store
from mode_opt.campaigns.job import Job
from mode_opt.data import EventWriter, ParquetWriter
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.events import Events


def exported(store: Store, output: Path, work: str = "", hit_names: Sequence[str] = ()) -> tuple[int, int]:
    """Write the events of all jobs of one simulator to a ROOT or Parquet file, job by job; returns jobs and events.

    Each event has its primaries, the design it was simulated with, its weight and its hits.

    Args:
        store: with results.
        output: ``.root`` or ``.parquet``.
        work: digest of the simulator, or its beginning; may be left out if the store has one only.
        hit_names: of the features of a hit; ``hit`` or ``hit_0``, ``hit_1``, … if left out.

    Raises:
        ConfigurationError: for another suffix, or if it is not clear which simulator is meant.
        DataError: if there are no results.
    """
    if output.suffix not in (".root", ".parquet"):
        raise ConfigurationError("output", str(output), "a file with suffix .root or .parquet")
    pieces = _pieces(store, _entries(store, work))
    try:
        head = next(pieces)
    except StopIteration:
        raise DataError(f"{store.root}: no results to export") from None
    features = head[1].hits.shape[3]
    names = list(hit_names) or (["hit"] if features == 1 else [f"hit_{k}" for k in range(features)])
    truth = [name for name, column in head[0].primaries.items() if column.ndim == 1]
    count, both = 0, chain([head], pieces)
    if output.suffix == ".root":
        with EventWriter(output, truth, names) as writer:
            for job, events in both:
                writer.write(events, _numbers(job))
                count += 1
            return count, writer.entries
    with ParquetWriter(output, truth, names) as parquet:
        for job, events in both:
            parquet.write(events, dict(job.design))
            count += 1
        return count, parquet.entries


def _entries(store: Store, work: str) -> Iterable[Entry]:
    works = {row["work"] for row in store.totals() if row["status"] == Status.DONE and row["work"].startswith(work)}
    if len(works) > 1:
        short = ", ".join(sorted(digest[:12] for digest in works))
        raise ConfigurationError("work", work, f"the beginning of one of the simulators {short}")
    return store.entries(work=next(iter(works), work), status=Status.DONE)


def _pieces(store: Store, entries: Iterable[Entry]) -> Iterator[tuple[Job, Events]]:
    for entry in entries:
        arrays = store.read(entry.key)
        job = Job.unpack(arrays)
        columns = [np.asarray(column, np.float32) for column in job.primaries.values() if column.ndim == 1]
        truth = np.stack(columns, 1) if columns else np.zeros((job.events, 0), np.float32)
        parts = [torch.from_numpy(a)[None] for a in (truth, arrays["hits"], arrays["mask"], arrays["weight"])]
        yield job, Events.of(*parts)


def _numbers(job: Job) -> dict[str, torch.Tensor]:
    """Design values that are numbers; ROOT trees have no texts here."""
    return {
        name: torch.tensor([value], dtype=torch.float64).reshape(1, -1)
        for name, value in job.design.items()
        if not isinstance(value, str)
    }
