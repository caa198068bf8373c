"""How precisely a design must be built."""

from mode_opt.experiment.tolerance.effort import ToleranceEffort
from mode_opt.experiment.tolerance.limits import Limit, Limits
from mode_opt.experiment.tolerance.measuring import tolerances
from mode_opt.experiment.tolerance.model import QuadraticModel, allowed
from mode_opt.experiment.tolerance.multipliers import Stationarity, stationarity
from mode_opt.experiment.tolerance.profiles import Profile, profiles
from mode_opt.experiment.tolerance.regression import Fit, Regression
from mode_opt.experiment.tolerance.result import (
    DirectionTolerance,
    LimitTolerance,
    ParameterTolerance,
    Side,
    Tolerances,
)
from mode_opt.experiment.tolerance.significance import Agreement, agreement
from mode_opt.experiment.tolerance.space import Space
from mode_opt.experiment.tolerance.training import Untold, trained_around

__all__ = [
    "Agreement",
    "DirectionTolerance",
    "Fit",
    "Limit",
    "LimitTolerance",
    "Limits",
    "ParameterTolerance",
    "Profile",
    "QuadraticModel",
    "Regression",
    "Side",
    "Space",
    "Stationarity",
    "ToleranceEffort",
    "Tolerances",
    "Untold",
    "agreement",
    "allowed",
    "profiles",
    "stationarity",
    "tolerances",
    "trained_around",
]
