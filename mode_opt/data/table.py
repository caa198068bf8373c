"""TTrees and RNTuples, opened and seen alike: names of branches, number of entries, chunks of arrays."""

import difflib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from mode_opt.data.expressions import flat
from mode_opt.data.files import Location
from mode_opt.errors import DataError

# A chunk of this many bytes is past the fixed cost of a read and far below a worker's memory.
CHUNK_BYTES = 16_000_000
CHUNK_ENTRIES = (500, 200_000)


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Any failure of the ROOT library as one sentence; a broken file fails in a dozen ways there."""
    try:
        yield
    except DataError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        message = f"{what} cannot be read; the file may be damaged ({type(error).__name__}: {reason})"
        raise DataError(message) from error


@contextmanager
def open_table(location: Location) -> Iterator["Table"]:
    """The tree of a file, closed on leaving.

    Raises:
        DataError: if the file cannot be read or has no such tree; says which trees it has.
    """
    import uproot

    _check_length(location.path)
    with _reading(f"{location.path}:"):
        # The cache keeps the clusters that two chunks of an RNTuple share; the default of 100 MB is generous.
        file = uproot.open(location.path, array_cache="50 MB")
    with file:
        with _reading(f"{location.path}:"):
            table = Table(_tree_of(file, location), location.path)
        yield table


def _check_length(path: str) -> None:
    """Compare length and stated end of a local file: a copy cut short may read in part without complaint."""
    if "://" in path:
        return
    with Path(path).open("rb") as file:
        header = file.read(20)
    length = Path(path).stat().st_size
    if len(header) < 20 or header[:4] != b"root":
        raise DataError(f"{path}: not a ROOT file ({length} bytes, beginning with {header[:4]!r})")
    # TFile header: fVersion at byte 4, fEND at byte 12, which has 8 bytes in large files.
    large = int.from_bytes(header[4:8], "big") >= 1_000_000
    end = int.from_bytes(header[12:20] if large else header[12:16], "big")
    if length < end:
        raise DataError(f"{path}: truncated, {length} of {end} bytes are there; copy or write the file again")


def _tree_of(file: Any, location: Location) -> Any:
    classes = {name.split(";")[0]: kind for name, kind in file.classnames(recursive=True).items()}
    trees = [name for name, kind in classes.items() if kind in ("TTree", "ROOT::RNTuple", "TNtuple", "TNtupleD")]
    if location.tree is None and len(trees) == 1:
        return file[trees[0]]
    if location.tree is not None and location.tree.split(";")[0] in trees:
        return file[location.tree]
    if not trees:
        raise DataError(f"{location.path}: holds no tree; there are {', '.join(classes) or 'no objects at all'}")
    there = f"trees there: {', '.join(trees)}"
    if location.tree is None:
        raise DataError(f"{location.path}: which tree? Give its name as 'file.root:tree' or tree=...; {there}")
    if location.tree in classes:
        raise DataError(f"{location.path}: {location.tree!r} is a {classes[location.tree]}, not a tree; {there}")
    raise DataError(f"{location.path}: no tree {location.tree!r}; {there}")


@final
class Table:
    """An open TTree or RNTuple.

    Args:
        tree: the object that uproot gives.
        path: its file, for messages.
    """

    def __init__(self, tree: Any, path: str) -> None:
        self._tree = tree
        self._is_ttree = hasattr(tree, "num_baskets") or hasattr(tree, "branches")
        self.path = path
        self.name = str(tree.name)
        # Trees written by old versions of ROOT hold the number of entries as a float.
        self.entries = int(tree.num_entries)
        self.names: frozenset[str] = frozenset(tree.keys()) | self._short_names()
        self.aliases: dict[str, str] = dict(tree.aliases) if self._is_ttree else {}

    def _short_names(self) -> frozenset[str]:
        return frozenset(self._tree.keys(full_paths=False)) if self._is_ttree else frozenset()

    def require(self, names: Collection[str], hints: Collection[str], wanted_by: str) -> None:
        """Check that these branches exist.

        Args:
            names: of branches.
            hints: further names that could have been meant.
            wanted_by: what needs them, for the message.

        Raises:
            DataError: for the first that does not, with the nearest names that do.
        """
        for name in names:
            if name not in self.names:
                raise DataError(
                    f"{self.path}: no branch {name!r} in tree {self.name!r} (needed by {wanted_by}); "
                    + _instead(name, sorted({*self.names, *hints}))
                )

    def chunk_entries(self, names: Sequence[str]) -> int:
        """Entries of these branches that make a chunk of about `CHUNK_BYTES`."""
        sizes = [float(getattr(self._tree[name], "uncompressed_bytes", 0) or 0) for name in names]
        # Very old files and RNTuples do not say: a few numbers per branch are a fair guess.
        per_entry = sum(size / max(self.entries, 1) if size else 32.0 for size in sizes)
        low, high = CHUNK_ENTRIES
        return int(min(max(CHUNK_BYTES / max(per_entry, 1.0), low), high))

    def chunks(
        self,
        names: Sequence[str],
        start: int,
        stop: int,
        step: int,
        executor: ThreadPoolExecutor | None = None,
    ) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """First and last-plus-one entry and the arrays of each chunk of ``step`` entries."""
        what = f"{self.path}: entries {start} to {stop} of {', '.join(names)} in tree {self.name!r}"
        with _reading(what):
            pieces = (self._ttree_pieces if self._is_ttree else self._rntuple_pieces)(
                names, start, stop, step, executor
            )
        for first in range(start, stop, step):
            last = min(first + step, stop)
            with _reading(what):
                arrays = {name: flat(array) for name, array in next(pieces).items()}
                short = [name for name, array in arrays.items() if len(array) != last - first]
            if short:
                raise DataError(f"{what}: {short[0]!r} has {len(arrays[short[0]])} entries of {last - first}")
            yield first, last, arrays

    def _ttree_pieces(
        self, names: Sequence[str], start: int, stop: int, step: int, executor: ThreadPoolExecutor | None
    ) -> Iterator[dict[str, Any]]:
        # iterate, not arrays in a loop: it keeps the basket that two chunks share.
        return self._tree.iterate(
            list(names),
            entry_start=start,
            entry_stop=stop,
            step_size=step,
            library="ak",
            how=dict,
            decompression_executor=executor,
            interpretation_executor=executor,
        )

    def _rntuple_pieces(
        self, names: Sequence[str], start: int, stop: int, step: int, executor: ThreadPoolExecutor | None
    ) -> Iterator[dict[str, Any]]:
        for first in range(start, stop, step):
            last = min(first + step, stop)
            yield {name: self._tree[name].array(entry_start=first, entry_stop=last) for name in names}


def _instead(name: str, there: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, there, n=3, cutoff=0.5)
    if not near:
        folded = {each.lower(): each for each in there}
        near = [folded[low] for low in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"there are {', '.join(there[:30])}{', ...' if len(there) > 30 else ''}"
