"""Objectives: what the experiment is for, as one number per design."""

from mode_opt.objectives.base import Objective
from mode_opt.objectives.composition import DesignCost, WeightedSum
from mode_opt.objectives.information import PosteriorBound
from mode_opt.objectives.resolution import Resolution
from mode_opt.objectives.significance import Significance, discovery_significance
from mode_opt.objectives.uncertainty import Estimate, Replicas, jackknife, jackknife_of
from mode_opt.objectives.weights import weighted_mean, weighted_quantile

__all__ = [
    "DesignCost",
    "Estimate",
    "Objective",
    "PosteriorBound",
    "Replicas",
    "Resolution",
    "Significance",
    "WeightedSum",
    "discovery_significance",
    "jackknife",
    "jackknife_of",
    "weighted_mean",
    "weighted_quantile",
]
