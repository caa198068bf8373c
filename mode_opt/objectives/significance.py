"""Discovery: how significant an excess over a background is expected to be."""

from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives.base import Objective

_SERIES_BELOW = 0.02
"""Where the closed form of `_curvature` loses digits to cancellation and its series has converged."""


def discovery_significance(signal: Tensor, background: Tensor, uncertainty: Tensor | float = 0.0) -> Tensor:
    """Median significance Z of the discovery of ``s`` events over ``b ± σ`` in a counting experiment.

    The Asimov value of the profile likelihood ratio of ``Poisson(s + b)``, with b constrained by a Poisson auxiliary
    measurement of relative error σ/b. With ``x = s/b``, ``r = σ²/(b + σ²)`` and ``h(y) = (1 + y) ln(1 + y) − y``::

        Z² = 2 b [h(x) − h(r x)/r] = (2 s²/b) [g(x) − r g(r x)],     g(y) = h(y)/y²

    which is the formula of Cowan in a form without cancellation: it holds down to s = 0, where ``Z = s/√(b + σ²)``
    and the derivative is finite, and for σ = 0, where it is ``√(2 ((s + b) ln(1 + s/b) − s))``. It has the sign of s.
    ``Z ∂Z/∂s = ln(1 + x) − ln(1 + r x)``.

    Args:
        signal: ``s > −b``, any shape.
        background: ``b > 0``, broadcastable.
        uncertainty: σ ≥ 0, absolute, broadcastable.

    Returns:
        Z, in the dtype of the signal; computed in double precision.

    Raises:
        NonFiniteError: if a background is not positive.

    Source: G. Cowan et al., Eur. Phys. J. C 71 (2011) 1554, eq. 97; G. Cowan, "Discovery sensitivity for a counting
    experiment with background uncertainty" (2012), eq. 20; T.-P. Li and Y.-Q. Ma, Astrophys. J. 272 (1983) 317.
    """
    s, b = signal.double(), background.double()
    variance = torch.as_tensor(uncertainty, dtype=torch.float64, device=signal.device) ** 2
    if not bool((b > 0).all()):
        raise NonFiniteError(f"the expected background is {float(b.detach().min())}; a significance needs more than 0")
    x, r = s / b, variance / (b + variance)
    return (s * (2 * (_curvature(x) - r * _curvature(r * x)) / b).sqrt()).to(signal.dtype)


def _curvature(y: Tensor) -> Tensor:
    """``g(y) = ((1 + y) ln(1 + y) − y)/y² = Σ_k (−y)^k / ((k + 1)(k + 2))``; g(0) = 1/2."""
    near = y.abs() < _SERIES_BELOW
    small, large = torch.where(near, y, torch.zeros_like(y)), torch.where(near, torch.ones_like(y), y)
    series = torch.zeros_like(y)
    for k in range(11, -1, -1):
        series = 1 / ((k + 1) * (k + 2)) - small * series
    # Σ (−y)^k c_k by Horner's rule: c_0 − y (c_1 − y (c_2 − …)).
    return torch.where(near, series, ((1 + large) * torch.log1p(large) - large) / large**2)


@final
class Significance(Objective):
    """``−Z``, the median discovery significance of the selected events (`discovery_significance`).

    The events are a sample of signal and of background; the expected numbers after the selection are rates times
    efficiencies, with ``q_i`` the degree to which event i is selected (1 or 0, or between for a soft cut)::

        s = S Σ_{i in signal} w_i q_i / Σ_{i in signal} w_i        b alike, with B        σ = u · max(b, floor)

    A selection leaves the weights alone and says what it decided in a hit feature: so the yields do not depend on how
    many events of each class a batch happens to hold, estimators that add events of weight 0 or divide a batch into
    groups leave them right, and a score function, which acts on the weights, finds the efficiency of its own class
    subtracted as a baseline (its factor n/(n − 1) for ``leave_one_out`` then makes the derivative of each efficiency
    right up to a relative error of order 1/n). As for any curved function of averages, the value is biased by
    ``(Z_ss Var s + 2 Z_sb Cov + Z_bb Var b)/2``, of order 1/n.

    A sample of n background events cannot tell a background below ``B/n`` from none, and Z diverges for b → 0.
    Therefore ``max(b, floor)`` takes the place of b; below the floor Z does not reward removing background.

    Args:
        signal: S, expected signal events before the selection.
        background: B, expected background events before the selection.
        uncertainty: u, relative uncertainty of the expected background.
        target: index of the truth feature that tells signal from background.
        boundary: signal are the events in which that feature is above this value.
        selected: index of the feature of the first hit that holds ``q_i``; None: every event counts fully.
        floor: smallest expected background; None: one simulated event's worth, ``B Σ w²/(Σ w)²`` of the background.

    Raises:
        ConfigurationError: for rates or a floor that are not positive, or a negative uncertainty.
        NonFiniteError: when called, if a class has no event with weight.
    """

    def __init__(
        self,
        signal: float = 100.0,
        background: float = 1000.0,
        uncertainty: float = 0.1,
        target: int = 0,
        boundary: float = 0.5,
        selected: int | None = -1,
        floor: float | None = None,
    ) -> None:
        super().__init__()
        for key, value in (("signal", signal), ("background", background), ("floor", 1.0 if floor is None else floor)):
            if not 0 < value < float("inf"):
                raise ConfigurationError(f"objective.{key}", value, "a positive number of expected events")
        if not 0 <= uncertainty < float("inf"):
            raise ConfigurationError("objective.uncertainty", uncertainty, "0 or a positive fraction of the background")
        self.signal, self.background, self.uncertainty = signal, background, uncertainty
        self.target, self.boundary, self.selected, self.floor = target, boundary, selected, floor

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        s, b, floor = self.yields(events)
        b = b.maximum(floor)
        return -discovery_significance(s, b, self.uncertainty * b)

    def yields(self, events: Events) -> tuple[Tensor, Tensor, Tensor]:
        """Expected signal and background after the selection, and the floor of the background, ``b`` each."""
        is_signal = events.truth[..., self.target] > self.boundary
        s, _ = self._expected(events, is_signal, self.signal, "signal")
        b, one = self._expected(events, ~is_signal, self.background, "background")
        return s, b, one if self.floor is None else torch.full_like(b, self.floor)

    def _expected(self, events: Events, member: Tensor, rate: float, name: str) -> tuple[Tensor, Tensor]:
        """Expected number of selected events of a class, and the expectation that one simulated event stands for."""
        weight = events.weight * member
        total = weight.sum(1)
        if not bool((total > 0).all()):
            raise NonFiniteError(f"the {name} has no event with weight in a design: simulate more events")
        decided = 1.0 if self.selected is None else events.hits[:, :, 0, self.selected]
        with torch.no_grad():
            one = rate * (weight**2).sum(1) / total**2
        return rate * (weight * decided).sum(1) / total, one
