"""A sampling calorimeter for electrons: layers of absorber and gap, the energy from the deposits in the gaps."""

from .detector import sampling_calorimeter
from .parametric import ParametricShower

__all__ = ["ParametricShower", "sampling_calorimeter"]
