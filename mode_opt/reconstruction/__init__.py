"""Reconstructions: from events to distributions over the truth."""

from mode_opt.reconstruction.base import Reconstruction
from mode_opt.reconstruction.beliefs import log_normal, normal
from mode_opt.reconstruction.network import CellNetwork
from mode_opt.reconstruction.sets import SetNetwork

__all__ = ["CellNetwork", "Reconstruction", "SetNetwork", "log_normal", "normal"]
