"""``mode-opt gradients``: which gradient estimator to trust for this detector, and what it costs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table as Grid
from torch import nn

from mode_opt.cli.build import detector_of, experiment_of, settings_of, watched
from mode_opt.cli.compose import built, launched
from mode_opt.cli.estimators import any_search, chosen, nodes, pure_search
from mode_opt.cli.optimise import quiet_lightning
from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Alternation, Detector, Diagnosis, DiagnosisEffort, Experiment, Optimisers, diagnose
from mode_opt.experiment.finding import REFUSED, Finding
from mode_opt.experiment.guard import altered, problem_of
from mode_opt.gradients import GradientEstimator
from mode_opt.report.formatting import number
from mode_opt.report.gradient_figure import write_gradients
from mode_opt.training.job import Settings
from mode_opt.training.progress import Progress
from mode_opt.training.run_directory import provenance, write_json, write_rows

ALTERED = "the objective leaves the bias out of its derivative (bias_gradient: false); compared with it left in"
SEARCHES = "moves the design itself: nothing to compare"
SHOWN = 6
"""Parameters of each estimator in the table of the terminal; the files hold all."""


def main(arguments: list[str]) -> int:
    """Compare estimators at a design, into a run directory (``hydra.run.dir``)."""
    launched(_task, "gradients", "gradients", arguments)
    return 0


def _task(configuration: DictConfig) -> None:
    run(configuration, Path(HydraConfig.get().runtime.output_dir))


def run(configuration: DictConfig, directory: Path) -> Diagnosis:
    """Measure, write ``gradients.csv``, ``gradients.json`` and ``figures/``, and print a table.

    Raises:
        ModeOptError: if the configuration cannot be used, or the objective is not finite at the design.
    """
    directory = directory.resolve()
    configuration.run_directory = str(directory)
    events = _whole(configuration, "events", 2)
    reference = configuration.reference
    effort = DiagnosisEffort(configuration.batches, reference.batches, reference.step, configuration.seconds)
    asked = nodes(configuration, any_search)
    estimators, unfit = _estimators({name: chosen(configuration, node).gradient for name, node in asked.items()})
    configuration.gradient = None
    detector = detector_of(configuration)
    with quiet_lightning(), Progress({}, bool(configuration.quiet)) as progress:
        settings = settings_of(configuration)
        experiment = experiment_of(configuration, detector, progress.phase)
        if configuration.gradients is None and len(estimators) > 1:
            estimators, others = _fitting(estimators, experiment)
            unfit += others
        experiment.to(settings.trainer(logger=False).strategy.root_device)
        with watched(experiment.simulator, progress.jobs):
            trained = _trained(experiment, settings, configuration, progress)
            problem = problem_of(experiment, trained, events, settings.seed)
            diagnosis = diagnose(problem, estimators, effort, _exact(configuration, detector), None, progress.phase)
    found = replace(diagnosis, findings=[*diagnosis.findings, *unfit])
    _write(directory, configuration, experiment, detector, found)
    note = ALTERED if altered(experiment.objective) else None
    _print(detector, found, configuration.gradients is None, note)
    Console(highlight=False, soft_wrap=True).print(f"written to {directory}")
    return found


def _whole(configuration: DictConfig, key: str, least: int) -> int:
    value = configuration[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(key, value, f"a whole number of at least {least}")
    return value


def _estimators(entries: Mapping[str, DictConfig]) -> tuple[dict[str, GradientEstimator], list[Finding]]:
    """The estimators that can be built as they are configured, and findings about those that cannot."""
    found: dict[str, GradientEstimator] = {}
    unfit = []
    for name, node in entries.items():
        try:
            method = built(node)
        except Exception as error:  # whatever a constructor raises: the others are compared all the same
            unfit.append(_refused(name, error))
            continue
        if pure_search(type(method)):
            unfit.append(Finding(name, REFUSED, SEARCHES))
        else:
            found[name] = method
    return found, unfit


def _fitting(
    estimators: Mapping[str, GradientEstimator], experiment: Experiment
) -> tuple[dict[str, GradientEstimator], list[Finding]]:
    found, unfit = {}, []
    for name, estimator in estimators.items():
        try:
            estimator.check(experiment.simulator.simulator)
            found[name] = estimator
        except ConfigurationError as error:
            unfit.append(_refused(name, error))
    return found, unfit


def _refused(name: str, error: Exception) -> Finding:
    while isinstance(error.__cause__, Exception):  # what Hydra wraps
        error = error.__cause__
    return Finding(name, REFUSED, f"refused: {error}".splitlines()[0])


def _trained(experiment: Experiment, settings: Settings, configuration: DictConfig, progress: Progress) -> nn.Module:
    """The reconstruction after the warm-up that an optimisation would begin with."""
    asked = configuration.warm_up
    steps = settings.effort.warm_up if asked is None else _whole(configuration, "warm_up", 0)
    alternation = Alternation(experiment, replace(settings.effort, warm_up=steps), settings.seed)
    alternation.to(experiment.design.psi.device)
    weights = [p for p in experiment.reconstruction.parameters() if p.requires_grad]
    if weights:
        design = torch.optim.SGD([experiment.design.psi], lr=1.0)  # is not stepped
        for index in alternation.warm_up(Optimisers(settings.reconstruction_optimiser(weights), design)):
            progress.phase("warming up the reconstruction", (index + 1) / steps)
    return alternation.reconstruction


def _exact(configuration: DictConfig, detector: Detector) -> torch.Tensor | None:
    """The exact gradient, unless the configuration replaced a part of the problem that it belongs to."""
    first = configuration.simulator in (None, next(iter(detector.simulators)))
    replaced = configuration.objective is not None or configuration.reconstruction is not None
    if detector.exact_gradient is None or replaced or not first:
        return None
    return detector.exact_gradient(detector.design)


def _write(
    directory: Path, configuration: DictConfig, experiment: Experiment, detector: Detector, diagnosis: Diagnosis
) -> None:
    content = {"detector": detector.name, "seed": configuration.seed, **diagnosis.as_dict()}
    content["design"] = detector.design.concrete()
    if altered(experiment.objective):
        content["note"] = ALTERED
    write_json(directory / "gradients.json", content)
    write_json(directory / "provenance.json", provenance(experiment.design.psi.device, detector.files))
    write_rows(directory / "gradients.csv", diagnosis.rows())
    write_gradients(directory)


def _print(detector: Detector, diagnosis: Diagnosis, terse: bool, note: str | None) -> None:
    """Gradients by estimator and parameter, then the verdicts; the unfit that nobody asked for are only named."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:  # a file has no width
        console.width = 160
    unit = {"phi": "per unit of the parameter", "psi": "in ψ", "direction": ""}[diagnosis.directions.kind]
    console.print(f"{detector.name}: gradient {unit}; reference: {diagnosis.reference.kind}")
    numbers = Grid("estimator", "parameter", "gradient", "reference", "bias", "right sign", "kurtosis", box=None)
    for finding in diagnosis.findings:
        for row in _lines(finding):
            numbers.add_row(*row)
    console.print(numbers)
    verdicts = Grid("estimator", "verdict", "cosine", "μs/event", "calls/event", "batches", "efficiency", box=None)
    shown = [f for f in diagnosis.findings if not (terse and f.verdict == REFUSED and f.words != SEARCHES)]
    for finding in shown:
        verdicts.add_row(*_verdict(finding))
    console.print()
    console.print(verdicts)
    unfit = [f.name for f in diagnosis.findings if f not in shown]
    if unfit:
        console.print(f"not for this simulator: {', '.join(unfit)} (reasons in gradients.json)")
    if note:
        console.print(note)


