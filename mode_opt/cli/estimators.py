"""The gradient estimators and searches that a command compares, from names and options."""

from collections.abc import Callable, Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf

from mode_opt.cli.compose import choices, option
from mode_opt.errors import ConfigurationError
from mode_opt.gradients import DesignSearch, GradientEstimator

ALIAS = "auto"
"""Stands for one of the others, and is therefore not compared unless it is asked for."""
GROUPS = ("surrogate",)
"""Options whose value may be the name of a file of the group of that name."""


def pure_search(kind: Any) -> bool:
    """Whether a class moves the design itself and leaves no derivative that could be compared."""
    return isinstance(kind, type) and issubclass(kind, DesignSearch) and not issubclass(kind, GradientEstimator)


def any_search(kind: Any) -> bool:
    """Whether a class moves the design itself."""
    return isinstance(kind, type) and issubclass(kind, DesignSearch)


def nodes(configuration: DictConfig, unless_asked: Callable[[Any], bool]) -> dict[str, DictConfig]:
    """Configuration of each method by the name it is shown with, while a task of `launched` runs.

    ``gradients`` is a list of names of files in ``gradient/``, or of ``{name: {option: value}}``; of null, a
    method that was chosen with ``gradient=NAME`` is taken alone, else all there are but those whose class is
    left out ``unless_asked`` for by name.

    Raises:
        ConfigurationError: for something else, an unknown name or option, or the same estimator twice.
    """
    asked = configuration.gradients
    if asked is None:
        picked = str(HydraConfig.get().runtime.choices.get("gradient", ALIAS))
        if picked != ALIAS:
            return {picked: configuration.gradient}
        found = {name: option("gradient", name) for name in choices("gradient") if name != ALIAS}
        return {name: node for name, node in found.items() if not unless_asked(_class(node))}
    found = {}
    for entry in asked if isinstance(asked, ListConfig) else [asked]:
        label, node = _entry(entry)
        if label in found:
            raise ConfigurationError("gradients", label, "each estimator once")
        found[label] = node
    if not found:
        raise ConfigurationError("gradients", [], "at least one estimator, or null")
    return found


def chosen(configuration: DictConfig, node: DictConfig) -> DictConfig:
    """The configuration of a single run with this method, which may refer to other keys of it (``${surrogate}``)."""
    content: dict[str, Any] = {str(k): v for k, v in configuration.items() if k not in ("gradients", "seeds")}
    return OmegaConf.create({**content, "gradient": node})


def _class(node: DictConfig) -> Any:
    """What a node builds; None if it cannot be imported, which is reported where it is built."""
    try:
        return get_object(str(node.get("_target_")))
    except Exception:
        return None


def _entry(entry: Any) -> tuple[str, DictConfig]:
    if isinstance(entry, str):
        return entry, option("gradient", entry)
    if not isinstance(entry, Mapping) or len(entry) != 1 or not isinstance(next(iter(entry.values())), Mapping):
        raise ConfigurationError("gradients", str(entry), "names, or {name: {option: value}}")
    ((name, options),) = entry.items()
    files = {key: option(key, value) for key, value in options.items() if key in GROUPS and isinstance(value, str)}
    node = OmegaConf.merge(option("gradient", str(name)), {**options, **files})
    if not isinstance(node, DictConfig):
        raise ConfigurationError("gradients", str(entry), "names, or {name: {option: value}}")
    words = ",".join(str(value) if key in files else f"{key}={value}" for key, value in options.items())
    return f"{name}({words})" if words else str(name), node
