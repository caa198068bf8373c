"""Configurations: where Hydra looks, and how objects are made of what it finds."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_module
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from mode_opt.cli.discovery import sources
from mode_opt.errors import ConfigurationError


class DetectorSearchPath(SearchPathPlugin):
    """Adds the ``conf/`` of every detector to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for source in sources():
            search_path.append(provider=f"detector {source.name}", path=f"file://{source.configuration}")


def register() -> None:
    """Make detectors known to Hydra, and their folders to configurations; called by each command before it composes."""
    Plugins.instance().register(DetectorSearchPath)
    OmegaConf.register_new_resolver("folder_of", folder_of, replace=True)


def folder_of(name: str) -> str:
    """The folder of a source of detectors: ``${folder_of:external_example}`` in their configuration.

    Raises:
        ConfigurationError: if there is none of that name.
    """
    found = {source.name: source.folder for source in sources()}
    if name not in found:
        raise ConfigurationError("folder_of", name, f"one of {', '.join(found)}")
    return str(found[name])


# Keys that a specification may or may not have: Hydra takes them only as additions. A parameter that does not exist
# is still refused, for it would have no start value.
_ADDED = re.compile(
    r"design\.\w|prices\.\w|macro\.parameters\.\w|detector\.design\.parameters\.\w+\.(grid|size|free|when|scale|kind)="
)


def normalised(arguments: list[str]) -> list[str]:
    """Arguments as Hydra takes them: options first, keys that may be missing as additions (``++``)."""
    overrides = [word for word in arguments if "=" in word and not word.startswith("-")]
    options = [word for word in arguments if word not in overrides]
    return options + ["++" + word if _ADDED.match(word) else word for word in overrides]


def composed(overrides: list[str], name: str = "config") -> DictConfig:
    """The configuration outside a run: overrides as on the command line."""
    register()
    with initialize_config_module("mode_opt.conf", version_base="1.3"):
        return compose(name, normalised(overrides))


def launched(task: Callable[[DictConfig], Any], command: str, name: str, arguments: list[str]) -> None:
    """Run a task with a configuration in a run directory made by Hydra, whose own options work, too.

    Args:
        task: called with the configuration.
        command: the subcommand, for Hydra's help.
        name: of the primary configuration.
        arguments: as on the command line.
    """
    register()
    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [f"mode-opt {command}", *normalised(arguments)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and the caller prints one line instead of a stack
    try:
        hydra.main(config_path="pkg://mode_opt.conf", config_name=name, version_base="1.3")(task)()
    finally:
        sys.argv = before[0]
        GlobalHydra.instance().clear()
        if before[1] is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)


def choices(group: str) -> list[str]:
    """The files of a configuration group, those of detectors of others included, while a task of `launched` runs."""
    return sorted(GlobalHydra.instance().config_loader().get_group_options(group))


def option(group: str, name: str) -> DictConfig:
    """One file of a group, as it stands, while a task of `launched` runs.

    Raises:
        ConfigurationError: if there is no such file.
    """
    if name not in choices(group):
        raise ConfigurationError(group, name, f"one of {', '.join(choices(group))}")
    node = compose(f"{group}/{name}")[group]
    if not isinstance(node, DictConfig):
        raise ConfigurationError(group, name, "a file with _target_")
    return node


def saved(directory: Path) -> DictConfig:
    """The configuration that a run was made with.

    Raises:
        ConfigurationError: if the folder is no run directory.
    """
    path = directory / ".hydra" / "config.yaml"
    if not path.is_file():
        raise ConfigurationError("run directory", str(directory), f"a folder with {path.relative_to(directory)}")
    register()
    for _ in sources():  # puts the folders of detectors on the module search path
        pass
    configuration = OmegaConf.load(path)
    if not isinstance(configuration, DictConfig):
        raise ConfigurationError("run directory", str(path), "a configuration")
    return configuration


def built(node: Any) -> Any:
    """Objects from a node with ``_target_``; plain lists and dicts inside; None from None."""
    return None if not node else instantiate(node, _convert_="all")


def overridden(configuration: DictConfig, overrides: list[str]) -> DictConfig:
    """Change values of a saved configuration, ``key=value``.

    Raises:
        ConfigurationError: for a key that it does not have.
    """
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or OmegaConf.select(configuration, key, default=configuration) is configuration:
            raise ConfigurationError("override", text, "key=value with a key of the saved configuration")
        if isinstance(OmegaConf.select(configuration, key), DictConfig):
            raise ConfigurationError("override", text, f"a single value such as {key}.NAME=VALUE, not a whole group")
        OmegaConf.update(configuration, key, _value(value))
    return configuration


def _value(text: str) -> Any:
    return OmegaConf.from_dotlist([f"value={text}"]).value
