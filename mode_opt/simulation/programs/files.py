"""The files that a program consists of, and whether they are still the same."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

from mode_opt.errors import ConfigurationError

Stamp = tuple[int, int, int]


@final
class Files:
    """Files in a folder, named by their content.

    Args:
        folder: in which they lie.
        names: relative to it.

    Raises:
        ConfigurationError: if one is missing or lies outside of the folder.
    """

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self.folder = folder
        self.checksums: dict[str, str] = {}
        self._stamps: dict[str, Stamp] = {}
        for name in sorted(set(names)):
            relative("program.files", name)
            self._stamps[name], self.checksums[name] = self._look(name)

    def unchanged(self) -> None:
        """Check that the files are still those that this was made from; cheap.

        Raises:
            ConfigurationError: if one has another content now.
        """
        for name, stamp in self._stamps.items():
            if _stamp(self.folder / name) == stamp:
                continue
            self._stamps[name], checksum = self._look(name)
            if checksum != self.checksums[name]:
                path = str(self.folder / name)
                raise ConfigurationError("program.files", path, "a file that stays as it is while jobs run; start anew")

    def compare(self, fingerprint: Mapping[str, Any]) -> None:
        """Check against stored checksums.

        Raises:
            ConfigurationError: if a file differs; names it.
        """
        names = sorted({*fingerprint, *self.checksums})
        other = [name for name in names if fingerprint.get(name) != self.checksums.get(name)]
        if other:
            words = "the files that the stored simulator was made of; theirs have other contents now"
            raise ConfigurationError("program.fingerprint", f"{', '.join(other)} in {self.folder}", words)

    def _look(self, name: str) -> tuple[Stamp, str]:
        path = self.folder / name
        try:
            with path.open("rb") as file:
                return _stamp(path), hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            words = f"a file of the program that can be read ({error.strerror})"
            raise ConfigurationError("program.files", str(path), words) from error


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return found.st_mtime_ns, found.st_size, found.st_ino


def relative(key: str, name: Any) -> str:
    """The name of a file below a folder.

    Raises:
        ConfigurationError: if it is none, or leads out of the folder.
    """
    if not isinstance(name, str) or not name or Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise ConfigurationError(key, name, "the name of a file, relative to its folder and without '..'")
    return name
