"""What the track fit measures without scattering, in closed form."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from .lines import Layers
from .passage import Apparatus


@final
@dataclass(frozen=True)
class Errors:
    """Standard errors of the four parameters of a track, each ``b x n``; z and b in mm."""

    phi: Tensor
    cot: Tensor
    z: Tensor
    b: Tensor


def without_scattering(layers: Layers, apparatus: Apparatus, cot: Tensor, b: Tensor) -> Errors:
    r"""Errors of `TrackFit` from those of the crossings, to first order.

    Half the sum and half the difference of both crossings of a layer have the variance
    ``σ_l² = (error x step)²/2``. With the weights ``w_l = step_l^{-2}`` of the fit and A its two columns (1, κ_l for
    the sums; ∂/∂b, ∂/∂cot for the differences),

    .. math:: V = (A^T w A)^{-1}\,A^T w\,\mathrm{diag}(\sigma^2)\,w A\,(A^T w A)^{-1}

    For a track through the axis and equal layers (radius r, errors σ) the differences are a straight line over the
    lever arms ``x_l = κ_l r``, tan ψ of the stereo angle, whose slope is cot θ:

    .. math:: \sigma_{\cot} = \frac{\sigma}{\sqrt{\sum_l (x_l - \bar x)^2}}, \qquad
              \sum_l (x_l - \bar x)^2 = \tfrac23\,(c^2 - x_1 x_3)\ \text{for}\ x = (x_1, 0, -x_3),\ x_1 + x_3 = c

    so that for a given sum of windings cot θ is measured best if one of the stereo layers has all of it, by a factor
    ``√(4/3)`` better than with equal windings; φ, the intercept of the sums at z = 0, is measured worse by ``√(3/2)``.

    Args:
        layers: of ``b`` designs.
        apparatus: errors of the crossings.
        cot: of the tracks, ``b x n`` or ``1 x n``.
        b: their distances from the axis, mm.
    """
    radius, turn, weight = layers.radius[:, None], layers.turn[:, None], layers.step[:, None] ** -2
    scale = torch.stack([torch.as_tensor(error, dtype=radius.dtype) for error in apparatus.errors()])
    variance = (scale * layers.step[:, None]) ** 2 / 2
    chord = (radius**2 - b.unsqueeze(-1) ** 2).sqrt()
    in_b = -(1 + turn * b.unsqueeze(-1) * cot.unsqueeze(-1)) / chord
    phi, z = _two_errors(torch.ones_like(chord), turn.expand_as(chord), weight, variance)
    distance, slope = _two_errors(in_b, turn * chord, weight, variance)
    return Errors(phi, slope, z, distance)


def _two_errors(first: Tensor, second: Tensor, weight: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Standard errors of two weighted-least-squares parameters whose slopes are these, ``b x n x 3`` each."""
    columns = torch.stack([first, second], -1)
    weighted = columns * weight.unsqueeze(-1)
    inverse = torch.linalg.inv(weighted.mT @ columns)
    covariance = inverse @ (weighted.mT @ (variance.unsqueeze(-1) * weighted)) @ inverse
    return covariance[..., 0, 0].sqrt(), covariance[..., 1, 1].sqrt()


def central_half_width(errors: Tensor, part: float = 0.682689) -> Tensor:
    """Half-width of the central part of a mixture of centred Gaussians of these errors, ``... x n`` to ``...``.

    Solves ``⟨erf(h / (√2 σ))⟩ = part`` by bisection.
    """
    low, high = torch.zeros_like(errors[..., 0]), 10 * errors.amax(-1)
    for _ in range(60):
        middle = (low + high) / 2
        inside = torch.special.erf(middle.unsqueeze(-1) / (math.sqrt(2) * errors)).mean(-1)
        low, high = torch.where(inside < part, middle, low), torch.where(inside < part, high, middle)
    return (low + high) / 2
