"""``mode-opt tolerance RUN_DIR``: how precisely the final design of a run must be built."""

import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mode_opt.cli.build import detector_of, experiment_of, settings_of
from mode_opt.cli.compose import overridden, saved
from mode_opt.cli.optimise import quiet_lightning
from mode_opt.cli.verify import designs_of, point_of
from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Tolerances, tolerances, trained_at
from mode_opt.objectives import Estimate
from mode_opt.training.progress import Progress
from mode_opt.training.run_directory import write_json, write_rows

LOSS = 1.0
"""Percent of the objective."""


def main(arguments: list[str]) -> int:
    """Tolerances at the final design of a run, for a loss of ``loss=1`` percent of the objective.

    ``key=value`` changes the configuration of the run, e.g. ``simulator=parametric`` or ``seed=1``. Writes
    ``tolerance.csv`` and ``tolerance.json`` into the run.
    """
    if not arguments or "=" in arguments[0]:
        raise ConfigurationError("tolerance", " ".join(arguments), "a run directory, then loss=PERCENT or key=value")
    directory, loss = Path(arguments[0]), _loss(arguments[1:])
    configuration = overridden(saved(directory), [word for word in arguments[1:] if not word.startswith("loss=")])
    configuration.gradient = configuration.opaque = None  # derivatives of the simulator itself
    entries = designs_of(directory)
    with quiet_lightning():
        detector, settings = detector_of(configuration), settings_of(configuration)
    with Progress({}, settings.quiet) as progress:
        experiment = experiment_of(configuration, detector, progress.phase)
        phi = point_of(detector.design, entries, "final")
        experiment.reconstruction = trained_at(
            experiment, phi, settings.verification, settings.seed, lambda f: progress.phase("training at the design", f)
        )
        found = tolerances(
            experiment, phi, loss, seed=settings.seed, progress=lambda f: progress.phase("measuring curvatures", f)
        )
    _write(directory, found, loss)
    _print(found, loss)
    return 0


def _loss(words: list[str]) -> float:
    given = [word.partition("=")[2] for word in words if word.startswith("loss=")]
    try:
        loss = float(given[-1]) if given else LOSS
    except ValueError:
        raise ConfigurationError("loss", given[-1], "a percentage, e.g. loss=2") from None
    if not 0 < loss < math.inf:
        raise ConfigurationError("loss", loss, "a positive percentage")
    return loss


def _write(directory: Path, found: Tolerances, loss: float) -> None:
    rows = []
    for entry in found.parameters:
        row: dict[str, Any] = {"parameter": entry.name, "unit": entry.unit, "value": entry.value}
        for name in ("slope", "curvature", "deviation", "spread"):
            row |= _columns(name, getattr(entry, name))
        rows.append(row)
    write_rows(directory / "tolerance.csv", rows)
    directions = [
        {"kind": d.kind, "components": d.components, **_columns("curvature", d.curvature), **_columns("slope", d.slope)}
        for d in found.directions
    ]
    content = {"loss_percent": loss, "objective": found.objective.as_dict(), "directions": directions}
    write_json(directory / "tolerance.json", content | {"hessian": found.hessian.tolist()})


def _columns(name: str, estimate: Estimate) -> dict[str, float | str]:
    """Value and error; what is infinite or unknown is empty."""
    pairs = ((name, estimate.value), (f"{name}_standard_error", estimate.standard_error))
    return {key: value if math.isfinite(value) else "" for key, value in pairs}


def _print(found: Tolerances, loss: float) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:  # a file has no width
        console.width = 160
    console.print(f"objective {_text(found.objective)}; for a loss of {loss:g} %, that is {found.loss:.3g}:")
    grid = Table("parameter", "value", "alone", "if all deviate (rms)", "unit", box=None, padding=(0, 3, 0, 0))
    for entry in found.parameters:
        grid.add_row(entry.name, f"{entry.value:.4g}", _text(entry.deviation), _text(entry.spread), entry.unit)
    console.print(grid)
    for number, direction in enumerate(found.directions, 1):
        largest = sorted(direction.components.items(), key=lambda item: -abs(item[1]))[:4]
        words = ", ".join(f"{value:+.2f} {name}" for name, value in largest)
        console.print(f"direction {number}, {direction.kind}: {words}; curvature {_text(direction.curvature)}")


def _text(estimate: Estimate) -> str:
    if not math.isfinite(estimate.value):
        return "any"
    error = f" ± {estimate.standard_error:.2g}" if math.isfinite(estimate.standard_error) else ""
    return f"{estimate.value:.4g}{error}"
