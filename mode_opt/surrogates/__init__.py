"""Conditional generative models that stand for a simulator and are themselves differentiable simulators."""

from mode_opt.surrogates.adversarial import Adversarial
from mode_opt.surrogates.base import Coordinates, Surrogate
from mode_opt.surrogates.cache import cache_folder, content_key, load_or_fit
from mode_opt.surrogates.chain_rule import ChainRule
from mode_opt.surrogates.coarse_to_fine import CoarseToFine
from mode_opt.surrogates.composition import Composition
from mode_opt.surrogates.conditional_gaussian import ConditionalGaussian
from mode_opt.surrogates.denoising import Denoising
from mode_opt.surrogates.density import ConditionalDensity, DensitySurrogate, PlainCoordinates
from mode_opt.surrogates.ensembles import Ensemble, SurrogateFactory, ensemble
from mode_opt.surrogates.families import deposits, diffusion, flow, gan, gaussian, mixture, quadratic
from mode_opt.surrogates.held_out import calibration
from mode_opt.surrogates.mixture_density import MixtureDensity
from mode_opt.surrogates.model import ConditionalModel, Rows
from mode_opt.surrogates.neighbourhood import NeighbourhoodSurrogate
from mode_opt.surrogates.quadratic import QuadraticSurrogate
from mode_opt.surrogates.quadratic_form import QuadraticClassifier, QuadraticDensity, QuadraticForm
from mode_opt.surrogates.refined import Refined, refined
from mode_opt.surrogates.sinh_arcsinh import SinhArcsinh
from mode_opt.surrogates.spline_flow import SplineFlow
from mode_opt.surrogates.training import FitReport, Training
from mode_opt.surrogates.trend import Trend, evidence_ridge

__all__ = [
    "Adversarial",
    "ChainRule",
    "CoarseToFine",
    "Composition",
    "ConditionalDensity",
    "ConditionalGaussian",
    "ConditionalModel",
    "Coordinates",
    "Denoising",
    "DensitySurrogate",
    "Ensemble",
    "FitReport",
    "MixtureDensity",
    "NeighbourhoodSurrogate",
    "PlainCoordinates",
    "QuadraticClassifier",
    "QuadraticDensity",
    "QuadraticForm",
    "QuadraticSurrogate",
    "Refined",
    "Rows",
    "SinhArcsinh",
    "SplineFlow",
    "Surrogate",
    "SurrogateFactory",
    "Training",
    "Trend",
    "cache_folder",
    "calibration",
    "content_key",
    "deposits",
    "diffusion",
    "ensemble",
    "evidence_ridge",
    "flow",
    "gan",
    "gaussian",
    "load_or_fit",
    "mixture",
    "quadratic",
    "refined",
]
