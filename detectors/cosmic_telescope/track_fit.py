"""``TrackFit``: the least-squares fit of a straight line to the six crossings."""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ShapeError
from mode_opt.events import Events
from mode_opt.reconstruction import Reconstruction
from mode_opt.reconstruction.beliefs import normal

from .lines import LAYERS, Layers

TRUTH = ("phi", "cot", "z", "b")
_FARTHEST = 0.99
"""Largest distance from the axis, in radii of the innermost layer, that the fit looks at."""


@final
@dataclass(frozen=True)
class TwoParameters:
    """Weighted linear least squares of two parameters: values and covariance, each ``b x n``."""

    first: Tensor
    second: Tensor
    variance_first: Tensor
    variance_second: Tensor

    @classmethod
    def of(cls, values: Tensor, first: Tensor, second: Tensor, weight: Tensor) -> "TwoParameters":
        """Minimise ``Σ w (y − p f − q g)²`` over the last dimension.

        Args:
            values: y, ``b x n x k``.
            first: f, slopes of the first parameter.
            second: g, slopes of the second.
            weight: w, inverse variances.
        """
        ff, fg, gg = ((weight * x * y).sum(-1) for x, y in ((first, first), (first, second), (second, second)))
        fy, gy = ((weight * x * values).sum(-1) for x in (first, second))
        determinant = ff * gg - fg**2
        p, q = (gg * fy - fg * gy) / determinant, (ff * gy - fg * fy) / determinant
        return cls(*torch.broadcast_tensors(p, q, gg / determinant, ff / determinant))


@final
class TrackFit(Reconstruction):
    """φ, cot θ, z and b of the straight line that fits the six crossings best; it knows nothing of scattering.

    With m⁻, m⁺ the turned azimuths of a layer where the muon enters and leaves it, half their sum and half their
    difference are

    .. math:: \\frac{m^+ + m^-}{2} = \\varphi - \\frac\\pi2 + \\kappa z, \\qquad
              \\frac{m^+ - m^-}{2} = \\frac\\pi2 - \\arcsin\\frac br + \\kappa \\sqrt{r^2 - b^2}\\,\\cot\\theta

    and since both crossings of a layer have the same error, the fit of four parameters falls into two fits of two:
    the sums give φ and z, linearly, and the differences b and cot θ, by ``steps`` Gauss-Newton steps from what the
    axial layer alone says of b. Weights are the inverse squares of the widths of a strip.

    The belief is Gaussian: the fit's own errors, times one number for each of φ, cot θ, z, b, which is trained and
    takes up the size of the error of a crossing and the scattering.

    Args:
        steps: Gauss-Newton steps.

    Raises:
        ShapeError: when called, for hits that are not six numbers.
    """

    def __init__(self, steps: int = 4) -> None:
        super().__init__()
        self.steps = steps
        self.log_scale = nn.Parameter(torch.full((len(TRUTH),), math.log(0.5)))

    @classmethod
    def fitting(cls, events: Events, phi: DesignPoint, **options: Any) -> "TrackFit":
        """One for these events; ``options`` are those of the constructor."""
        return cls(**options)

    def forward(self, events: Events, phi: DesignPoint) -> Distribution:
        if events.hits.shape[2:] != (2 * LAYERS, 1):
            raise ShapeError("Events.hits", events.hits.shape, f"b x n x {2 * LAYERS} x 1, six crossings")
        into, out = events.hits[..., 0].split(LAYERS, -1)
        layers = Layers.of(phi)
        across = self._sums((out + into) / 2, layers)
        along = self._differences((out - into) / 2, layers)
        location = torch.stack([across.first + math.pi / 2, along.second, across.second, along.first], -1)
        variances = (across.variance_first, along.variance_second, across.variance_second, along.variance_first)
        spread = torch.stack(variances, -1).clamp(min=1e-30).sqrt() * self.log_scale.exp()
        return normal(location, spread)

    @staticmethod
    def _sums(sums: Tensor, layers: Layers) -> TwoParameters:
        """φ − π/2 and z."""
        turn, weight = layers.turn[:, None], layers.step[:, None] ** -2
        return TwoParameters.of(sums, torch.ones_like(turn), turn, weight)

    def _differences(self, differences: Tensor, layers: Layers) -> TwoParameters:
        """b and cot θ."""
        radius, turn, weight = layers.radius[:, None], layers.turn[:, None], layers.step[:, None] ** -2
        limit = _FARTHEST * radius.amin(-1)
        b = (radius[..., 1] * (math.pi / 2 - differences[..., 1]).sin()).clamp(-limit, limit)
        cot = torch.zeros_like(b)
        fit = None
        for _ in range(self.steps):
            chord = (radius**2 - b.unsqueeze(-1) ** 2).sqrt()
            expected = math.pi / 2 - torch.asin(b.unsqueeze(-1) / radius) + turn * chord * cot.unsqueeze(-1)
            in_b = -(1 + turn * b.unsqueeze(-1) * cot.unsqueeze(-1)) / chord
            step = TwoParameters.of(differences - expected, in_b, turn * chord, weight)
            b, cot = torch.clamp(b + step.first, -limit, limit), cot + step.second
            fit = TwoParameters(b, cot, step.variance_first, step.variance_second)
        assert fit is not None
        return fit
