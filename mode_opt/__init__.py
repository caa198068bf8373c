"""Gradient-based optimisation of experiment design: detector, simulator, reconstruction, objective, end to end."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mode_opt.design import Design, DesignPoint
    from mode_opt.events import Events
    from mode_opt.experiment import Detector, Effort, Experiment, VerificationEffort, optimise, verify

__version__ = "0.1.0"

_HOME = {
    "Design": "mode_opt.design",
    "DesignPoint": "mode_opt.design",
    "Detector": "mode_opt.experiment",
    "Effort": "mode_opt.experiment",
    "Events": "mode_opt.events",
    "Experiment": "mode_opt.experiment",
    "VerificationEffort": "mode_opt.experiment",
    "optimise": "mode_opt.experiment",
    "verify": "mode_opt.experiment",
}

__all__ = [
    "Design",
    "DesignPoint",
    "Detector",
    "Effort",
    "Events",
    "Experiment",
    "VerificationEffort",
    "optimise",
    "verify",
]


def __getattr__(name: str) -> Any:
    # Lazy, so that the command line can answer without importing torch.
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
