"""Finding detectors: those of installed packages (entry points) and those in folders a user names."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

GROUP = "mode_opt.detectors"


@dataclass(frozen=True)
class Source:
    """A package or folder that brings detectors.

    Attributes:
        name: of the entry point or folder.
        folder: that holds ``conf/detector/*.yaml``.
    """

    name: str
    folder: Path

    @property
    def configuration(self) -> Path:
        """Folder for Hydra's search path."""
        return self.folder / "conf"

    def files(self) -> list[Path]:
        """The YAML file of each detector."""
        return sorted((self.configuration / "detector").glob("*.yaml"))


def sources() -> Iterator[Source]:
    """Every source of detectors, without importing any.

    Folders come from the environment variable ``MODE_OPT_DETECTORS`` (set by ``--detectors``): each subfolder
    with ``conf/detector/`` is one, and the folder itself goes on the module search path, so that a file
    ``FOLDER/telescope/simulator.py`` is imported as ``telescope.simulator``.
    """
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        spec = find_spec(entry.module)
        for location in (spec.submodule_search_locations or []) if spec else []:
            yield Source(entry.name, Path(location))
    for folder in filter(None, os.environ.get("MODE_OPT_DETECTORS", "").split(os.pathsep)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
        for child in sorted(Path(folder).iterdir()):
            if (child / "conf" / "detector").is_dir():
                yield Source(child.name, child)
