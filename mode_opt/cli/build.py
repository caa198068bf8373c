"""From a configuration to detector, experiment and settings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from mode_opt.cli.compose import built
from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Detector, Experiment, GradientCheck
from mode_opt.experiment.detector import Progress
from mode_opt.gradients import Automatic
from mode_opt.training.job import Settings


def detector_of(configuration: DictConfig) -> Detector:
    """The detector, with the start values of ``design``.

    Raises:
        ConfigurationError: if the configuration does not describe a detector or a value does not fit.
    """
    detector = built(configuration.detector)
    if not isinstance(detector, Detector):
        raise ConfigurationError("detector._target_", type(detector).__name__, "something that returns a Detector")
    values = start_values(configuration.design)
    if values:
        detector.design.assign(values)
    return detector


def start_values(node: Any) -> dict[str, Any]:
    """Start values from a mapping, or the final design from a run directory (or its ``result.json``)."""
    if not isinstance(node, str):
        return {} if node is None else dict(OmegaConf.to_container(node, resolve=True))  # type: ignore[arg-type]
    path = Path(node) / "result.json" if Path(node).is_dir() else Path(node)
    try:
        entries = json.loads(path.read_text())["design"]
        return {name: _with_unit(entry["final"], entry["unit"]) for name, entry in entries.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError("design", node, f"values by name, or a run with a final design ({error!r})") from error


def _with_unit(value: Any, unit: str | None) -> Any:
    """The value with its unit, because another configuration may declare another one."""
    if isinstance(value, list):
        return [_with_unit(item, unit) for item in value]
    return f"{value!r} {unit}" if isinstance(value, float) and unit else value


def experiment_of(
    configuration: DictConfig, detector: Detector, progress: Progress = lambda what, fraction: None
) -> Experiment:
    """The experiment; weights of the reconstruction depend on the seed alone.

    Raises:
        ConfigurationError: if parts do not fit each other; simulator and estimator are checked before either
            is trained or run.
    """
    if configuration.threads is not None:
        torch.set_num_threads(configuration.threads)
    gradient, objective = built(configuration.gradient), built(configuration.objective)
    reconstruction = built(configuration.reconstruction)
    name = configuration.simulator
    simulator = detector.simulator(name, progress)
    if gradient is not None:
        gradient.check(simulator)
    torch.manual_seed(int(configuration.seed))
    return Experiment(
        detector.design,
        simulator,
        detector.primaries,
        reconstruction or detector.reconstruction,
        objective or detector.objective,
        gradient,
    )


def settings_of(configuration: DictConfig) -> Settings:
    """How the run is made.

    Raises:
        ConfigurationError: for a seed that is no number.
    """
    seed = configuration.seed
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigurationError("seed", seed, "a non-negative integer")
    logger = built(configuration.logger)
    return Settings(
        reconstruction_optimiser=built(configuration.optimiser.reconstruction),
        design_optimiser=built(configuration.optimiser.design),
        trainer=_trainer(configuration),
        seed=seed,
        effort=built(configuration.effort),
        verification=built(configuration.verification),
        budget=built(configuration.budget),
        early_stopping=built(configuration.early_stopping),
        loggers=[] if logger is None else [logger],
        polish_steps=int(configuration.polish_steps),
        quiet=bool(configuration.quiet),
        gradient_check=_gradient_check(configuration),
    )


def _gradient_check(configuration: DictConfig) -> GradientCheck:
    """The short look before an optimisation; YAML reads ``off`` as False."""
    mode = configuration.get("gradient_check", "warn")
    return GradientCheck("off" if mode is False else mode)


def _trainer(configuration: DictConfig) -> Callable[..., Any]:
    """The function that builds the trainer, tried once so that a wrong device is refused before any work."""
    build: Callable[..., Any] = built(configuration.trainer)
    precision = configuration.trainer.get("precision")
    if precision not in (None, 32, "32", "32-true"):
        raise ConfigurationError("trainer.precision", precision, "32-true, the only one that is supported")
    try:
        build(logger=False, enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False)
    except Exception as error:
        raise ConfigurationError("trainer", dict(configuration.trainer), f"one that works here ({error})") from error
    return build


def names_of(detector: Detector, experiment: Experiment) -> dict[str, str]:
    """Names for ``result.json``."""
    gradient = experiment.gradient
    if isinstance(gradient, Automatic):
        gradient = gradient.choose(experiment.simulator.simulator)
    return {
        "detector": detector.name,
        "gradient": _snake(type(gradient).__name__),
        "objective": _snake(type(experiment.objective).__name__),
    }


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and k else c.lower() for k, c in enumerate(name))
