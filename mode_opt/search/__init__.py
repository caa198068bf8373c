"""Searches that need values of the objective only: the baselines of the local surrogates, and finders of starts."""

from mode_opt.search.base import AskTell
from mode_opt.search.bayesian import BayesianOptimisation
from mode_opt.search.box import Box
from mode_opt.search.cma_es import CovarianceAdaptation
from mode_opt.search.evaluations import Evaluations, evaluate
from mode_opt.search.front import Front, non_dominated, reference_point
from mode_opt.search.hypervolume import HypervolumeSearch
from mode_opt.search.random_search import RandomSearch
from mode_opt.search.recommend import Recommendation, recommend
from mode_opt.search.start_point import StartPoint
from mode_opt.search.turbo import TrustRegionBayesianOptimisation

__all__ = [
    "AskTell",
    "BayesianOptimisation",
    "Box",
    "CovarianceAdaptation",
    "Evaluations",
    "Front",
    "HypervolumeSearch",
    "RandomSearch",
    "Recommendation",
    "StartPoint",
    "TrustRegionBayesianOptimisation",
    "evaluate",
    "non_dominated",
    "recommend",
    "reference_point",
]
