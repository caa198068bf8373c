"""The settings of a detector from its YAML file, for detectors that are built from Python too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mode_opt.errors import ConfigurationError


def detector_settings(file: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a detector's configuration file with these changes, mappings merged, without ``_target_``.

    Raises:
        ConfigurationError: for an entry that the file does not have.
    """
    from omegaconf import OmegaConf

    defaults = OmegaConf.load(file)
    for key in changes:
        if key not in defaults:
            raise ConfigurationError(f"detector.{key}", changes[key], f"one of the entries {', '.join(defaults)}")
    settings: Any = OmegaConf.to_container(OmegaConf.merge(defaults, dict(changes)), resolve=True)
    del settings["_target_"]
    return dict(settings)
