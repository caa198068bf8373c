"""The true mass of a muon pair: Z and photon with their interference, and the photons that the muons radiate."""

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import PrimarySource

Z_MASS = 91187.6
"""MeV, as measured with a width that runs (Particle Data Group)."""
Z_WIDTH = 2495.2
"""MeV."""
MUON_MASS = 105.6584
"""MeV."""
ALPHA = 1 / 137.036
SIN2 = 0.2312
"""Effective weak mixing angle of leptons, sin²θ."""

LOWEST = math.log(40e3)
"""Logarithm of the mass in MeV at which the grid begins."""
SPACING = 2e-4
"""Of the grid, in ln m: 18 MeV at the Z."""
POINTS = 8192
"""Of the grid, up to 206 GeV."""


@final
class LineShape:
    r"""Distribution of the true mass of a muon pair, on a grid in y = ln m.

    Quark and antiquark annihilate into a photon or a Z, with the width that runs with m² and vector and axial couplings
    v = T₃ − 2 Q sin²θ and a = T₃ (leading order, averaged over the angles):

    .. math:: \frac{d\sigma}{dy} \propto m^{-2-k} \sum_q f_q \left[Q_q^2 + 2 Q_q Q_\mu v_q v_\mu \mathrm{Re}\,\chi
        + (v_q^2 + a_q^2)(v_\mu^2 + a_\mu^2) |\chi|^2\right], \qquad
        \chi = \frac{1}{4 \sin^2\theta \cos^2\theta}\, \frac{m^2}{m^2 - m_Z^2 + i m^2 \Gamma / m_Z}

    The luminosity of the quark pairs falls like ``m^-k``. Then the muons radiate a fraction x of m² (leading logarithm,
    soft photons summed up), with β = (2α/π)(ln(m_Z²/m_μ²) − 1) = 0.058:

    .. math:: G(x) \propto \beta x^{\beta - 1} (1 - x + x^2/2)

    Half a per cent of the mean mass within 80 to 100 GeV is lost this way, which a fit without it takes for the scale.
    Left out: higher orders, acceptance that depends on the mass, and backgrounds.

    Args:
        luminosity: k of the luminosity ``m^-k``.
        radiation: whether the muons radiate.
        up: share of the u quarks, the rest are d quarks.

    Raises:
        ConfigurationError: for a share that is none.

    Source: Particle Data Group, Review of Particle Physics, "Electroweak model and constraints on new physics" and "Z
    boson"; E. A. Kuraev and V. S. Fadin, Sov. J. Nucl. Phys. 41 (1985) 466.
    """

    def __init__(self, luminosity: float = 1.0, radiation: bool = True, up: float = 0.6) -> None:
        if not 0 <= up <= 1:
            raise ConfigurationError("detector.line_shape.up", up, "a share between 0 and 1")
        self.logarithm = LOWEST + SPACING * torch.arange(POINTS, dtype=torch.float64)
        before = annihilation(self.logarithm.exp(), luminosity, up)
        after = _convolved(before, radiation_kernel()) if radiation else before
        self.probability = after / after.sum()

    def quantile(self, uniform: Tensor, low: float, high: float) -> Tensor:
        """Masses in MeV between two masses, for numbers between 0 and 1 in double precision."""
        cumulative = torch.cat([torch.zeros(1, dtype=torch.float64), self.probability.cumsum(0)])
        edges = torch.cat([self.logarithm - SPACING / 2, self.logarithm[-1:] + SPACING / 2])
        limits = torch.tensor([low, high], dtype=torch.float64).log()
        first, last = _interpolated(edges, cumulative, limits)
        return _interpolated(cumulative, edges, first + uniform * (last - first)).exp()


