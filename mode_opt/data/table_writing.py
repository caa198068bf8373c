"""Tables of numbers written to ROOT files."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mode_opt.errors import ConfigurationError, DataError, ShapeError


def write_table(
    path: str | Path, columns: Mapping[str, np.ndarray], tree: str, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write columns of equal length to a TTree, one entry a row; the file appears when everything is written.

    Args:
        path: of the file; its folder is made if missing, an older file is replaced.
        columns: numbers by name, ``m`` or ``m x size``.
        tree: name of the tree.
        metadata: stored as JSON under the name ``metadata`` (`read_metadata`).

    Raises:
        ConfigurationError: if a name is no name of a branch.
        ShapeError: if the lengths differ, or there is no row.
        DataError: if the file cannot be written.
    """
    import uproot

    path = Path(path)
    for name in columns:
        if not name.isidentifier():
            raise ConfigurationError("columns", name, "names of letters, digits and _")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ShapeError("columns", tuple(lengths.values()), "one length, at least 1")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with uproot.recreate(partial) as file:
            arrays = {name: np.ascontiguousarray(column) for name, column in columns.items()}
            file.mktree(tree, {name: np.dtype((array.dtype, array.shape[1:])) for name, array in arrays.items()})
            file[tree].extend(arrays)
            if metadata:
                file["metadata"] = json.dumps(dict(metadata), default=str)
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
