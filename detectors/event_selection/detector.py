"""The selection as a `Detector`."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Detector
from mode_opt.experiment.configuration import detector_settings
from mode_opt.experiment.detector import ReconstructionFactory
from mode_opt.reconstruction import Classifier, Verdict
from mode_opt.simulation import Recorded

from .features import DATA, LAYERS, names_of, read_events
from .likelihood import objective_of
from .observables import Observable, observable
from .selection import Cut, HardSelection, NoisySelection

CONFIGURATION = Path(__file__).parent / "conf" / "detector" / "event_selection.yaml"

INPUTS = ("shares", "observables")
"""What a network can look at."""


def event_selection(**changes: Any) -> Detector:
    """Cuts on observables of recorded showers; signal are photons, background are electrons.

    Primaries are recorded showers of one half of the data: truth ``is_photon`` (0 or 1), one hit whose features are
    the observables, shares of the energy in groups of layers, and both under uncertainties. The simulator ``noisy``
    selects with noise on the cuts, ``hard`` without. With a ``network`` the selected events are histogrammed in its
    output.

    Args:
        changes: entries of ``conf/detector/event_selection.yaml`` that differ (mappings are merged; an entry of
            ``cuts`` or of the thresholds that is null is left out).

    Raises:
        ConfigurationError: for an entry that does not exist, an unknown observable, a cut without its threshold, or a
            network without inputs.
    """
    settings = configured(**changes)
    observables, cuts = cuts_of(settings)
    names = names_of(observables, settings["groups"])
    own = (len(names) - 5) // 3
    uncertainties = settings["tilt"], settings["spectral_index"]
    showers = read_events(observables, settings["sample"], settings["groups"], *uncertainties)
    return Detector(
        name=settings["name"],
        design=Design(**settings["design"]),
        simulators={"noisy": NoisySelection(cuts, (own, 2 * own)), "hard": HardSelection(cuts, (own, 2 * own))},
        primaries=Recorded(showers, ["is_photon"], [""]),
        reconstruction=_reconstruction(settings, len(cuts), own),
        objective=objective_of(settings),
        hit_names=names,
        description=settings["description"],
        files=[DATA],
        reconstruction_goal=settings["reconstruction_goal"],
    )


def _reconstruction(settings: Mapping[str, Any], cuts: int, own: int) -> ReconstructionFactory:
    """A network over what it is to look at, or the purities of a selection without one."""
    if settings["network"] is None:
        return Verdict.fitting
    options = dict(settings["network"])
    inputs = options.pop("inputs", INPUTS[0])
    if inputs not in INPUTS:
        raise ConfigurationError("detector.network.inputs", inputs, " or ".join(INPUTS))
    features = list(range(cuts, own) if inputs == "shares" else range(cuts))
    if not features:
        raise ConfigurationError("detector.groups", settings["groups"], f"a divisor of {LAYERS}, for network.inputs")
    return partial(Classifier.fitting, features=features, **options)


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
