"""The INFERNO benchmark: a signal over a background of unknown shape, and a summary statistic trained for it."""

from .detector import classifier_templates, inferno, summary_templates
from .exact import exact_uncertainty
from .instrument import Instrument
from .problem import BENCHMARKS, Mixture, MixtureSource
from .unknowns import STEPS, moved, reweighted

__all__ = [
    "BENCHMARKS",
    "STEPS",
    "Instrument",
    "Mixture",
    "MixtureSource",
    "classifier_templates",
    "exact_uncertainty",
    "inferno",
    "moved",
    "reweighted",
    "summary_templates",
]
