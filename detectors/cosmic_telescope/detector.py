"""The telescope as a `Detector`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.experiment import Detector
from mode_opt.experiment.configuration import detector_settings
from mode_opt.objectives import Objective, Resolution, WeightedSum
from mode_opt.simulation import PrimarySource, Recorded

from .data import DATA, accepted, generated
from .lines import LENGTH, THICKNESS, Layers
from .passage import Apparatus
from .strips import StripTelescope
from .track_fit import TRUTH, TrackFit
from .twin import TelescopeTwin

CONFIGURATION = Path(__file__).parent / "conf" / "detector" / "cosmic_telescope.yaml"
UNITS = ("rad", "", "mm", "mm")


def cosmic_telescope(**changes: Any) -> Detector:
    """Three cylindrical layers of scintillator strips that measure the direction of cosmic muons.

    Primaries are the generated tracks of the recorded run that pass its bore and its length, with their momenta. The
    simulator ``twin`` is differentiable and fitted to what the run reconstructed, ``strips`` has real strips.

    Args:
        changes: entries of ``conf/detector/cosmic_telescope.yaml`` that differ (mappings are merged).

    Raises:
        ConfigurationError: for an entry that does not exist, or an unknown reading.
    """
    return _build(**configured(**changes))


def configured(**changes: Any) -> dict[str, Any]:
    """The entries of the configuration file with these changes.

    Raises:
        ConfigurationError: for an entry that does not exist.
    """
    return detector_settings(CONFIGURATION, changes)


def _build(
    name: str,
    description: str,
    reading: str,
    readings: Mapping[str, Mapping[str, float]],
    bore: float,
    outer: float,
    weights: Mapping[str, float],
    band: float,
    design: Mapping[str, Any],
) -> Detector:
    if reading not in readings:
        raise ConfigurationError("detector.reading", reading, f"one of {', '.join(readings)}")
    apparatus = Apparatus(**readings[reading])
    return Detector(
        name=name,
        design=Design(**design),
        simulators={"twin": TelescopeTwin(apparatus), "strips": StripTelescope(apparatus)},
        primaries=tracks(bore, outer),
        reconstruction=TrackFit.fitting,
        objective=angular_resolution(weights, band),
        hit_names=("turned_azimuth",),
        drawing=draw,
        description=description,
        files=[DATA],
    )


def tracks(bore: float, outer: float) -> PrimarySource:
    """The `accepted` tracks of the run, drawn with replacement: truth φ, cot θ, z, b; hit φ, cot θ, z, b, p."""
    every = generated()
    inside = accepted(every, bore, outer)
    truth, momentum = every.truth[inside], every.momentum[inside]
    return Recorded(_events(truth, momentum), TRUTH, UNITS)


def _events(truth: torch.Tensor, momentum: torch.Tensor) -> Events:
    """Primaries of these tracks (``n x 4``) and momenta (``n``)."""
    return Events.of(truth.unsqueeze(0), torch.cat([truth, momentum.unsqueeze(1)], 1)[None, :, None])


def angular_resolution(weights: Mapping[str, float], band: float) -> Objective:
    """Weighted sum of the half-widths of the central 68 % of the residuals of φ and cot θ."""
    width: dict[str, Any] = {"relative": False, "width": "quantile", "band": band}
    terms = {"phi": Resolution(0, angular=True, **width), "cot": Resolution(1, **width)}
    return WeightedSum(terms, weights)


def draw(phi: DesignPoint) -> list[dict[str, Any]]:
    """The layers of one design in a plane through the axis, mm: x along the axis, y across it."""
    shapes = []
    for layer, radius in enumerate(Layers.of(phi).radius[0].tolist()):
        for side in (-1, 1):
            y = sorted((side * (radius - THICKNESS / 2), side * (radius + THICKNESS / 2)))
            x, name = [-LENGTH / 2, LENGTH / 2], ("inner", "axial", "outer")[layer]
            shapes.append({"kind": "box", "x": x, "y": y, "material": f"{name} layer", "label": ""})
    return shapes
