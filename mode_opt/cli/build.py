"""From a configuration to detector, experiment and settings."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from mode_opt.campaigns import Campaign, Tally
from mode_opt.cli.compose import built
from mode_opt.cli.discovery import sources
from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Detector, Experiment, GradientCheck
from mode_opt.experiment.detector import Progress
from mode_opt.gradients import Automatic, DesignSearch, GradientEstimator
from mode_opt.objectives import Objective
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import Simulator, conducted, external, opaque
from mode_opt.simulation.external import DEFAULT_STORE
from mode_opt.training.job import Settings

OWN = "own"
"""The detector's own objective, in a configuration of an objective made of others."""


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


def objective_of(configuration: DictConfig, detector: Detector) -> Objective:
    """The objective of the configuration, in which ``own`` stands for that of the detector; the latter if it has none.

    Raises:
        ConfigurationError: if it is none.
    """
    node = configuration.objective
    if not node:
        return detector.objective
    tree = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    objective = _with_own(tree, detector.objective)
    objective = objective if isinstance(objective, Objective) else built(objective)
    if not isinstance(objective, Objective):
        raise ConfigurationError("objective", type(objective).__name__, "an objective")
    return objective


def _with_own(tree: Any, own: Objective) -> Any:
    if isinstance(tree, dict):
        return {key: _with_own(value, own) for key, value in tree.items()}
    return own if tree == OWN else tree


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


@dataclass(frozen=True)
class Method:
    """The way the design is moved.

    Attributes:
        gradient: as `Experiment` takes it.
        name: as in ``gradient=NAME``, where it is configured or was recommended; None: that of the class.
        reason: why it was chosen for the user, or None.
    """

    gradient: GradientEstimator | DesignSearch | None
    name: str | None = None
    reason: str | None = None


def method_of(configuration: DictConfig, detector: Detector, simulator: Simulator, calls: int | None) -> Method:
    """The configured method; for ``auto`` the recommended one.

    Args:
        configuration: of the run.
        detector: with the design, and the objective where the configuration has none.
        simulator: decides what can be used.
        calls: simulator calls that may be spent; None: not known.
    """
    gradient = built(configuration.gradient)
    if not isinstance(gradient, Automatic):
        return Method(gradient, None if gradient is None else _configured(configuration.gradient))
    from mode_opt.search import recommend

    objective = objective_of(configuration, detector)
    reconstruction = built(configuration.reconstruction) or detector.reconstruction
    untrained = reconstruction == PriorBelief.fitting or isinstance(reconstruction, PriorBelief)
    family = built(configuration.get("surrogate"))
    found = recommend(simulator, detector.design, calls, objective.additive, not untrained, family)
    return Method(found.method, found.name, found.reason)


def _configured(node: DictConfig) -> str | None:
    """Name of the only file in ``gradient/`` that builds what this node builds, if there is one."""
    target = node.get("_target_")
    names = [path.stem for path in _files("gradient") if OmegaConf.select(OmegaConf.load(path), "_target_") == target]
    return names[0] if len(names) == 1 else None


def _files(group: str) -> Iterator[Path]:
    folders = [Path(str(files("mode_opt.conf"))), *(source.configuration for source in sources())]
    for folder in folders:
        yield from sorted((folder / group).glob("*.yaml"))


def simulator_of(configuration: DictConfig, detector: Detector, progress: Progress) -> Simulator:
    """The chosen simulator, with the derivatives hidden that ``opaque`` names.

    Raises:
        ConfigurationError: if there is no such simulator or part.
    """
    simulator, hidden = detector.simulator(configuration.simulator, progress), configuration.get("opaque")
    _conduct(simulator, configuration)
    if hidden is None or hidden is False:
        return simulator
    if hidden is not True and not isinstance(hidden, str | ListConfig):
        raise ConfigurationError("opaque", hidden, "true, a list of names of parts of the simulator, or null")
    return opaque(simulator, None if hidden is True else hidden if isinstance(hidden, str) else list(hidden))


def _conduct(simulator: Simulator, configuration: DictConfig) -> None:
    """Give external programs the executor and the store of the configuration."""
    if external(simulator):
        conducted(simulator, built(configuration.get("campaign")) or Campaign(DEFAULT_STORE))


@contextmanager
def watched(simulator: Simulator, show: Callable[[str, float], None]) -> Iterator[None]:
    """Show how jobs of external programs go; afterwards let go of workers, and clear what is shown.

    Args:
        simulator: of any kind.
        show: is called with words and the fraction done; with no words when nothing runs.
    """

    def report(tally: Tally) -> None:
        if tally.ended > tally.reused:
            show(*((_words(tally), tally.ended / tally.total) if tally.ended < tally.total else ("", 1.0)))

    campaigns = [part.campaign for part in external(simulator)]
    for campaign in campaigns:
        campaign.report = report
    try:
        yield
    finally:
        for campaign in campaigns:
            campaign.executor.close(wait=False)


def _words(tally: Tally) -> str:
    """How far a request is."""
    words = [f"{tally.ended} of {tally.total} jobs", f"{tally.rate:.3g} per s"]
    words += [f"{tally.retried} retried"] if tally.retried else []
    words += [f"{tally.quarantined} failed"] if tally.quarantined else []
    words += [f"{tally.remaining:.0f} s to go"] if tally.remaining else []
    return ", ".join(words)


def experiment_of(
    configuration: DictConfig, detector: Detector, progress: Progress = lambda what, fraction: None
) -> Experiment:
    """The experiment of `chosen_of`."""
    return chosen_of(configuration, detector, progress)[0]


def chosen_of(
    configuration: DictConfig,
    detector: Detector,
    progress: Progress = lambda what, fraction: None,
    calls: int | None = None,
) -> tuple[Experiment, Method]:
    """The experiment and the method in it; weights of the reconstruction depend on the seed alone.

    Args:
        configuration: of the run.
        detector: with the start values.
        progress: called while a simulator is built.
        calls: simulator calls that the method is recommended for, if it is left to mode_opt.

    Raises:
        ConfigurationError: if parts do not fit each other; simulator and estimator are checked before either
            is trained or run.
    """
    if configuration.threads is not None:
        torch.set_num_threads(configuration.threads)
    reconstruction = built(configuration.reconstruction)
    simulator = simulator_of(configuration, detector, progress)
    method = method_of(configuration, detector, simulator, calls)
    torch.manual_seed(int(configuration.seed))
    experiment = Experiment(
        detector.design,
        simulator,
        detector.primaries,
        reconstruction or detector.reconstruction,
        objective_of(configuration, detector),
        method.gradient,
        configuration.get("reconstruction_goal") or detector.reconstruction_goal,
    )
    return experiment, method


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


def names_of(detector: Detector, experiment: Experiment, method: Method) -> dict[str, str]:
    """Names for ``result.json``, and why the method was chosen if it was left to mode_opt."""
    names = {
        "detector": detector.name,
        "gradient": method.name or _snake(type(experiment.gradient).__name__),
        "objective": _snake(type(experiment.objective).__name__),
    }
    return names if method.reason is None else names | {"gradient_reason": method.reason}


def _snake(name: str) -> str:
    """``LocalSurrogate`` as ``local_surrogate``, ``CMAES`` as ``cmaes``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
