"""Arrays in NumPy's files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from mode_opt.errors import DataError
from mode_opt.simulation.programs.outputs.columns import Column, Reader, entry, indexed, numbers, there

WHOLE = "data"
"""Name of the one array of a ``.npy`` file."""


@final
class NumpyReader(Reader):
    """``.npy`` and ``.npz`` files, never unpickled."""

    def read(self, path: Path, names: Sequence[str]) -> Mapping[str, Column]:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                with loaded:
                    return {name: _column(loaded, loaded.files, name) for name in names}
        if loaded.dtype.names is not None:
            return {name: _column(loaded, loaded.dtype.names, name) for name in names}
        return {name: _column({WHOLE: loaded}, (WHOLE,), name) for name in names}


def _column(arrays: Any, known: Sequence[str], name: str) -> np.ndarray:
    base, index = (name, None) if name in known else indexed(name)
    if base not in known:
        raise DataError(f"no array {base!r}; {there(known)}")
    return numbers(entry(arrays[base], index, name), name)
