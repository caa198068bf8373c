"""The simulator ``surrogate`` of the sampling calorimeter: a generative model of recorded showers."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.events import Events
from mode_opt.surrogates import (
    ChainRule,
    CoarseToFine,
    DensitySurrogate,
    FitReport,
    SinhArcsinh,
    Training,
    content_key,
    load_or_fit,
)
from mode_opt.surrogates.base import Progress, silent

from .shower_coordinates import LAYERS, ShowerCoordinates
from .surrogate_validation import validate

DATA = Path(__file__).parent / "data" / "em_showers_scan.root"

CODE_VERSION = 2
"""Raise it when a change of code changes the weights: cached ones are then no longer used."""

HELD_OUT_SEED = 0
"""Chooses the designs that take no part in training and test the surrogate."""

TRAINING = Training(steps=3500, learning_rate=5e-3, weight_decay=0.1, patience=10)

ARCHITECTURE: Mapping[str, Any] = {"blocks": (2, 3, 5, 12, 28), "hidden": 48}


def read_showers(path: str | Path = DATA) -> tuple[DesignPoint, Events, Events]:
    """Recorded showers, each a design of its own: ``n`` designs, primaries and events of ``n x 1``.

    Raises:
        DataError: if the file or a branch is missing or broken, or the showers have not 50 layers.
    """
    from mode_opt.data import EventAssembler, RootReader

    branches = ["absorber_thickness", "gap_thickness", "primary_energy", "edep_gap"]
    assemble = EventAssembler(truth=["primary_energy"], hits=["edep_gap"], design=branches[:2])
    events, design = assemble(RootReader(path, branches, tree="showers").read())
    if events.hits.shape[2] != LAYERS:
        raise DataError(f"{path}: edep_gap has {events.hits.shape[2]} layers; expected {LAYERS}")
    truth = events.truth.transpose(0, 1)
    primaries = Events.of(truth, truth.unsqueeze(3))
    return DesignPoint.of(**design), primaries, Events.of(truth, events.hits.transpose(0, 1))


def held_out_designs(phi: DesignPoint, fraction: float = 0.1) -> torch.Tensor:
    """``b``, True for the events of a fixed tenth of the different designs: they test and do not train."""
    designs, group = torch.unique(phi.values, dim=0, return_inverse=True)
    order = torch.randperm(len(designs), generator=torch.Generator().manual_seed(HELD_OUT_SEED))
    chosen = torch.zeros(len(designs), dtype=torch.bool)
    chosen[order[: round(fraction * len(designs))]] = True
    return chosen[group]


def shower_model(training: Training = TRAINING) -> DensitySurrogate:
    """The untrained model: a skewed density of the summed gap energy, a flow for the profile given it."""
    conditions, hidden = ShowerCoordinates.conditions, ARCHITECTURE["hidden"]
    total = SinhArcsinh(1, conditions, hidden)
    profile = CoarseToFine(ARCHITECTURE["blocks"], conditions + 1, hidden)
    return DensitySurrogate(ShowerCoordinates(), ChainRule(total, profile), conditions, training)


def shower_surrogate(
    data: str | Path | None = None,
    cache: str | Path | None = None,
    seed: int = 0,
    training: Training | Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> DensitySurrogate:
    """The trained surrogate, from the cache if it was trained before.

    A differentiable simulator of the 50 gap energies (``b x n x 50 x 1``, MeV) of electrons of 0.5 to 10 GeV
    in 50 layers of PbWO4 and liquid argon. A tenth of the recorded designs takes no part in
    training; its ``validation`` says how well the surrogate does on them.

    Args:
        data: ROOT file of showers as described in ``data/README.md``; by default the one of this detector.
        cache: folder of the cache (see `mode_opt.surrogates.cache_folder`).
        seed: of the training.
        training: settings that differ from those of this module.
        progress: told what is being done and the fraction done.
    """
    settings = training if isinstance(training, Training) else _training(training or {})
    path = DATA if data is None else Path(data)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected recorded showers (simulators.surrogate.data)")
    surrogate = shower_model(settings)
    key = content_key(
        {"data": path},
        {
            "code": CODE_VERSION,
            "model": dict(ARCHITECTURE),
            "training": vars(settings),
            "seed": seed,
            "torch": version("torch"),
        },
    )

    def fit() -> FitReport:
        phi, primaries, events = read_showers(path)
        report, held = fit_showers(surrogate, phi, primaries, events, seed, progress)
        tested = DesignPoint(phi.values[held], phi.layout), _rows(events, held)
        surrogate.validation = validate(surrogate, *tested, report)
        return report

    load_or_fit(surrogate, "sampling_calorimeter", key, fit, cache)
    return surrogate


def fit_showers(
    surrogate: DensitySurrogate,
    phi: DesignPoint,
    primaries: Events,
    events: Events,
    seed: int,
    progress: Progress,
) -> tuple[FitReport, torch.Tensor]:
    """Fit to the designs that are not held out; the report, and which events are held out."""
    held = held_out_designs(phi)
    kept = DesignPoint(phi.values[~held], phi.layout)
    return surrogate.fit(kept, _rows(primaries, ~held), _rows(events, ~held), seed=seed, progress=progress), held


def _training(changes: Mapping[str, Any]) -> Training:
    for key, value in changes.items():
        if key not in vars(TRAINING):
            raise ConfigurationError(f"surrogate.training.{key}", value, f"one of {', '.join(vars(TRAINING))}")
    return Training(**{**vars(TRAINING), **changes})


def _rows(events: Events, chosen: torch.Tensor) -> Events:
    """The designs where ``chosen`` is True."""
    return Events.of(events.truth[chosen], events.hits[chosen])
