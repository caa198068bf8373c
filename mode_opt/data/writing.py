"""Events written to ROOT files that uproot and ROOT 6 read."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError, DataError, ShapeError
from mode_opt.events import Events

WRITE_ENTRIES = 100_000
RESERVED = ("weight", "log_probability", "design_index", "nhits", "hits")


@final
class EventWriter:
    """Writes events piece by piece to a TTree; the file appears when everything is written.

    One entry per event, the events of the first design first. Branches: truth features and hit features by
    name (hits jagged with counter ``nhits``: only the real ones, in their order), ``weight``,
    ``log_probability`` if recorded, design values by name (``[size]`` for arrays), and ``design_index`` of
    the event within its piece. Use as a context manager: after an exception nothing is left behind.

    Args:
        path: of the file; its folder is made if missing, an older file is replaced.
        truth_names: ``t`` names.
        hit_names: ``f`` names.
        metadata: stored as JSON under the name ``metadata``.
        tree: name of the tree.
        jagged: write the real hits of each event; False writes all ``h`` of them as fixed arrays ``[h]``.

    Raises:
        ConfigurationError: if names are repeated or reserved.
        DataError: if the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        truth_names: Sequence[str],
        hit_names: Sequence[str],
        *,
        metadata: Mapping[str, Any] | None = None,
        tree: str = "events",
        jagged: bool = True,
    ) -> None:
        self.path = Path(path)
        self.truth_names, self.hit_names = tuple(truth_names), tuple(hit_names)
        self.metadata = dict(metadata or {})
        self.tree, self.jagged = tree, jagged
        self.entries = 0
        self._check_names((*self.truth_names, *self.hit_names))
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._file: Any = None
        self._ttree: Any = None
        self._types: dict[str, Any] = {}

    def __enter__(self) -> Self:
        import uproot

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = uproot.recreate(self._partial)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror or error})") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._ttree is None:
                raise DataError(f"{self.path}: no events to write")
            if kind is None and self.metadata:
                self._file["metadata"] = json.dumps(self.metadata, default=str)
            self._file.close()
            if kind is None:
                self._partial.replace(self.path)
        finally:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def write(self, events: Events, design: Mapping[str, Tensor] | None = None) -> None:
        """Append events.

        Args:
            events: ``b`` designs.
            design: values of the parameters by name, ``b x size`` (or ``1 x size``).

        Raises:
            ShapeError: if the numbers of features do not fit the names.
            ConfigurationError: if the branches are not those of the first piece, or have reserved names.
        """
        if self._file is None:
            raise DataError(f"{self.path}: not open; use the writer in a with statement")
        events = events.detach().to("cpu")
        rows = events.designs * events.count
        if events.truth.shape[2] != len(self.truth_names):
            raise ShapeError("events.truth", events.truth.shape, f"{len(self.truth_names)} features {self.truth_names}")
        if events.hits.shape[3] != len(self.hit_names):
            raise ShapeError("events.hits", events.hits.shape, f"{len(self.hit_names)} features {self.hit_names}")
        columns = {**self._per_event(events), **self._design(events, design or {})}
        for start in range(0, rows, WRITE_ENTRIES):
            stop = min(start + WRITE_ENTRIES, rows)
            piece = {name: column[start:stop] for name, column in columns.items()}
            self._extend({**piece, **self._hits(events, start, stop)})
        self.entries += rows

    def _per_event(self, events: Events) -> dict[str, np.ndarray]:
        truth = events.truth.flatten(0, 1)
        columns = {name: _numpy(truth[:, index]) for index, name in enumerate(self.truth_names)}
        columns["weight"] = _numpy(events.weight.flatten())
        if events.log_probability is not None:
            columns["log_probability"] = _numpy(events.log_probability.flatten())
        return columns

    def _design(self, events: Events, design: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        self._check_names((*self.truth_names, *self.hit_names, *design))
        columns = {}
        for name, value in design.items():
            if value.ndim != 2 or value.shape[0] not in (1, events.designs):
                raise ShapeError(f"design.{name}", value.shape, f"b x size with b = {events.designs}")
            rows = value.detach().cpu().expand(events.designs, -1).repeat_interleave(events.count, dim=0)
            columns[name] = _numpy(rows[:, 0] if value.shape[1] == 1 else rows)
        index = torch.arange(events.designs, dtype=torch.int32).repeat_interleave(events.count)
        return {**columns, "design_index": _numpy(index)}

    def _hits(self, events: Events, start: int, stop: int) -> dict[str, Any]:
        import awkward as ak

        if not self.hit_names:
            return {}
        hits = events.hits.flatten(0, 1)[start:stop]
        mask = events.mask.flatten(0, 1)[start:stop]
        if not self.jagged:
            hits = hits * mask[..., None]
            return {name: _numpy(hits[:, :, index]) for index, name in enumerate(self.hit_names)}
        values = hits[mask]
        offsets = ak.index.Index64(_numpy(torch.nn.functional.pad(mask.sum(1).cumsum(0), (1, 0))))
        contents = [ak.contents.NumpyArray(_numpy(values[:, index])) for index in range(len(self.hit_names))]
        record = ak.contents.RecordArray(contents, list(self.hit_names))
        return {"hits": ak.Array(ak.contents.ListOffsetArray(offsets, record))}

    def _extend(self, columns: Mapping[str, Any]) -> None:
        import awkward as ak

        types = {
            name: column.type.content if isinstance(column, ak.Array) else np.dtype((column.dtype, column.shape[1:]))
            for name, column in columns.items()
        }
        if self._ttree is None:
            self._types = types
            self._ttree = self._file.mktree(self.tree, types, field_name=lambda outer, inner: inner)
        elif {name: str(kind) for name, kind in types.items()} != {
            name: str(kind) for name, kind in self._types.items()
        }:
            raise ConfigurationError("events", types, f"the branches of the first piece, {self._types}")
        self._ttree.extend(dict(columns))

    def _check_names(self, names: Sequence[str]) -> None:
        for name in names:
            if name in RESERVED or names.count(name) > 1 or not name:
                raise ConfigurationError("names", name, f"different names, none of {', '.join(RESERVED)}")


def write_events(
    path: str | Path,
    events: Events,
    truth_names: Sequence[str],
    hit_names: Sequence[str],
    *,
    design: Mapping[str, Tensor] | None = None,
    metadata: Mapping[str, Any] | None = None,
    tree: str = "events",
    jagged: bool = True,
) -> None:
    """Write events to a TTree; arguments and errors are those of `EventWriter` and its ``write``."""
    with EventWriter(path, truth_names, hit_names, metadata=metadata, tree=tree, jagged=jagged) as writer:
        writer.write(events, design)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata that `EventWriter` stored.

    Raises:
        DataError: if the file has none.
    """
    import uproot

    try:
        with uproot.open(path) as file:
            return dict(json.loads(str(file["metadata"])))
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: no metadata written by mode_opt ({type(error).__name__})") from error


def _numpy(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.numpy())
