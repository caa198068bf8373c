"""Which files and trees are meant: paths, globs, lists, ``file.root:tree`` and mappings."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import TypeAlias

from mode_opt.errors import ConfigurationError, DataError

Files: TypeAlias = str | Path | Sequence[str | Path] | Mapping[str, str]

_FILE_AND_TREE = re.compile(r"^(?P<path>.+?\.root):(?P<tree>[^:]+)$")


@dataclass(frozen=True)
class Location:
    """A tree in a file.

    Attributes:
        path: local path or URL.
        tree: name of the TTree or RNTuple, None for the only one in the file.
    """

    path: str
    tree: str | None = None


def locate(files: Files, tree: str | None = None) -> tuple[Location, ...]:
    """The trees that ``files`` names, in the order given; files of one glob are sorted.

    Args:
        files: path, glob (``**`` descends), ``file.root:tree``, a list of these, or a mapping from any of
            them to the tree's name. URLs (``root://``, ``https://``) are passed on as they are.
        tree: name of the tree where ``files`` gives none.

    Raises:
        DataError: if a file does not exist, a glob matches nothing, or a tree is named twice.
        ConfigurationError: if ``files`` is nothing of the kind.
    """
    found: list[Location] = []
    for text, name in _entries(files):
        path, own = _split(text)
        found.extend(Location(each, name or own or tree) for each in _expand(path))
    if not found:
        raise ConfigurationError("files", files, "at least one ROOT file")
    for location in found:
        if found.count(location) > 1:
            raise DataError(f"{location.path}: named twice in files; its events would be counted twice")
    return tuple(found)


def _entries(files: Files) -> Iterable[tuple[str, str | None]]:
    if isinstance(files, str | Path):
        return [(str(files), None)]
    if isinstance(files, Mapping):
        return [(str(path), name) for path, name in files.items()]
    if isinstance(files, Sequence):
        return [(str(path), None) for path in files]
    raise ConfigurationError("files", files, "a path, a glob, a list of them, or a mapping from file to tree")


def _split(text: str) -> tuple[str, str | None]:
    match = None if "://" not in text and Path(text).exists() else _FILE_AND_TREE.match(text)
    return (match["path"], match["tree"]) if match else (text, None)


def _expand(path: str) -> list[str]:
    if "://" in path or Path(path).is_file():
        return [path]
    if has_magic(path):
        matches = sorted(match for match in glob(path, recursive=True) if Path(match).is_file())  # noqa: PTH207 (absolute patterns)
        if matches:
            return matches
        raise DataError(f"{path}: no file matches this pattern")
    if Path(path).is_dir():
        raise DataError(f"{path}: is a folder; expected a ROOT file or a pattern such as {path.rstrip('/')}/*.root")
    folder = Path(path).parent
    there = sorted(each.name for each in folder.glob("*.root"))[:10] if folder.is_dir() else []
    raise DataError(f"{path}: no such file; ROOT files in {folder}: {', '.join(there) or 'none'}")
