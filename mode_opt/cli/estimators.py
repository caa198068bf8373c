"""The gradient estimators that a command compares, from names and options."""

from collections.abc import Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf

from mode_opt.cli.compose import choices, option
from mode_opt.errors import ConfigurationError

ALIAS = "auto"
"""Stands for one of the others, and is therefore not compared unless it is asked for."""


def nodes(configuration: DictConfig) -> dict[str, DictConfig]:
    """Configuration of each estimator by the name it is shown with, while a task of `launched` runs.

    ``gradients`` is a list of names of files in ``gradient/``, or of ``{name: {option: value}}``; of null, an
    estimator that was chosen with ``gradient=NAME`` is taken alone, else all there are.

    Raises:
        ConfigurationError: for something else, an unknown name or option, or the same estimator twice.
    """
    asked = configuration.gradients
    if asked is None:
        picked = str(HydraConfig.get().runtime.choices.get("gradient", ALIAS))
        if picked != ALIAS:
            return {picked: configuration.gradient}
        return {name: option("gradient", name) for name in choices("gradient") if name != ALIAS}
    found: dict[str, DictConfig] = {}
    for entry in asked if isinstance(asked, ListConfig) else [asked]:
        label, node = _entry(entry)
        if label in found:
            raise ConfigurationError("gradients", label, "each estimator once")
        found[label] = node
    if not found:
        raise ConfigurationError("gradients", [], "at least one estimator, or null")
    return found


def _entry(entry: Any) -> tuple[str, DictConfig]:
    if isinstance(entry, str):
        return entry, option("gradient", entry)
    if not isinstance(entry, Mapping) or len(entry) != 1 or not isinstance(next(iter(entry.values())), Mapping):
        raise ConfigurationError("gradients", str(entry), "names, or {name: {option: value}}")
    ((name, options),) = entry.items()
    node = OmegaConf.merge(option("gradient", str(name)), options)
    if not isinstance(node, DictConfig):
        raise ConfigurationError("gradients", str(entry), "names, or {name: {option: value}}")
    words = ",".join(f"{key}={value}" for key, value in options.items())
    return f"{name}({words})" if words else str(name), node
