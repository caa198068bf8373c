"""Conditional generative models that stand for a simulator and are themselves differentiable simulators."""

from mode_opt.surrogates.base import Coordinates, Surrogate
from mode_opt.surrogates.cache import cache_folder, content_key, load_or_fit
from mode_opt.surrogates.chain_rule import ChainRule
from mode_opt.surrogates.coarse_to_fine import CoarseToFine
from mode_opt.surrogates.density import ConditionalDensity, DensitySurrogate, PlainCoordinates
from mode_opt.surrogates.sinh_arcsinh import SinhArcsinh
from mode_opt.surrogates.training import FitReport, Training

__all__ = [
    "ChainRule",
    "CoarseToFine",
    "ConditionalDensity",
    "Coordinates",
    "DensitySurrogate",
    "FitReport",
    "PlainCoordinates",
    "SinhArcsinh",
    "Surrogate",
    "Training",
    "cache_folder",
    "content_key",
    "load_or_fit",
]
