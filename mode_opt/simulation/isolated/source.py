"""Where a function comes from, found out without importing it: what it imports may crash, or take long."""

import hashlib
import symtable
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from mode_opt.errors import ConfigurationError

KEY = "program.function"


def name_of(function: str | Callable[..., Any]) -> str:
    """``package.module:name`` of a function or class.

    Raises:
        ConfigurationError: if another process cannot import it by that name, saying why.
    """
    if isinstance(function, str):
        module, _, name = function.partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
            raise ConfigurationError(KEY, function, "package.module:name")
        return function
    home, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if not isinstance(home, str) or not name:
        raise ConfigurationError(KEY, function, "a function or class with a name, or 'package.module:name'")
    if "<lambda>" in name or "<locals>" in name:
        kind = "a lambda" if "<lambda>" in name else "defined inside another function"
        reason = f"one at the top of a module: another process cannot import what is {kind}"
        raise ConfigurationError(KEY, name, reason)
    if home == "__main__":
        reason = "one of a module: another process cannot import what is in the script or notebook that runs"
        raise ConfigurationError(KEY, f"__main__:{name}", reason)
    found: Any = sys.modules.get(home)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not function:
        raise ConfigurationError(KEY, f"{home}:{name}", "the object that is imported by that name")
    return f"{home}:{name}"


def source_of(function: str, path: Sequence[str]) -> Path:
    """The file of the module of ``package.module:name``.

    Args:
        function: as `name_of` gives it.
        path: folders that are looked through first.

    Raises:
        ConfigurationError: if there is no such module, or its source has no such name.
    """
    module, _, name = function.partition(":")
    spec = _spec(module.split("."), path)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        where = f" (looked through {', '.join(path)} and sys.path)" if path else ""
        raise ConfigurationError(KEY, function, f"a module that can be imported{where}")
    file = Path(spec.origin)
    if file.suffix == ".py":
        _check(function, file, name.split(".")[0])
    return file


def _spec(parts: Sequence[str], path: Sequence[str]) -> ModuleSpec | None:
    """Of the last part; packages before it are looked into, but not imported."""
    spec = PathFinder.find_spec(parts[0], list(path)) or _found(parts[0], None)
    for number in range(1, len(parts)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        folders = list(spec.submodule_search_locations)
        # By its last name alone: a namespace package would otherwise look for its parent among imported modules.
        spec = PathFinder.find_spec(parts[number], folders) or _found(".".join(parts[: number + 1]), folders)
    return spec


def _found(name: str, path: list[str] | None) -> ModuleSpec | None:
    """As ``import`` finds it: finders of editable installations included."""
    specs = (finder.find_spec(name, path) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


def _check(function: str, file: Path, name: str) -> None:
    try:
        text = file.read_text(encoding="utf-8")
        known = symtable.symtable(text, str(file), "exec").get_identifiers()
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ConfigurationError(KEY, function, f"a module that Python can read ({file}: {error})") from error
    if name not in known and "import *" not in text and "__getattr__" not in known:
        raise ConfigurationError(KEY, function, f"a name in {file}")


def checksums(files: Iterable[Path], key: str) -> list[list[str]]:
    """Name and SHA-256 of each file; the folders they lie in do not count.

    Raises:
        ConfigurationError: if one cannot be read.
    """
    found = []
    for file in files:
        try:
            found.append([file.name, hashlib.sha256(file.read_bytes()).hexdigest()])
        except OSError as error:
            raise ConfigurationError(key, str(file), f"a file that can be read ({error.strerror})") from error
    return found
