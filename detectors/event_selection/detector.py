"""The selection as a `Detector`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.events import Events
from mode_opt.experiment import Detector
from mode_opt.experiment.configuration import detector_settings
from mode_opt.objectives import Significance
from mode_opt.reconstruction import Verdict
from mode_opt.simulation import Recorded

from .observables import BRANCH, Observable, observable
from .selection import Cut, HardSelection, NoisySelection

CONFIGURATION = Path(__file__).parent / "conf" / "detector" / "event_selection.yaml"

DATA = Path(__file__).parent / "data" / "em_showers_egamma.root"

LAYERS = 50
PHOTON = 22
"""Particle number of the signal; everything else is background."""


def event_selection(**changes: Any) -> Detector:
    """Cuts on observables of recorded showers; signal are photons, background are electrons.

    Primaries are recorded showers of one half of the data: truth ``is_photon`` (0 or 1), one hit whose features are
    the observables. The simulator ``noisy`` selects with noise on the cuts, ``hard`` without.

    Args:
        changes: entries of ``conf/detector/event_selection.yaml`` that differ (mappings are merged; an entry of
            ``cuts`` or of the thresholds that is null is left out).

    Raises:
        ConfigurationError: for an entry that does not exist, an unknown observable, or a cut without its threshold.
    """
    settings = configured(**changes)
    observables, cuts = cuts_of(settings)
    photons = read_events(observables, settings["sample"])
    names = tuple(cuts)
    return Detector(
        name=settings["name"],
        design=Design(**settings["design"]),
        simulators={"noisy": NoisySelection(cuts), "hard": HardSelection(cuts)},
        primaries=Recorded(photons, ["is_photon"], [""]),
        reconstruction=Verdict.fitting,
        objective=Significance(settings["signal"], settings["background"], settings["uncertainty"]),
        hit_names=(*names, "selected"),
        description=settings["description"],
        files=[DATA],
    )


def configured(**changes: Any) -> dict[str, Any]:
    """The entries of the configuration file with these changes.

    Raises:
        ConfigurationError: for an entry that does not exist.
    """
    settings = detector_settings(CONFIGURATION, changes)
    parameters = settings["design"]["parameters"]
    settings["design"]["parameters"] = {name: spec for name, spec in parameters.items() if spec is not None}
    settings["cuts"] = {name: spec for name, spec in settings["cuts"].items() if spec is not None}
    return settings


def cuts_of(settings: Mapping[str, Any]) -> tuple[dict[str, Observable], dict[str, Cut]]:
    """The observables and the cuts on them, by name.

    Raises:
        ConfigurationError: for an unknown observable, or a cut without its threshold.
    """
    observables, cuts = {}, {}
    if not settings["cuts"]:
        raise ConfigurationError("detector.cuts", settings["cuts"], "at least one cut")
    for name, given in settings["cuts"].items():
        if name not in settings["design"]["parameters"]:
            raise ConfigurationError(f"detector.cuts.{name}", given, f"a design parameter {name}, the threshold")
        options = dict(given)
        noise = options.pop("noise", 1.0)
        cuts[name] = Cut(options.pop("keep", "above"), noise if isinstance(noise, str) else noise * settings["noise"])
        observables[name] = observable(options.pop("observable", name), f"detector.cuts.{name}", **options)
    return observables, cuts


def read_events(observables: Mapping[str, Observable], sample: str = "all") -> Events:
    """Recorded showers: truth ``is_photon``, one hit whose features are the observables.

    A shower without energy in any gap keeps its place with an unreal hit, so that no cut selects it. The halves are
    the first and the last 8000 entries of the file, whose order is random; both hold showers of the same energies.

    Args:
        observables: by name, in the order of the features.
        sample: ``training``, ``held_out`` or ``all``.

    Raises:
        ConfigurationError: for another sample.
        DataError: if the file or a branch is missing or broken, or the showers have not 50 layers.
    """
    from mode_opt.data import Ragged, RootReader

    reader = RootReader(DATA, ["pdg_id", BRANCH], tree="showers")
    training, held_out = reader.split(test=0.5)
    readers = {"training": training, "held_out": held_out, "all": reader}
    if sample not in readers:
        raise ConfigurationError("detector.sample", sample, f"one of {', '.join(readers)}")
    columns = readers[sample].read()
    deposits, number = columns[BRANCH], columns["pdg_id"]
    if isinstance(deposits, Ragged) or isinstance(number, Ragged) or deposits.shape[1:] != (LAYERS,):
        raise DataError(f"{DATA}: {BRANCH} is jagged or has other than {LAYERS} layers")
    deposits = deposits.double()
    seen = deposits.sum(1, keepdim=True) > 0
    values = torch.stack([compute(deposits) for compute in observables.values()], 1)
    hits = torch.where(seen, values, torch.zeros_like(values)).to(torch.get_default_dtype())
    truth = torch.eq(number, PHOTON).to(hits.dtype)
    return Events.of(truth.reshape(1, -1, 1), hits[None, :, None, :], seen.reshape(1, -1, 1))
