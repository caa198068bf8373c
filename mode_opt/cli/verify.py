"""``mode-opt verify RUN_DIR``: start and final design once more, with fresh seeds."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from mode_opt.cli.build import detector_of, experiment_of, settings_of, watched
from mode_opt.cli.compose import overridden, saved
from mode_opt.cli.optimise import quiet_lightning
from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.experiment import verify
from mode_opt.training.progress import Progress
from mode_opt.training.run_directory import write_json, write_rows


def main(arguments: list[str]) -> int:
    """Verify a run; ``key=value`` changes its configuration, e.g. ``simulator=parametric`` for a cross-check.

    Writes ``verification.json`` and leaves the numbers of the run as they are.
    """
    if not arguments or "=" in arguments[0]:
        raise ConfigurationError("verify", " ".join(arguments), "a run directory, then key=value")
    directory = Path(arguments[0])
    configuration = saved(directory)
    if not any(word.startswith("seed=") for word in arguments[1:]):
        configuration.seed = int(configuration.seed) + 1
    configuration = overridden(configuration, arguments[1:])
    configuration.gradient = None  # no derivative is taken: a simulator that the run's estimator cannot use will do
    configuration.opaque = None  # and none needs to be hidden
    entries = designs_of(directory)
    with quiet_lightning():
        detector, settings = detector_of(configuration), settings_of(configuration)
    with Progress({}, settings.quiet) as progress:
        experiment = experiment_of(configuration, detector, progress.phase)
        points = {name: point_of(detector.design, entries, name) for name in ("initial", "final")}
        with watched(experiment.simulator, progress.jobs):
            measured = verify(
                experiment,
                points,
                settings.verification,
                settings.seed,
                lambda name, fraction: progress.phase(f"verifying the {name} design", fraction),
            )
    content: dict[str, Any] = {"seed": settings.seed, "simulator": configuration.simulator}
    content |= {name: getattr(measured, name).as_dict() for name in ("initial", "final", "improvement")}
    if measured.parts:
        content["parts"] = {name: part.as_dict() for name, part in measured.parts.items()}
    content["simulator_calls"] = experiment.simulator_calls
    write_json(directory / "verification.json", content)
    if measured.curves:
        write_rows(directory / "verification.csv", measured.curves)
    console = Console(highlight=False)
    for name in ("initial", "final", "improvement"):
        console.print(f"{name:<12} {content[name]['value']:.5g} ± {content[name]['standard_error']:.2g}")
    return 0


def designs_of(directory: Path) -> dict[str, Any]:
    """Start and final values of each parameter of a run.

    Raises:
        DataError: if there is no final design.
    """
    path = directory / "result.json"
    try:
        entries: dict[str, Any] = json.loads(path.read_text())["design"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: no designs to verify ({error!r})") from error
    if any("final" not in entry for entry in entries.values()):
        raise DataError(f"{path}: the run has no final design yet; finish it with mode-opt optimise resume={directory}")
    return entries


def point_of(design: Design, entries: dict[str, Any], which: str) -> DesignPoint:
    """The ``initial`` or ``final`` design of such entries."""
    design.assign({name: entry[which] for name, entry in entries.items()})
    return design().detach()
