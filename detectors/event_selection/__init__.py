"""Photons against electrons: hard cuts on shower observables, optimised for the significance of the photons."""

from .detector import event_selection
from .features import Calibration, read_events
from .likelihood import Accepted, ScoreBins
from .observables import Observable, observable
from .selection import Cut, HardSelection, NoisySelection

__all__ = [
    "Accepted",
    "Calibration",
    "Cut",
    "HardSelection",
    "NoisySelection",
    "Observable",
    "ScoreBins",
    "event_selection",
    "observable",
    "read_events",
]
