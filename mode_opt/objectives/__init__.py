"""Objectives: what the experiment is for, as one number per design."""

from mode_opt.objectives.acceptance import Interval
from mode_opt.objectives.base import Composite, Objective
from mode_opt.objectives.classification import AreaUnderCurve, CrossEntropy, SignalLoss, signal_efficiency, smooth_area
from mode_opt.objectives.composition import DesignCost, WeightedSum
from mode_opt.objectives.dose import Dose, generalised_uniform_dose, volume_fraction
from mode_opt.objectives.fisher import CramerRao, a_optimality, cramer_rao_bound, d_optimality, fisher_information
from mode_opt.objectives.goals import Constrained, Lexicographic
from mode_opt.objectives.information import PosteriorBound
from mode_opt.objectives.information_gain import InformationGain, nested_gain, prior_contrastive_gain
from mode_opt.objectives.likelihood import (
    DiscoverySignificance,
    ExpectedCLs,
    ExpectedUncertainty,
    ExpectedUpperLimit,
)
from mode_opt.objectives.mutual_information import (
    ContrastiveInformation,
    donsker_varadhan,
    info_nce,
    nguyen_wainwright_jordan,
)
from mode_opt.objectives.rates import MuonShield, Rate
from mode_opt.objectives.resolution import Resolution
from mode_opt.objectives.robustness import Robust, conditional_value_at_risk
from mode_opt.objectives.scenarios import DeadCells, Miscalibration, MistakenDesign, Noise, Nominal, Scenario, Spectrum
from mode_opt.objectives.significance import Significance, discovery_significance
from mode_opt.objectives.transport import (
    Separation,
    Sinkhorn,
    resampled,
    sinkhorn_divergence,
    sorted_transport,
    toy_recorded,
)
from mode_opt.objectives.uncertainty import Estimate, Replicas, jackknife, jackknife_of
from mode_opt.objectives.weights import weighted_mean, weighted_quantile

__all__ = [
    "AreaUnderCurve",
    "Composite",
    "Constrained",
    "ContrastiveInformation",
    "CramerRao",
    "CrossEntropy",
    "DeadCells",
    "DesignCost",
    "DiscoverySignificance",
    "Dose",
    "Estimate",
    "ExpectedCLs",
    "ExpectedUncertainty",
    "ExpectedUpperLimit",
    "InformationGain",
    "Interval",
    "Lexicographic",
    "Miscalibration",
    "MistakenDesign",
    "MuonShield",
    "Noise",
    "Nominal",
    "Objective",
    "PosteriorBound",
    "Rate",
    "Replicas",
    "Resolution",
    "Robust",
    "Scenario",
    "Separation",
    "SignalLoss",
    "Significance",
    "Sinkhorn",
    "Spectrum",
    "WeightedSum",
    "a_optimality",
    "conditional_value_at_risk",
    "cramer_rao_bound",
    "d_optimality",
    "discovery_significance",
    "donsker_varadhan",
    "fisher_information",
    "generalised_uniform_dose",
    "info_nce",
    "jackknife",
    "jackknife_of",
    "nested_gain",
    "nguyen_wainwright_jordan",
    "prior_contrastive_gain",
    "resampled",
    "signal_efficiency",
    "sinkhorn_divergence",
    "smooth_area",
    "sorted_transport",
    "toy_recorded",
    "volume_fraction",
    "weighted_mean",
    "weighted_quantile",
]
