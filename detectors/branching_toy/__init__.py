"""The two toy programs of Kagan and Heinrich: a particle that showers, or loses energy, in a ring of material."""

from .detector import REFERENCES, TruthAt, branching_toy
from .objective import RadiusDeviation
from .program import BranchingToy
from .source import CentralSource

__all__ = ["REFERENCES", "BranchingToy", "CentralSource", "RadiusDeviation", "TruthAt", "branching_toy"]
