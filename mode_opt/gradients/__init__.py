"""Gradient estimators: how the derivative of the objective passes the simulator."""

from mode_opt.gradients.automatic import Automatic
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.gradients.boundary import BoundaryTerms
from mode_opt.gradients.control_variate import ControlVariate
from mode_opt.gradients.evolution_strategies import EvolutionStrategies
from mode_opt.gradients.finite_differences import FiniteDifferences
from mode_opt.gradients.lineage_credit import LineageCredit
from mode_opt.gradients.local_regression import LocalRegression
from mode_opt.gradients.local_search import LocalSearch
from mode_opt.gradients.local_surrogate import Descent, LocalSurrogate
from mode_opt.gradients.measure_valued import MeasureValued
from mode_opt.gradients.pathwise import Pathwise
from mode_opt.gradients.pruned_alternative import PrunedAlternative
from mode_opt.gradients.relaxed import Relaxed
from mode_opt.gradients.sampling import Sampling
from mode_opt.gradients.score_function import ScoreFunction
from mode_opt.gradients.search import Advance, DesignSearch, Pipeline
from mode_opt.gradients.simultaneous_perturbation import SimultaneousPerturbation
from mode_opt.gradients.straight_through import StraightThrough
from mode_opt.gradients.weighted import WeightedEstimator

__all__ = [
    "Advance",
    "Automatic",
    "BoundaryTerms",
    "ControlVariate",
    "Descent",
    "DesignSearch",
    "EvolutionStrategies",
    "FiniteDifferences",
    "GradientEstimator",
    "LineageCredit",
    "LocalRegression",
    "LocalSearch",
    "LocalSurrogate",
    "MeasureValued",
    "Pathwise",
    "Pipeline",
    "PrunedAlternative",
    "Relaxed",
    "Sampling",
    "Score",
    "ScoreFunction",
    "SimultaneousPerturbation",
    "StraightThrough",
    "WeightedEstimator",
]