def _lines(finding: Finding) -> list[list[str]]:
    """A row for each parameter, those with the largest deviation first."""
    worst = sorted(finding.parameters, key=lambda p: -abs(p.pull))
    return [
        [
            "" if k else finding.name,
            f"{p.name} [{p.unit}]" if p.unit else p.name,
            f"{p.gradient.value:.4g} ± {p.gradient.standard_error:.2g}",
            f"{p.reference.value:.4g} ± {p.reference.standard_error:.2g}",
            f"{p.pull:+.1f} σ",
            "" if p.sign_rate is None else f"{100 * p.sign_rate:.0f} %",
            f"{p.kurtosis:.1f}",
        ]
        for k, p in enumerate(worst[:SHOWN])
    ]


def _verdict(finding: Finding) -> list[str]:
    def cell(value: float | None, digits: int = 3) -> str:
        return "" if value is None else number(value, digits)

    cosine = finding.cosine if len(finding.parameters) > 1 else None  # of one parameter it is the sign
    microseconds = None if finding.seconds_per_event is None else 1e6 * finding.seconds_per_event
    return [
        finding.name,
        finding.words,
        "" if cosine is None else f"{cosine.value:.3f} ± {cosine.standard_error:.3f}",
        cell(microseconds),
        cell(finding.calls_per_event),
        str(finding.batches or ""),
        cell(finding.efficiency, 2),
    ]
