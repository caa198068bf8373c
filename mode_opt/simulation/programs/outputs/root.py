"""Trees of ROOT files, by room ``data``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

from mode_opt.data import Ragged, RootReader
from mode_opt.errors import DataError
from mode_opt.simulation.programs.outputs.columns import Column, Jagged, Reader, numbers


@final
class RootTreeReader(Reader):
    """Branches of a TTree or RNTuple, jagged or of fixed size, and expressions over them.

    Args:
        tree: its name; not needed if a file has only one.
    """

    def __init__(self, tree: str | None = None) -> None:
        self.tree = tree

    def read(self, path: Path, names: Sequence[str]) -> Mapping[str, Column]:
        if not path.stat().st_size:
            raise DataError("empty")
        branches = {f"c{k}": name for k, name in enumerate(names)}
        reader = RootReader({str(path): self.tree or ""}, branches, tree=self.tree, allow_non_finite=True)
        columns = reader.read()
        return {name: _column(columns[key], name) for key, name in branches.items()}


def _column(column: object, name: str) -> Column:
    if isinstance(column, Ragged):
        if column.values.ndim != 1:
            raise DataError(f"{name} is a list of lists; expected a number or a list of numbers per event")
        return Jagged(numbers(column.values.numpy(), name), column.counts.numpy())
    return numbers(column.numpy(), name)  # type: ignore[attr-defined]
