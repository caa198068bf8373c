"""Binned likelihoods with systematic uncertainties, differentiable and for a batch of designs."""

from mode_opt.objectives.statistics.building import Channel, Sample, Settings, build
from mode_opt.objectives.statistics.fit import Fit, fit
from mode_opt.objectives.statistics.histograms import class_memberships, counted, histogram, memberships
from mode_opt.objectives.statistics.inference import (
    HypothesisTest,
    asimov_statistic,
    covariance,
    discovery,
    discovery_statistic,
    expected_levels,
    hypothesis_test,
    log_expected_levels,
    uncertainty,
    upper_limit,
    upper_statistic,
)
from mode_opt.objectives.statistics.model import Model, Observation
from mode_opt.objectives.statistics.modifiers import (
    HistoSys,
    Lumi,
    NormFactor,
    NormSys,
    ShapeFactor,
    ShapeSys,
    StatError,
)
from mode_opt.objectives.statistics.templates import Templates
from mode_opt.objectives.statistics.variations import Variation
from mode_opt.objectives.statistics.workspace import read_workspace

__all__ = [
    "Channel",
    "Fit",
    "HistoSys",
    "HypothesisTest",
    "Lumi",
    "Model",
    "NormFactor",
    "NormSys",
    "Observation",
    "Sample",
    "Settings",
    "ShapeFactor",
    "ShapeSys",
    "StatError",
    "Templates",
    "Variation",
    "asimov_statistic",
    "build",
    "class_memberships",
    "counted",
    "covariance",
    "discovery",
    "discovery_statistic",
    "expected_levels",
    "fit",
    "histogram",
    "hypothesis_test",
    "log_expected_levels",
    "memberships",
    "read_workspace",
    "uncertainty",
    "upper_limit",
    "upper_statistic",
]
