"""Reconstructions: from events to distributions over the truth."""

from mode_opt.reconstruction.base import Reconstruction
from mode_opt.reconstruction.beliefs import log_normal, normal
from mode_opt.reconstruction.network import CellNetwork
from mode_opt.reconstruction.prior import PriorBelief
from mode_opt.reconstruction.sets import SetNetwork
from mode_opt.reconstruction.verdict import Verdict

__all__ = ["CellNetwork", "PriorBelief", "Reconstruction", "SetNetwork", "Verdict", "log_normal", "normal"]
