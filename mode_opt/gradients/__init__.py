"""Gradient estimators: how the derivative of the objective passes the simulator."""

from mode_opt.gradients.automatic import Automatic
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.gradients.finite_differences import FiniteDifferences
from mode_opt.gradients.pathwise import Pathwise
from mode_opt.gradients.score_function import ScoreFunction

__all__ = ["Automatic", "FiniteDifferences", "GradientEstimator", "Pathwise", "Score", "ScoreFunction"]
