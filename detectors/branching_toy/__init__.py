"""The two toy programs of Kagan and Heinrich: a particle that showers, or loses energy, in a ring of material."""

from .detector import REFERENCES, TruthAt, branching_toy
from .objective import MeanRadius
from .program import BranchingToy
from .source import CentralSource

__all__ = ["REFERENCES", "BranchingToy", "CentralSource", "MeanRadius", "TruthAt", "branching_toy"]
