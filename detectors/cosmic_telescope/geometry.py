"""Where the layers of the recorded run are, as its strips and its generated tracks tell."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .data import STRIPS, Pairs, generated, struck
from .lines import LAYERS, LENGTH, Line
from .refit import clusters

_FAST = 2000.0
"""Momentum, MeV, above which scattering is small against a strip."""


class Layer(NamedTuple):
    """One layer of the recorded run, with standard errors.

    Attributes:
        radius: mm.
        winding: turns of a strip from end to end, signed.
        pitch: width of a strip across its length, mm.
        radius_error: mm.
        winding_error: turns.
        crossings: that were used.
    """

    radius: float
    winding: float
    pitch: float
    radius_error: float
    winding_error: float
    crossings: int


def recorded_layers() -> list[Layer]:
    """Radius and winding of each layer for which the fast generated tracks cross the strips that were struck.

    Least squares, robust against wrong strips, of radius, winding and azimuth of strip 1.

    Raises:
        DataError: if the file is missing or broken.
    """
    return [_fitted(layer, *_crossings(layer)) for layer in range(LAYERS)]


def _crossings(layer: int) -> tuple[Pairs, Tensor]:
    """Fast tracks with two clusters in a layer, and where these are (turned azimuth, ``n x 2``)."""
    event, number, strip, energy = struck()
    truth = generated()
    chosen, places = [], []
    for k in (truth.momentum > _FAST).nonzero()[:, 0].tolist():
        here = (event == truth.event[k]) & (number == layer)
        found = clusters(strip[here], energy[here], layer)
        if len(found) == 2 and all(cluster.size <= 3 for cluster in found):
            chosen.append(k)
            places.append([cluster.place for cluster in found])
    pairs = Pairs(truth.truth[chosen], truth.momentum[chosen], truth.found, truth.event[chosen])
    return pairs, torch.tensor(places)


def _fitted(layer: int, tracks: Pairs, places: Tensor) -> Layer:
    from scipy.optimize import least_squares

    line = Line(*(tracks.truth[:, k].double() for k in range(4)))
    step = 2 * math.pi / STRIPS[layer]

    def residual(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """In strips; the pairing of crossings and clusters that fits better."""
        radius, winding, offset = values
        expected = [
            line.azimuth(torch.tensor(radius), side)
            + 2 * math.pi * winding / LENGTH * line.height(torch.tensor(radius), side)
            + offset
            for side in (-1, 1)
        ]
        ways = [_wrapped(places.double() - torch.stack(way, 1)) / step for way in (expected, expected[::-1])]
        better = ways[0].abs().sum(1) < ways[1].abs().sum(1)
        chosen: Tensor = torch.where(better.unsqueeze(1), ways[0], ways[1])
        return np.asarray(chosen.clamp(-3, 3).flatten())

    start = [165.0 + 10 * layer, (0.5, 0.0, -0.5)[layer], 0.0]
    fit = least_squares(residual, start, loss="soft_l1", f_scale=0.5, x_scale=[10.0, 0.01, 0.01], diff_step=1e-4)
    variance = float(np.square(fit.fun).mean())
    errors = np.sqrt(np.diag(np.linalg.inv(fit.jac.T @ fit.jac)) * variance)
    radius, winding = float(fit.x[0]), float(fit.x[1])
    pitch = step * radius / math.hypot(1.0, 2 * math.pi * winding * radius / LENGTH)
    return Layer(radius, winding, pitch, float(errors[0]), float(errors[1]), places.numel())


def _wrapped(angle: Tensor) -> Tensor:
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
