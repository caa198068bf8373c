"""Reconstructions: from events to distributions over the truth."""

from mode_opt.reconstruction.base import Reconstruction
from mode_opt.reconstruction.beliefs import log_normal, normal
from mode_opt.reconstruction.classifier import Classifier
from mode_opt.reconstruction.critic import Critic
from mode_opt.reconstruction.network import CellNetwork
from mode_opt.reconstruction.prior import PriorBelief
from mode_opt.reconstruction.sets import SetNetwork
from mode_opt.reconstruction.summary import SummaryNetwork
from mode_opt.reconstruction.verdict import Verdict

__all__ = [
    "CellNetwork",
    "Classifier",
    "Critic",
    "PriorBelief",
    "Reconstruction",
    "SetNetwork",
    "SummaryNetwork",
    "Verdict",
    "log_normal",
    "normal",
]
