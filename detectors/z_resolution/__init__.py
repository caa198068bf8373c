"""Muon momentum scale and resolution, tuned to recorded Z decays by the Sinkhorn divergence."""

from .detector import z_resolution
from .likelihood import Fit, Likelihood
from .line_shape import LineShape, MuonPairs
from .matching import Match, Matching
from .recorded import closed_form, masses, recorded
from .smearing import CutSmearing, WindowedSmearing, recorded_mass, through_window

__all__ = [
    "CutSmearing",
    "Fit",
    "Likelihood",
    "LineShape",
    "Match",
    "Matching",
    "MuonPairs",
    "WindowedSmearing",
    "closed_form",
    "masses",
    "recorded",
    "recorded_mass",
    "through_window",
    "z_resolution",
]
