"""Scale and resolution by an unbinned likelihood fit."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mode_opt.errors import NonFiniteError

from .line_shape import LOWEST, POINTS, SPACING, LineShape

START = (1.0, 0.02)
"""Scale and resolution from which the fit sets out."""
NARROWEST, WIDEST = 0.004, 0.08
"""Resolutions between which the fit looks."""
STEPS = 60


@dataclass(frozen=True, eq=False)
class Fit:
    """Best values of one or more samples.

    Attributes:
        values: ``b x 2``, scale and resolution.
        covariance: ``b x 2 x 2``, the inverse of the second derivatives of −ln L.
        converged: ``b``, False where the resolution is at the edge of what the fit looks at, or the fit did not end.
    """

    values: Tensor
    covariance: Tensor
    converged: Tensor

    @property
    def errors(self) -> Tensor:
        """``b x 2``."""
        return self.covariance.diagonal(dim1=1, dim2=2).clamp_min(0.0).sqrt()


@final
class Likelihood:
    r"""``Σ ln p(m)`` of recorded masses within a window, with p normalised there.

    In y = ln m the scale is a shift and the resolution a Gaussian, so that the density and all its derivatives are one
    Fourier transform away: with P(ω) that of the line shape and σ' = σ/√2,

    .. math:: p(y) = \mathcal{F}^{-1}\left[P(\omega) e^{-\sigma'^2 \omega^2/2 - i \omega \ln s}\right],
        \qquad \ln L = \sum_i w_i \left(\ln p(y_i) - \ln \int_{\rm window} p\, dy\right)

    Args:
        shape: of the true masses.
        window: lowest and highest recorded mass, MeV.
        masses: ``n``, MeV, all within the window.

    Raises:
        NonFiniteError: for a mass outside of the window.
    """

    def __init__(self, shape: LineShape, window: tuple[float, float], masses: Tensor) -> None:
        masses = masses.double()
        if not bool(((masses >= window[0]) & (masses <= window[1])).all()):
            raise NonFiniteError(f"a mass outside of {window[0]:g} to {window[1]:g} MeV has no likelihood")
        self.count = len(masses)
        self._transform = torch.fft.rfft(shape.probability / SPACING)
        self._omega = 2 * math.pi * torch.fft.rfftfreq(POINTS, SPACING, dtype=torch.float64)
        self._place, self._share = _cubic(masses.log())
        self._integral = _quadrature(math.log(window[0]), math.log(window[1]))

    def terms(self, values: Tensor, order: int = 2) -> tuple[Tensor, Tensor]:
        """Density at the masses and its integral over the window, with derivatives in (ln s, σ').

        Args:
            values: ``b x 2``, ln s and σ'.
            order: 0: values only; 2: value, two first and three second derivatives (11, 12, 22).

        Returns:
            ``b x k x n`` and ``b x k`` with k = 1 or 6.
        """
        shift, width = values[:, :1, None], values[:, 1:, None]
        i_omega, square = 1j * self._omega, self._omega**2
        smeared = self._transform * (-0.5 * width**2 * square - i_omega * shift).exp()
        factors = [torch.ones_like(width * square)]
        if order:
            factors += [-i_omega + 0 * width, -width * square, -square + 0 * width, i_omega * width * square]
            factors += [width**2 * square**2 - square]
        density = torch.fft.irfft(torch.cat([factor * smeared for factor in factors], 1), POINTS)
        return (density[..., self._place] * self._share).sum(-1), density @ self._integral

    def value(self, scale: float, resolution: float) -> float:
        """ln L, all weights 1, of the densities in ln m."""
        values = torch.tensor([[math.log(scale), resolution / math.sqrt(2)]], dtype=torch.float64)
        density, integral = self.terms(values, 0)
        return float((density / integral.unsqueeze(-1)).log().sum())

    def fit(self, weights: Tensor | None = None) -> Fit:
        """The largest likelihood of each row of weights, by Newton's method.

        Args:
            weights: ``b x n``, of the masses (bootstrap multiplicities); None: all 1.

        Returns:
            `Fit` of ``b`` samples.
        """
        weights = torch.ones(1, self.count, dtype=torch.float64) if weights is None else weights.double()
        parts = [self._fit(some) for some in weights.split(64)]
        return Fit(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _fit(self, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        root = math.sqrt(2)
        values = torch.tensor([[math.log(START[0]), START[1] / root]], dtype=torch.float64).repeat(len(weights), 1)
        limits = NARROWEST / root, WIDEST / root
        for _ in range(STEPS):
            slope, curvature = self._derivatives(values, weights)
            step = torch.linalg.solve(curvature, slope).clamp(-0.004, 0.004)
            before, values = values, values + step
            values = torch.cat([values[:, :1], values[:, 1:].clamp(*limits)], 1)
            if float((values - before).abs().max()) < 1e-10:
                break
        slope, curvature = self._derivatives(values, weights)
        inside = (values[:, 1] > limits[0]) & (values[:, 1] < limits[1])
        converged = inside & (torch.linalg.solve(curvature, slope).abs() < 1e-7).all(1)
        found = torch.stack([values[:, 0].exp(), root * values[:, 1]], 1)
        jacobian = torch.stack([found[:, 0], torch.full_like(found[:, 0], root)], 1)
        covariance = torch.linalg.inv(curvature) * jacobian[:, :, None] * jacobian[:, None, :]
        return found, covariance, converged

    def _derivatives(self, values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Slope of ln L, ``b x 2``, and −curvature, ``b x 2 x 2`` (of the outer product where it is not positive)."""
        density, integral = self.terms(values)
        total = weights.sum(1)
        of_events, of_window = _log_derivatives(density), _log_derivatives(integral.unsqueeze(-1))
        score = of_events[0] - of_window[0]
        slope = (weights.unsqueeze(1) * score).sum(2)
        second = (weights[:, None] * of_events[1]).sum(2) - total[:, None] * of_window[1][..., 0]
        curvature = -second[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
        outer = torch.einsum("bn,bin,bjn->bij", weights, score, score)
        positive = (torch.linalg.eigvalsh(curvature) > 0).all(1)
        return slope, torch.where(positive[:, None, None], curvature, outer)


def density(shape: LineShape, window: tuple[float, float], scale: float, resolution: float, masses: Tensor) -> Tensor:
    """Probability density of recorded masses (``n``, MeV, within the window) in 1/MeV."""
    likelihood = Likelihood(shape, window, masses)
    values = torch.tensor([[math.log(scale), resolution / math.sqrt(2)]], dtype=torch.float64)
    at, integral = likelihood.terms(values, 0)
    return at[0, 0] / integral[0, 0] / masses.double()


def _log_derivatives(terms: Tensor) -> tuple[Tensor, Tensor]:
    """First (``b x 2 x n``) and second (``b x 3 x n``: 11, 12, 22) derivatives of the logarithm."""
    relative = terms[:, 1:] / terms[:, :1]
    first, second = relative[:, :2], relative[:, 2:]
    product = torch.stack([first[:, 0] ** 2, first[:, 0] * first[:, 1], first[:, 1] ** 2], 1)
    return first, second - product


def _cubic(logarithm: Tensor) -> tuple[Tensor, Tensor]:
    """Indices and weights, ``n x 4``, of Lagrange interpolation on the grid."""
    place = (logarithm - LOWEST) / SPACING
    first = place.floor()
    t = place - first
    share = [-t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2, -(t + 1) * t * (t - 2) / 2]
    share.append((t + 1) * t * (t - 1) / 6)
    return first.long()[:, None] + torch.arange(-1, 3), torch.stack(share, 1)


def _quadrature(low: float, high: float) -> Tensor:
    """Weights whose sum with a function on the grid is its integral, piecewise linear, between two places."""

    def up_to(end: float) -> Tensor:
        place = (end - LOWEST) / SPACING
        first = math.floor(place)
        t = place - first
        weights = torch.zeros(POINTS, dtype=torch.float64)
        weights[: first + 1] = 1.0
        weights[0] = 0.5
        weights[first] += t - t**2 / 2 - 0.5
        weights[first + 1] += t**2 / 2
        return weights * SPACING

    return up_to(high) - up_to(low)
