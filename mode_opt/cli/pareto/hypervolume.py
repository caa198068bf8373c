"""The other way to a front: one search for all of it, and a verification of the designs that it found."""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from mode_opt.cli.build import detector_of, experiment_of, settings_of, watched
from mode_opt.cli.compose import built
from mode_opt.cli.optimise import quiet_lightning
from mode_opt.cli.pareto.runs import Settings, quantity_at
from mode_opt.cli.pareto.table import Record
from mode_opt.cli.series import Series
from mode_opt.design import Design, DesignPoint
from mode_opt.errors import DataError
from mode_opt.experiment import verify
from mode_opt.objectives import Estimate
from mode_opt.search import HypervolumeSearch
from mode_opt.training.progress import Progress
from mode_opt.training.run_directory import write_json
from mode_opt.training.signals import Requests, listening

RUN, VERIFIED = "search", "verified.json"
STATE = "experiment.gradient._extra_state"
"""End of the key under which a checkpoint holds what a search knows."""


def configured(configuration: DictConfig, settings: Settings) -> DictConfig:
    """The configuration of the search: all goals, of which none is limited.

    A front is not judged by one number: nothing stops the search but its budget.
    """
    single = copy.deepcopy(configuration)
    single.objective = {
        "_target_": "mode_opt.objectives.WeightedSum",
        "terms": {goal.name: goal.objective for goal in settings.goals},
        "weights": {goal.name: 1.0 for goal in settings.goals},
    }
    if not str((single.gradient or {}).get("_target_", "")).endswith(HypervolumeSearch.__name__):
        single.gradient = {"_target_": f"mode_opt.search.{HypervolumeSearch.__name__}"}
    if settings.reference is not None:
        OmegaConf.update(single, "gradient.reference", dict(settings.reference), force_add=True)
    single.early_stopping.patience = None
    return single


def search(made: Series, settings: Settings, configuration: DictConfig, overrides: Sequence[str]) -> list[Record]:
    """Make the search, or the rest of it, and verify what it found; the start design and the points of the front.

    Raises:
        Interrupted: on request.
        DataError: if the search failed.
    """
    if not made.prepared(RUN):
        made.prepare(RUN, configured(configuration, settings))
    failed = made.make(RUN, "searching the front", list(overrides))
    if failed is not None:
        raise DataError(f"{made.directory / RUN}: the search failed: {failed}")
    entries = _verified(made)
    if not entries:
        entries = _verify(made, settings, configuration)
        write_json(made.directory / RUN / VERIFIED, {"designs": entries})
    design = detector_of(configuration).design
    calls = float(made.result(RUN).get("simulator_calls", "nan"))
    return [_record(settings, design, entry, "search" if k else "start", calls) for k, entry in enumerate(entries)]


def _verified(made: Series) -> list[dict[str, Any]]:
    try:
        content = json.loads((made.directory / RUN / VERIFIED).read_text())
        return list(content["designs"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _verify(made: Series, settings: Settings, configuration: DictConfig) -> list[dict[str, Any]]:
    """Measure the start and the found designs, two at a time, each with reconstructions of its own."""
    again = configured(configuration, settings)
    again.gradient = again.opaque = None  # no derivative is taken, and none needs to be hidden
    with quiet_lightning():
        detector, how = detector_of(again), settings_of(again)
    points = [detector.design.buildable().detach(), *_found(made, settings, configuration, detector.design)]
    entries: list[dict[str, Any]] = []
    with listening(Requests()), Progress({}, how.quiet) as progress:
        experiment = experiment_of(again, detector, progress.phase)
        with watched(experiment.simulator, progress.jobs):
            for first in range(0, len(points), 2):
                two = points[first : first + 2]
                measured = verify(
                    experiment,
                    {"initial": two[0], "final": two[-1]},
                    how.verification,
                    how.seed,
                    lambda name, fraction, at=first: progress.phase(  # type: ignore[misc]
                        f"verifying the front ({at + 1} of {len(points)})", fraction
                    ),
                )
                for which, phi in zip(("initial", "final"), two, strict=False):
                    parts = {name: getattr(part, which).as_dict() for name, part in measured.parts.items()}
                    entries.append({"parts": parts, "design": detector.design.concrete(phi)})
    return entries


def _found(made: Series, settings: Settings, configuration: DictConfig, design: Design) -> list[DesignPoint]:
    """Designs of the front as the search knows it, at most so many, evenly spread over their number."""
    path = made.directory / RUN / "checkpoints" / "last.ckpt"
    node = configured(configuration, settings).gradient
    found = built(node)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        found.set_extra_state(next(content[key] for key in content if key.endswith(STATE)))
    except Exception as error:
        raise DataError(f"{path}: holds no search of a front ({error!r})") from error
    front = found.front(design)
    count = min(settings.count, front.count)
    chosen = torch.linspace(0, front.count - 1, count).round().long().unique().tolist()
    return [design.buildable(front.designs.design(index)).detach() for index in chosen]


def _record(settings: Settings, design: Design, entry: Mapping[str, Any], role: str, calls: float) -> Record:
    design.assign({name: value["value"] for name, value in entry["design"].items()})
    values = {}
    for goal in settings.goals:
        part = entry["parts"][goal.name]
        exact = goal.quantity is not None
        values[goal.name] = Estimate(
            quantity_at(design, goal) if exact else part["value"], 0.0 if exact else part["standard_error"]
        )
    return Record(role, "measured", RUN, values=values, design=entry["design"], calls=calls)
