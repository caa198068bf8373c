"""What is not known of the background, one step below and above its value."""

import math
from collections.abc import Callable, Mapping
from typing import Final, final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.objectives import Miscalibration, Scenario, Spectrum

from .problem import Mixture

STEPS: Final[Mapping[str, float]] = {"shift": 0.05, "rate": 0.1, "yield": 10.0}
"""Of the central differences of the expected counts in the unknown parameters."""

Pair = tuple[Scenario, Scenario]


def moved(name: str, step: float, mixture: Mixture) -> Pair:
    """The background with events that are where they would be if the parameter were one step lower, and higher."""
    low, high = (_moved(name, change, mixture) for change in (-step, step))
    return low, high


def _moved(name: str, change: float, mixture: Mixture) -> Scenario:
    if name == "shift":
        return Miscalibration(feature=0, shift=change)
    if name == "rate":
        return Miscalibration(feature=2, factor=mixture.rate / (mixture.rate + change))
    return Spectrum(at=(0.0,), factor=(1 + change / mixture.background,))


def reweighted(name: str, step: float, mixture: Mixture) -> Pair:
    """The same as `moved` by weights: each event stays in its bin, and counts as much as the densities say."""
    if name == "yield":
        return moved(name, step, mixture)
    low, high = (_Reweighted(_RATIOS[name], change, mixture) for change in (-step, step))
    return low, high


@final
class _Reweighted(Scenario):
    """Weights times the ratio of the changed density of the background to its own, for exact measurements."""

    def __init__(self, ratio: Callable[[Tensor, float, Mixture], Tensor], change: float, mixture: Mixture) -> None:
        super().__init__()
        self.ratio, self.change, self.mixture = ratio, change, mixture

    @property
    def seen(self) -> bool:
        return False

    @property
    def separate(self) -> bool:
        return False

    def forward(self, events: Events, phi: DesignPoint) -> tuple[Events, DesignPoint]:
        return events.reweighted(self.ratio(events.hits[:, :, 0], self.change, self.mixture)), phi


def _shift_ratio(hits: Tensor, change: float, mixture: Mixture) -> Tensor:
    distance = hits[..., 0] - mixture.distance
    return torch.exp((distance * change - change**2 / 2) / mixture.variances[0])


def _rate_ratio(hits: Tensor, change: float, mixture: Mixture) -> Tensor:
    return torch.exp(math.log1p(change / mixture.rate) - change * hits[..., 2])


_RATIOS: Mapping[str, Callable[[Tensor, float, Mixture], Tensor]] = {"shift": _shift_ratio, "rate": _rate_ratio}
