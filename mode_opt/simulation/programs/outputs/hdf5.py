"""Data sets in HDF5 files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from mode_opt.errors import ConfigurationError, DataError
from mode_opt.simulation.programs.outputs.columns import Column, Jagged, Reader, entry, indexed, numbers, there


@final
class Hdf5Reader(Reader):
    """Data sets, fields of compound ones, and data sets of variable length."""

    def read(self, path: Path, names: Sequence[str]) -> Mapping[str, Column]:
        try:
            import h5py
        except ImportError as error:
            words = "a format that can be read here; HDF5 needs: pip install mode-opt[hdf5]"
            raise ConfigurationError("program.output.format", "hdf5", words) from error
        with h5py.File(path, "r") as file:
            return {name: _column(file, name) for name in names}


def _column(file: Any, name: str) -> Column:
    base, index = (name, None) if name in file else indexed(name)
    values = _values(file, base)
    if values.dtype != object:
        return numbers(entry(values, index, name), name)
    if values.ndim != 1 or index is not None or not all(isinstance(each, np.ndarray) for each in values):
        raise DataError(f"{name} holds {values.dtype} values of shape {values.shape}, not numbers or lists of them")
    flat = np.concatenate([*values, np.zeros(0)])
    return Jagged(numbers(flat, name), np.array([len(each) for each in values], np.int64))


def _values(file: Any, name: str) -> np.ndarray:
    """A data set, or a field of a compound one, by path."""
    found = file
    parts = name.strip("/").split("/")
    for k, part in enumerate(parts):
        if hasattr(found, "dtype"):
            if found.dtype.names is None or part not in found.dtype.names:
                raise DataError(f"{name!r}: {'/'.join(parts[:k])!r} has fields {found.dtype.names or 'none'}")
            found = found[part]
        elif part in found:
            found = found[part]
        else:
            raise DataError(f"no data set {name!r}; below {'/'.join(parts[:k]) or 'the top'} {there(found)}")
    if not hasattr(found, "dtype"):
        raise DataError(f"{name!r} is a group, not a data set; {there(found)}")
    return np.asarray(found[()] if hasattr(found, "id") else found)
