"""The experiment: design, simulator, reconstruction, objective and gradient estimator, composed and optimised."""

from mode_opt.experiment.alternation import Alternation, Backward, Effort, Optimisers, Record, backward
from mode_opt.experiment.detector import Detector, ReconstructionFactory, Shape
from mode_opt.experiment.experiment import Experiment
from mode_opt.experiment.loop import Outcome, optimise
from mode_opt.experiment.uncertainty import Estimate, Replicas, jackknife
from mode_opt.experiment.verification import Verification, VerificationEffort, verify

__all__ = [
    "Alternation",
    "Backward",
    "Detector",
    "Effort",
    "Estimate",
    "Experiment",
    "Optimisers",
    "Outcome",
    "ReconstructionFactory",
    "Record",
    "Replicas",
    "Shape",
    "Verification",
    "VerificationEffort",
    "backward",
    "jackknife",
    "optimise",
    "verify",
]
