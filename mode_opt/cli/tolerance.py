"""``mode-opt tolerance RUN_DIR``: how precisely the final design of a run must be built."""

import csv
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from mode_opt.cli.build import detector_of, experiment_of, settings_of, watched
from mode_opt.cli.compose import overridden, saved
from mode_opt.cli.optimise import quiet_lightning
from mode_opt.cli.tolerance_table import content, lines, show
from mode_opt.cli.verify import designs_of, point_of
from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Experiment, ToleranceEffort, tolerances, trained_around, trained_at
from mode_opt.objectives import Constrained, Objective
from mode_opt.reconstruction import Reconstruction
from mode_opt.report import write_figure, write_report
from mode_opt.training.job import Settings
from mode_opt.training.progress import Progress
from mode_opt.training.run_directory import write_json, write_rows

LOSS = 1.0
"""Percent of the objective."""


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


OWN: dict[str, Callable[[str], Any]] = {
    "method": str,
    "events": int,
    "batches": int,
    "step": float,
    "calls": int,
    "radius": float,
    "surveyed": _truth,
}
"""Options that are those of `ToleranceEffort`."""
EXPECTED = {int: "a whole number", float: "a number", _truth: "true or false"}


def main(arguments: list[str]) -> int:
    """Tolerances at the final design of a run, for a loss of ``loss=1`` percent of the objective.

    ``method=differences`` or ``regression``, ``surveyed=false``, ``calls=``, ``radius=``, ``events=``, ``batches=`` and
    ``step=`` are those of `ToleranceEffort`; other ``key=value`` change the configuration of the run, e.g.
    ``simulator=parametric`` or ``seed=1``. Writes ``tolerance.csv``, ``tolerance.json`` and ``figures/tolerance.png``
    into the run, and its report anew if there is one.
    """
    if not arguments or "=" in arguments[0]:
        raise ConfigurationError("tolerance", " ".join(arguments), "a run directory, then loss=PERCENT or key=value")
    directory, words = Path(arguments[0]), arguments[1:]
    loss, effort = _loss(words), _effort(words)
    own = (*(f"{name}=" for name in OWN), "loss=")
    rest = [word for word in words if not word.startswith(own)]
    configuration = saved(directory)
    configuration.gradient = configuration.opaque = None  # derivatives of the simulator itself
    configuration = overridden(configuration, rest)
    entries = designs_of(directory)
    with quiet_lightning():
        detector, settings = detector_of(configuration), settings_of(configuration)
    with Progress({}, settings.quiet) as progress:
        experiment = experiment_of(configuration, detector, progress.phase)
        effort.differentiates(experiment.simulator)  # refuses before anything is trained
        recall(experiment.objective, directory / "history.csv")
        phi = point_of(detector.design, entries, "final")
        with watched(experiment.simulator, progress.jobs):
            networks = _trained(experiment, phi, effort, settings, progress)
            measuring = partial(progress.phase, "measuring curvatures")
            found = tolerances(experiment, phi, loss, effort, settings.seed, measuring, networks)
    write_rows(directory / "tolerance.csv", lines(found))
    settled = {"seed": settings.seed, "simulator": configuration.simulator}
    write_json(directory / "tolerance.json", settled | content(found, loss))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:  # a file has no width
        console.width = 200
    show(found, loss, console)
    if (directory / "report.html").exists():
        write_report(directory)
    else:
        write_figure(directory, "tolerance")
    return 0


def recall(objective: Objective, history: Path) -> None:
    """Give the limits of a `Constrained` objective the multipliers that the run ended with."""
    if not isinstance(objective, Constrained) or not history.exists():
        return
    with history.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    last = {name: rows[-1].get(f"multiplier/{name}") for name in objective.by_name()} if rows else {}
    values = [float(text) if (text := last.get(name)) else known for name, known in objective.by_name().items()]
    with torch.no_grad():
        objective.multipliers.copy_(torch.tensor(values))


def _trained(
    experiment: Experiment, phi: DesignPoint, effort: ToleranceEffort, settings: Settings, progress: Progress
) -> list[Reconstruction]:
    """``verification.replicas`` reconstructions with different seeds; one where there is nothing to train."""
    train, networks = trained_around if effort.surveyed else trained_at, []
    learns = any(parameter.requires_grad for parameter in experiment.reconstruction.parameters())
    count = settings.verification.replicas if learns else 1
    for k in range(count):
        show = partial(progress.phase, f"training reconstruction {k + 1} of {count}")
        networks.append(train(experiment, phi, settings.verification, settings.seed + 1000 * k, show))
    return networks


def _loss(words: list[str]) -> float:
    loss = _given(words, "loss", float, "a percentage, e.g. loss=2")
    if loss is None:
        return LOSS
    if not 0 < loss < math.inf:
        raise ConfigurationError("loss", loss, "a positive percentage")
    return float(loss)


def _effort(words: list[str]) -> ToleranceEffort:
    given = {name: _given(words, name, kind, EXPECTED.get(kind, "a text")) for name, kind in OWN.items()}
    return ToleranceEffort(**{name: value for name, value in given.items() if value is not None})


def _given(words: list[str], name: str, kind: Callable[[str], Any], expected: str) -> Any:
    """The last ``NAME=value``, or None."""
    texts = [word.partition("=")[2] for word in words if word.startswith(f"{name}=")]
    try:
        return kind(texts[-1]) if texts else None
    except ValueError:
        raise ConfigurationError(name, texts[-1], expected) from None
