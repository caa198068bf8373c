"""Photons against electrons: hard cuts on shower observables, optimised for the significance of the photons."""

from .detector import event_selection, read_events
from .observables import Observable, observable
from .selection import Cut, HardSelection, NoisySelection

__all__ = ["Cut", "HardSelection", "NoisySelection", "Observable", "event_selection", "observable", "read_events"]
