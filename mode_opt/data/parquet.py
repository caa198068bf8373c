"""Events written to Parquet files, for pandas, polars, awkward and the like."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, final

import numpy as np

from mode_opt.errors import ConfigurationError, DataError
from mode_opt.events import Events


@final
class ParquetWriter:
    """Writes events piece by piece to a Parquet file, which appears when everything is written.

    One row per event: truth features and design values by name, ``weight``, and hit features by name as lists of the
    real hits. Use as a context manager: after an exception nothing is left behind.

    Args:
        path: of the file; an older one is replaced.
        truth_names: ``t`` names.
        hit_names: ``f`` names.

    Raises:
        ConfigurationError: if pyarrow is not installed, or names are repeated.
        DataError: if the file cannot be written, or nothing was.
    """

    def __init__(self, path: str | Path, truth_names: Sequence[str], hit_names: Sequence[str]) -> None:
        self.path, self.truth_names, self.hit_names = Path(path), tuple(truth_names), tuple(hit_names)
        names = (*self.truth_names, *self.hit_names, "weight")
        if len(set(names)) < len(names):
            raise ConfigurationError("names", names, "different names, none of them weight")
        self.entries = 0
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._writer: Any = None

    def __enter__(self) -> Self:
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            expected = "a .root file, or a .parquet file with pyarrow installed (pip install mode-opt[parquet])"
            raise ConfigurationError("output", str(self.path), expected) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
                if kind is None:
                    self._partial.replace(self.path)
            elif kind is None:
                raise DataError(f"{self.path}: no events to write")
        finally:
            self._partial.unlink(missing_ok=True)

    def write(self, events: Events, design: Mapping[str, Any] | None = None) -> None:
        """Append events.

        Args:
            events: ``b`` designs.
            design: numbers or texts, the same for all these events, or lists of numbers.

        Raises:
            DataError: if the file cannot be written, or columns differ from those of the first piece.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = events.designs * events.count
        columns = {name: _numpy(events.truth[..., k]) for k, name in enumerate(self.truth_names)}
        columns["weight"] = _numpy(events.weight)
        table = {name: pa.array(column) for name, column in columns.items()}
        table |= {name: pa.array([value] * rows) for name, value in (design or {}).items()}
        mask = events.mask.flatten(0, 1)
        offsets = pa.array(np.concatenate([[0], mask.sum(1).cumsum(0).numpy()]).astype(np.int32))
        values = events.hits.flatten(0, 1)[mask]
        for k, name in enumerate(self.hit_names):
            table[name] = pa.ListArray.from_arrays(offsets, pa.array(_numpy(values[:, k])))
        piece = pa.table(table)
        try:
            if self._writer is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = pq.ParquetWriter(self._partial, piece.schema)
            self._writer.write_table(piece)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path}: cannot be written ({error})") from error
        self.entries += rows


def _numpy(tensor: Any) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().flatten().numpy())
