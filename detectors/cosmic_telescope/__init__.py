"""A cosmic-muon telescope of strips: a twin fitted to a recorded Geant4 run, optimised for angular resolution."""

from .data import Pairs, accepted, generated, reconstructed, struck
from .detector import angular_resolution, cosmic_telescope
from .lines import Layers, Line
from .passage import Apparatus
from .strips import StripTelescope
from .track_fit import TrackFit
from .twin import TelescopeTwin

__all__ = [
    "Apparatus", "Layers", "Line", "Pairs", "StripTelescope", "TelescopeTwin", "TrackFit", "accepted",
    "angular_resolution", "cosmic_telescope", "generated", "reconstructed", "struck",
]  # fmt: skip
