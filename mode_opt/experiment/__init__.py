"""The experiment: design, simulator, reconstruction, objective and gradient estimator, composed and optimised."""

from mode_opt.experiment.alternation import Alternation, Backward, Effort, Optimisers, Record, backward
from mode_opt.experiment.detector import Detector, Goal, ReconstructionFactory, Shape
from mode_opt.experiment.diagnosis import Diagnosis, DiagnosisEffort, diagnose
from mode_opt.experiment.directions import Directions
from mode_opt.experiment.experiment import Experiment
from mode_opt.experiment.finding import Finding
from mode_opt.experiment.guard import GradientCheck
from mode_opt.experiment.loop import Outcome, optimise
from mode_opt.experiment.reference import Problem, Reference
from mode_opt.experiment.tolerance import (
    DirectionTolerance,
    LimitTolerance,
    ParameterTolerance,
    ToleranceEffort,
    Tolerances,
    tolerances,
    trained_around,
)
from mode_opt.experiment.tuning import Tuning, tune
from mode_opt.experiment.verification import Comparison, Verification, VerificationEffort, trained_at, verify
from mode_opt.objectives.uncertainty import Estimate, Replicas, jackknife

__all__ = [
    "Alternation",
    "Backward",
    "Comparison",
    "Detector",
    "Diagnosis",
    "DiagnosisEffort",
    "DirectionTolerance",
    "Directions",
    "Effort",
    "Estimate",
    "Experiment",
    "Finding",
    "Goal",
    "GradientCheck",
    "LimitTolerance",
    "Optimisers",
    "Outcome",
    "ParameterTolerance",
    "Problem",
    "ReconstructionFactory",
    "Record",
    "Reference",
    "Replicas",
    "Shape",
    "ToleranceEffort",
    "Tolerances",
    "Tuning",
    "Verification",
    "VerificationEffort",
    "backward",
    "diagnose",
    "jackknife",
    "optimise",
    "tolerances",
    "trained_around",
    "trained_at",
    "tune",
    "verify",
]
