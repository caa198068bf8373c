"""Columns of Parquet files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from mode_opt.errors import ConfigurationError, DataError
from mode_opt.simulation.programs.outputs.columns import Column, Jagged, Reader, numbers, there


@final
class ParquetReader(Reader):
    """Columns of numbers, lists of them, and fields of records and of lists of records."""

    def read(self, path: Path, names: Sequence[str]) -> Mapping[str, Column]:
        try:
            import pyarrow.parquet as parquet
        except ImportError as error:
            words = "a format that can be read here; Parquet needs: pip install mode-opt[parquet]"
            raise ConfigurationError("program.output.format", "parquet", words) from error
        with parquet.ParquetFile(path) as file:
            known = file.schema_arrow.names
            roots = {name: name if name in known else name.split(".")[0] for name in names}
            for name, root in roots.items():
                if root not in known:
                    raise DataError(f"no column {name!r}; {there(known)}")
            table = file.read(columns=list(dict.fromkeys(roots.values())), use_threads=False)
        return {name: _column(table[roots[name]], name, roots[name]) for name in names}


def _column(chunked: Any, name: str, root: str) -> Column:
    import pyarrow as pa

    array = pa.concat_arrays(chunked.chunks) if chunked.num_chunks else pa.array([], chunked.type)
    fields = name.removeprefix(root).strip(".").split(".") if name != root else []
    counts: np.ndarray | None = None
    while True:
        if array.null_count:
            raise DataError(f"{name} has {array.null_count} missing values")
        kind = array.type
        if pa.types.is_struct(kind) and fields:
            array = _field(array, fields.pop(0), name)
        elif (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and counts is None:
            counts, array = np.diff(array.offsets.to_numpy()).astype(np.int64), array.flatten()
        elif pa.types.is_fixed_size_list(kind) and counts is None and not fields:
            return _fixed(array.flatten(), len(array), kind.list_size, name)
        else:
            break
    if fields or pa.types.is_nested(array.type):
        raise DataError(f"{name} is of type {chunked.type}; expected a number or a list of numbers per event")
    values = numbers(array.to_numpy(zero_copy_only=False), name)
    return values if counts is None else Jagged(values, counts)


def _fixed(values: Any, rows: int, size: int, name: str) -> np.ndarray:
    if values.null_count:
        raise DataError(f"{name} has {values.null_count} missing values")
    return numbers(values.to_numpy(zero_copy_only=False).reshape(rows, size), name)


def _field(array: Any, field: str, name: str) -> Any:
    known = [array.type.field(k).name for k in range(array.type.num_fields)]
    if field not in known:
        raise DataError(f"{name}: no field {field!r}; {there(known)}")
    return array.field(field)