def annihilation(mass: Tensor, luminosity: float, up: float) -> Tensor:
    """``dσ/d ln m`` before radiation, in arbitrary units; see `LineShape`."""
    s = (mass / Z_MASS) ** 2
    chi = s / (4 * SIN2 * (1 - SIN2)) / torch.complex(s - 1, s * Z_WIDTH / Z_MASS)
    charge, vector, axial = _couplings(-1.0, -0.5)
    total = torch.zeros_like(mass)
    for share, quark in ((up, _couplings(2 / 3, 0.5)), (1 - up, _couplings(-1 / 3, -0.5))):
        q, v, a = quark
        interference = 2 * q * charge * v * vector * chi.real
        total = total + share * (
            (q * charge) ** 2 + interference + (v**2 + a**2) * (vector**2 + axial**2) * chi.abs() ** 2
        )
    return total * (mass / Z_MASS) ** (-2 - luminosity)


def _couplings(charge: float, isospin: float) -> tuple[float, float, float]:
    """Electric, vector and axial."""
    return charge, isospin - 2 * charge * SIN2, isospin


def radiated(fraction: Tensor) -> Tensor:
    """Probability that the muons radiate less than this fraction x of m²."""
    beta = 2 * ALPHA / math.pi * (2 * math.log(Z_MASS / MUON_MASS) - 1)
    whole = 1 - beta / (beta + 1) + beta / (2 * (beta + 2))
    return fraction**beta * (1 - beta / (beta + 1) * fraction + beta / (2 * (beta + 2)) * fraction**2) / whole


def radiation_kernel() -> Tensor:
    """Probability to lose 0, 1, 2, ... steps of the grid: ln m falls by ``−½ ln(1 − x)``."""
    edges = SPACING * (torch.arange(POINTS, dtype=torch.float64) + 0.5)
    return torch.diff(radiated(-torch.expm1(-2 * edges)), prepend=torch.zeros(1, dtype=torch.float64))


def _convolved(probability: Tensor, loss: Tensor) -> Tensor:
    """``Σ_k p[j + k] loss[k]``; nothing comes from beyond the grid."""
    size = 2 * POINTS
    product = torch.fft.rfft(probability, size) * torch.fft.rfft(loss, size).conj()
    # What a round trip leaves of a probability can be slightly negative.
    return torch.fft.irfft(product, size)[:POINTS].clamp_min(0.0)


def _interpolated(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """Linear interpolation between points with rising x."""
    right = torch.searchsorted(x, at.contiguous()).clamp(1, len(x) - 1)
    x0, x1, y0, y1 = x[right - 1], x[right], y[right - 1], y[right]
    return y0 + (at - x0) / (x1 - x0) * (y1 - y0)


@final
class MuonPairs(PrimarySource):
    """Muon pairs with the true mass of a `LineShape`; truth and the only hit feature are the mass, MeV.

    Args:
        shape: the distribution.
        mass: lowest and highest, MeV, within 40 and 206 GeV.
        stratified: draw the masses one from each of ``count`` equally likely intervals, in random order: the same
            distribution of each event, with less noise in averages.

    Raises:
        ConfigurationError: for masses that do not rise, or lie outside.
    """

    def __init__(self, shape: LineShape, mass: Sequence[float], stratified: bool = True) -> None:
        super().__init__()
        grid = float(shape.logarithm[0].exp()), float(shape.logarithm[-1].exp())
        if len(mass) != 2 or not grid[0] <= mass[0] < mass[1] <= grid[1]:
            raise ConfigurationError("primaries.mass", list(mass), "[low, high] within 40000 and 205000 MeV")
        self.shape, self.low, self.high, self.stratified = shape, float(mass[0]), float(mass[1]), stratified

    @property
    def truth_names(self) -> tuple[str, ...]:
        return ("mass",)

    @property
    def truth_units(self) -> tuple[str, ...]:
        return ("MeV",)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Events:
        device = "cpu" if generator is None else generator.device
        uniform = torch.rand(count, generator=generator, device=device, dtype=torch.float64)
        if self.stratified:
            uniform = (torch.randperm(count, generator=generator, device=device) + uniform) / count
        # The grid stays on the CPU: it is searched once for each event.
        mass = self.shape.quantile(uniform.cpu(), self.low, self.high).to(device, torch.get_default_dtype())
        return Events.of(mass.reshape(1, count, 1), mass.reshape(1, count, 1, 1))
