"""Optimisation with Lightning: the training loop, its run directory, budgets, interruption and resume."""

from mode_opt.training.history import History
from mode_opt.training.stopping import Budget, EarlyStopping

__all__ = ["Budget", "EarlyStopping", "History"]
