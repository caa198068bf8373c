"""Reading TTrees and RNTuples into tensors, chunk by chunk."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias, final

import numpy as np
import torch

from mode_opt.data.columns import Columns
from mode_opt.data.evaluation import Chunk, needed
from mode_opt.data.expressions import Expression
from mode_opt.data.files import Files, Location, locate
from mode_opt.data.selection import Selection, first_of_each
from mode_opt.data.table import Table, open_table
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.units import parse_unit


@dataclass(frozen=True)
class Branch:
    """A column to read.

    Attributes:
        expression: over the branches of the file, as uproot users write it.
        unit: in which the file holds it; converted to mm, MeV, ns, tesla, radians. None: taken as it is.
    """

    expression: str
    unit: str | None = None


Branches: TypeAlias = Mapping[str, "str | Branch | Mapping[str, str | None]"] | Sequence[str]


@final
class RootReader:
    """Columns of the trees of one or more ROOT files, as tensors in field units.

    Expressions, aliases and cut mean the same for TTrees and RNTuples: they are evaluated here, over whole
    branches, in the syntax of uproot, in the units of the file. Cuts, splits and `unique` give another
    reader; entries are numbered over all files in order, before all cuts. A reader holds no open file and can
    be sent to workers.

    Args:
        files: path, glob, ``file.root:tree``, list of these, or mapping from file to tree.
        branches: our name and expression (or `Branch`, or its fields as a mapping); a list of names means
            themselves.
        tree: name of the tree where ``files`` does not say; not needed if a file has only one.
        aliases: names for expressions, usable in expressions, other aliases and the cut.
        cut: condition per entry, e.g. ``(NMuon == 2) & (MET > 20)``.
        chunk_entries: entries read at a time; by default about 16 MB worth, 500 to 200 000.
        threads: decompress TTree baskets with so many threads; 0 for none.
        allow_non_finite: let NaN and infinity through instead of raising.

    Raises:
        DataError: if a file, tree or branch is missing or broken; says what is there instead.
        ConfigurationError: if an expression or a unit cannot be understood.
    """

    def __init__(
        self,
        files: Files,
        branches: Branches,
        *,
        tree: str | None = None,
        aliases: Mapping[str, str] | None = None,
        cut: str | None = None,
        chunk_entries: int | None = None,
        threads: int = 0,
        allow_non_finite: bool = False,
    ) -> None:
        if chunk_entries is not None and chunk_entries < 1:
            raise ConfigurationError("chunk_entries", chunk_entries, "at least 1")
        self.branches = _branches(branches)
        self.aliases = dict(aliases or {})
        self.cut = None if cut is None else Expression(cut, "cut")
        self.chunk_entries = chunk_entries
        self.threads = threads
        self._finite = not allow_non_finite
        self._columns = {
            name: (
                Expression(branch.expression, f"branches.{name}"),
                parse_unit(branch.unit or "", f"branches.{name}.unit").factor,
            )
            for name, branch in self.branches.items()
        }
        self._locations = locate(files, tree)
        self._selection = Selection()
        self._counts: list[int] = []
        self._trees: list[str] = []
        # The first file at once: a wrong name fails before any work. The others when entries are counted.
        self._count_entries(self._locations[:1])

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files, in order."""
        return tuple(location.path for location in self._locations)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.branches)

    @property
    def entries(self) -> int:
        """Entries in the range of this reader, before cuts; looks into every file once.

        Raises:
            DataError: if all trees are empty.
        """
        start, stop = self._selection.bounds(sum(self._file_entries()))
        return stop - start

    def read(self) -> Columns:
        """Everything at once.

        Raises:
            DataError: if nothing passes the cut, or as `chunks`.
        """
        parts = list(self.chunks())
        return Columns.cat(parts) if parts else self._nothing()

    def chunks(self) -> Iterator[Columns]:
        """Columns chunk by chunk: memory does not grow with the files. Chunks differ in size after cuts.

        Raises:
            DataError: if a file is broken, a branch is missing, holds no numbers or NaN, or nothing passes
                the cut.
        """
        found = False
        for chunk, offset in self._selected(list(self._columns.values())):
            found = True
            values = {
                name: chunk.column(expression, factor, self._finite)
                for name, (expression, factor) in self._columns.items()
            }
            yield Columns(values, torch.from_numpy(chunk.entry + offset))
        if not found and not self._selection.part:
            self._nothing()

    def batches(self, size: int, drop_last: bool = False) -> Iterator[Columns]:
        """Columns of ``size`` entries each (the last one may be smaller, or is dropped)."""
        if size < 1:
            raise ConfigurationError("batch_size", size, "at least 1")
        waiting: list[Columns] = []
        for chunk in self.chunks():
            waiting.append(chunk)
            if sum(map(len, waiting)) < size:
                continue
            joined = Columns.cat(waiting)
            full = len(joined) - len(joined) % size
            for start in range(0, full, size):
                yield joined.rows(start, start + size)
            # A copy: a view of the rest would keep the whole chunk.
            waiting = [joined.rows(full, len(joined)).clone()] if full < len(joined) else []
        if waiting and not drop_last:
            yield Columns.cat(waiting)

    def shard(self, index: int, of: int) -> Self:
        """The ``index``-th of ``of`` contiguous shares of the entries, it may be empty."""
        if not 0 <= index < of:
            raise ConfigurationError("shard", (index, of), "0 <= index < of")
        return self._with(self._selection.share(index, of, sum(self._file_entries())))

    def split(self, test: float = 0.1, by: Sequence[str] | None = None, seed: int = 0) -> tuple[Self, Self]:
        """Readers for training and testing, without a common entry.

        Args:
            test: fraction for testing.
            by: names of columns, or expressions: entries with the same values go to the same side, by a hash,
                so that the fraction holds on average over the groups. None: the last entries are for testing.
            seed: another one gives another split by hash.

        Returns:
            (training, testing).
        """
        if not 0.0 < test < 1.0:
            raise ConfigurationError("split.test", test, "a fraction between 0 and 1")
        if by is None:
            sides = self._selection.divide(test, sum(self._file_entries()))
        else:
            sides = self._selection.divide_by(self._keys(by, "split.by"), test, seed)
        return self._with(sides[0]), self._with(sides[1])

    def unique(self, by: Sequence[str]) -> Self:
        """A reader of the first entry (of those that pass) with each combination of the values of ``by``.

        Reads these columns of all files once; keeps one byte per entry.
        """
        keys = self._keys(by, "unique.by")
        found: list[list[np.ndarray]] = []
        entries: list[np.ndarray] = []
        for chunk, offset in self._selected([(key, 1.0) for key in keys]):
            found.append(chunk.keys(keys))
            entries.append(chunk.entry + offset)
        keep = np.zeros(sum(self._file_entries()), dtype=np.bool_)
        if found:
            columns = [np.concatenate(column) for column in zip(*found, strict=True)]
            keep[np.concatenate(entries)[first_of_each(columns)]] = True
        return self._with(replace(self._selection, keep=keep))

    def _with(self, selection: Selection) -> Self:
        other = copy.copy(self)
        other._selection = selection
        return other

    def _keys(self, by: Sequence[str], key: str) -> tuple[Expression, ...]:
        if isinstance(by, str) or not by:
            raise ConfigurationError(key, by, "a list of names of columns or expressions")
        keys = tuple(self._columns[name][0] if name in self._columns else Expression(name, key) for name in by)
        with open_table(self._locations[0]) as table:
            self._needed(table, keys)
        return keys

    def _file_entries(self) -> tuple[int, ...]:
        """Entries of each file, in order."""
        self._count_entries(self._locations[len(self._counts) :])
        if not sum(self._counts):
            trees = ", ".join(f"{path}: tree {name!r}" for path, name in zip(self.files, self._trees, strict=True))
            raise DataError(f"{trees}: no entries; expected at least one event")
        return tuple(self._counts)

    def _count_entries(self, locations: Sequence[Location]) -> None:
        for location in locations:
            with open_table(location) as table:
                self._check(table)
                self._counts.append(table.entries)
                self._trees.append(table.name)

    def _check(self, table: Table) -> None:
        for name in self.aliases:
            if name in table.names:
                raise ConfigurationError(
                    f"aliases.{name}", self.aliases[name], f"a name that is no branch of {table.path}"
                )
        self._needed(table, [expression for expression, _ in self._columns.values()])

    def _needed(self, table: Table, expressions: Sequence[Expression]) -> list[str]:
        """Branches that these expressions, the cut and the splits need, all of which exist."""
        aliases = {**table.aliases, **self.aliases}
        everything = [*expressions, *([self.cut] if self.cut else [])]
        everything += [key for side in self._selection.sides for key in side.keys]
        names: dict[str, None] = {}
        for expression in everything:
            branches = needed(expression, table, aliases)
            table.require(branches, aliases, f"{expression.key}: {expression.text!r}")
            names.update(dict.fromkeys(branches))
        if not names:
            raise ConfigurationError("branches", dict(self.branches), "at least one that reads a branch of the file")
        return list(names)

    def _selected(self, columns: Sequence[tuple[Expression, float]]) -> Iterator[tuple[Chunk, int]]:
        """Chunks that hold entries after all cuts, and the number of the first entry of their file."""
        start, stop = self._selection.bounds(sum(self._file_entries()))
        offset = 0
        workers: Any = ThreadPoolExecutor(self.threads) if self.threads else nullcontext()
        with workers as executor:
            for location, count in zip(self._locations, self._file_entries(), strict=True):
                first, last = max(start - offset, 0), min(stop - offset, count)
                if first < last:
                    for chunk in self._file_chunks(location, columns, first, last, executor):
                        chunk = self._cut(chunk, offset)
                        if len(chunk):
                            yield chunk, offset
                offset += count

    def _file_chunks(
        self,
        location: Location,
        columns: Sequence[tuple[Expression, float]],
        first: int,
        last: int,
        executor: Any,
    ) -> Iterator[Chunk]:
        with open_table(location) as table:
            names = self._needed(table, [expression for expression, _ in columns])
            aliases = {**table.aliases, **self.aliases}
            step = self.chunk_entries or table.chunk_entries(names)
            for begin, end, arrays in table.chunks(names, first, last, step, executor):
                yield Chunk(arrays, np.arange(begin, end), aliases, f"{table.path}: tree {table.name!r}")

    def _cut(self, chunk: Chunk, offset: int) -> Chunk:
        if self._selection.keep is not None:
            chunk = chunk.select(self._selection.keep[chunk.entry + offset])
        if self.cut is not None and len(chunk):
            chunk = chunk.select(chunk.passes(self.cut))
        for side in self._selection.sides:
            if len(chunk):
                chunk = chunk.select(side.keeps(chunk.keys(side.keys)))
        return chunk

    def _nothing(self) -> Columns:
        conditions = [f"cut {self.cut.text!r}"] if self.cut else []
        conditions += [f"split by {', '.join(key.text for key in side.keys)}" for side in self._selection.sides]
        files = ", ".join(self.files[:3]) + (", ..." if len(self.files) > 3 else "")
        what = f"{files}: 0 of {self.entries} entries pass {' and '.join(conditions) or 'the selection'}"
        raise DataError(f"{what}; expected at least one")


def _branches(branches: Branches) -> dict[str, Branch]:
    if isinstance(branches, str) or not branches:
        raise ConfigurationError("branches", branches, "a mapping from our name to an expression, or a list of names")
    if not isinstance(branches, Mapping):
        return {name: Branch(name) for name in branches}
    return {name: _branch(name, value) for name, value in branches.items()}


def _branch(name: str, value: Any) -> Branch:
    if isinstance(value, Branch):
        return value
    if isinstance(value, str):
        return Branch(value)
    if isinstance(value, Mapping) and "expression" in value and set(value) <= {"expression", "unit"}:
        return Branch(value["expression"], value.get("unit"))
    raise ConfigurationError(f"branches.{name}", value, "an expression, or a mapping of expression and unit")
