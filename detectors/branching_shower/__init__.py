"""Electromagnetic showers that branch, particle by particle, in layers of absorber and gap."""

from .detector import branching_shower
from .shower import BranchingShower

__all__ = ["BranchingShower", "branching_shower"]
