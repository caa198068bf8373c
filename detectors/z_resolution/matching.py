"""Scale and resolution by the Sinkhorn divergence, with the same simulated muon pairs for every value."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from mode_opt.objectives.transport import binned_divergence, sorted_transport

from .line_shape import LineShape
from .smearing import through_window

UNIT = 1000.0
"""MeV that count as one in the divergence."""
STEP = 0.01
"""What counts as one for the minimiser, of scale and resolution."""
NARROWEST, WIDEST = 0.004, 0.08
"""Resolutions between which the minimum is looked for."""
BINS = 4
"""Of the grid, to a blur."""
MARGIN = 1.35
"""How far beyond the window true masses are simulated: ln 1.35 are six standard deviations of a resolution of 7 %."""


@dataclass(frozen=True)
class Match:
    """The minimum.

    Attributes:
        scale: s.
        resolution: σ of the momentum of one muon, relative.
        divergence: there, GeV².
    """

    scale: float
    resolution: float
    divergence: float


@final
class Matching:
    """The minimum of the divergence between simulated and recorded masses over scale and resolution.

    The stochastic optimisation of ``mode-opt optimise`` tends to the same minimum; here the simulated pairs are fixed
    (a two-dimensional Sobol sequence for mass and smearing), so that a bootstrap or hundreds of toys take seconds. With
    a blur the masses are shared out to a grid, see `binned_divergence`.

    Args:
        shape: of the true masses.
        window: lowest and highest recorded mass, MeV.
        pairs: simulated.
        blur: in GeV; 0 is exact transport, by sorting.
        seed: of the scrambling of the sequence; None: plain random numbers do not take its place.
        random: independent random numbers instead of a Sobol sequence.
        scaling: of the blur, see `sinkhorn_divergence`.
    """

    def __init__(
        self,
        shape: LineShape,
        window: tuple[float, float],
        pairs: int = 4096,
        blur: float = 0.0,
        seed: int = 0,
        random: bool = False,
        scaling: float = 0.95,
    ) -> None:
        if random:
            uniform = torch.rand(pairs, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        else:
            uniform = torch.quasirandom.SobolEngine(2, True, seed).draw(pairs, dtype=torch.float64)
            uniform = uniform.clamp(1e-9, 1 - 1e-9)
        self.mass = shape.quantile(uniform[:, 0], window[0] / MARGIN, window[1] * MARGIN)
        self.uniform, self.window = uniform[:, 1].contiguous(), window
        self.blur, self.scaling = blur, scaling

    def simulated(self, scale: Tensor, resolution: Tensor) -> tuple[Tensor, Tensor]:
        """Masses in MeV and weights."""
        return through_window(self.mass, scale, resolution, self.uniform, self.window)

    def divergence(self, scale: Tensor, resolution: Tensor, masses: Tensor, weights: Tensor) -> Tensor:
        """From recorded masses (MeV) with weights, in GeV²."""
        found, passed = self.simulated(scale, resolution)
        x, y = found / UNIT, masses / UNIT
        if self.blur == 0:
            return sorted_transport(x, y, passed, weights)
        bins = math.ceil(BINS * (self.window[1] - self.window[0]) / UNIT / self.blur)
        return binned_divergence(x, y, passed, weights, self.blur, self.scaling, bins)

    def fit(self, masses: Tensor, weights: Tensor | None = None, start: tuple[float, float] = (0.995, 0.02)) -> Match:
        """The minimum for recorded masses (``n``, MeV) with weights (``n``, or all equal)."""
        masses = masses.double()
        some = torch.ones_like(masses) if weights is None else weights.double()
        used = some > 0  # those that a bootstrap did not draw only cost time
        masses, some = masses[used], some[used]

        def value(x: Tensor) -> Tensor:
            return self.divergence(1 + STEP * x[0], STEP * x[1], masses, some)

        best, lowest = minimised(value, [(start[0] - 1) / STEP, start[1] / STEP], NARROWEST / STEP, WIDEST / STEP)
        return Match(1 + STEP * best[0], STEP * best[1], lowest)


def minimised(
    function: Callable[[Tensor], Tensor], start: list[float], low: float, high: float
) -> tuple[list[float], float]:
    """Minimum of a function of two numbers, the second of which is bounded, by its derivatives."""
    from scipy.optimize import minimize

    def both(x: Any) -> tuple[float, Any]:
        point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        value = function(point)
        (slope,) = torch.autograd.grad(value, point)
        return float(value.detach()), slope.numpy()

    found = minimize(
        both, start, jac=True, method="L-BFGS-B", bounds=[(-5, 5), (low, high)], options={"ftol": 1e-8, "gtol": 1e-7}
    )
    return [float(v) for v in found.x], float(found.fun)
