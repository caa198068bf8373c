"""What is compared, and how precisely."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.detectors.z_resolution import Matching

NARROW, WIDE = (80e3, 100e3), (60e3, 120e3)
TRUTH = (0.999, 0.0203)
"""Of the toys: about what the likelihood finds."""
START = (1.01, 0.035)
PAIRS = 2048
SAMPLES = 200
"""Bootstrap samples of the recorded events."""
FEW = 30
"""Bootstrap samples of a toy."""


@dataclass(frozen=True)
class Row:
    """Scale and resolution by one method, with the bootstrap standard deviations."""

    name: str
    values: tuple[float, float]
    errors: tuple[float, float] | None = None
    hessian: tuple[float, float] | None = None


def pair(values: Tensor) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def matched(matching: Matching, mass: Tensor, weights: Tensor, start: tuple[float, float]) -> Tensor:
    """``b x 2`` for ``b x n`` weights."""
    fits = [matching.fit(mass, some, start) for some in weights]
    return torch.tensor([(fit.scale, fit.resolution) for fit in fits], dtype=torch.float64)
