"""How precisely the truth is measured."""

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives.base import Objective
from mode_opt.objectives.weights import weighted_mean, weighted_quantile


@final
class Resolution(Objective):
    """Width of the residual of the point estimate (the mean of the belief), per bin of the truth, averaged.

    With the residual ``r = x̂/x − 1`` (relative) or ``x̂ − x`` (absolute) of one truth feature and ``⟨·⟩`` the
    weighted mean in a bin:

    - ``spread``: ``√⟨(r − ⟨r⟩)²⟩ / (1 + ⟨r⟩)`` (relative) or ``√⟨(r − ⟨r⟩)²⟩`` (absolute), the usual σ/μ: a common
      calibration error of the bin drops out, in the value and, what matters more, in the gradient, to which the
      calibration of a network at displaced designs would otherwise contribute first;
    - ``rms``: ``√⟨r²⟩``, about zero: a bias counts;
    - ``quantile``: ``(q₈₄.₁₃ − q₁₅.₈₇)/2`` of r, equal to σ for a Gaussian, blind to tails and to the bias.

    The value is the mean over the bins that hold events (each bin counts the same, whatever its population). For
    ``spread`` and ``quantile`` the bins must be narrow against the range of the truth: an estimate that does not
    depend on the event at all has no spread where the truth does not vary.

    Args:
        target: index of the truth feature.
        relative: divide the residual by the truth.
        width: ``spread``, ``rms`` or ``quantile``.
        bins: edges in the truth, in field units; None is one bin for everything.
        bias_gradient: for ``rms``, whether the bias contributes to the derivative. At fixed weights of a
            reconstruction, the derivative of the bias says how wrong its calibration is at a displaced design,
            where it would be calibrated anew; False keeps the bias in the value and leaves it out of the derivative.

    Raises:
        ConfigurationError: for an unknown width or edges that do not rise.
        NonFiniteError: when called, if a design has no event with weight in any bin.
    """

    def __init__(
        self,
        target: int = 0,
        relative: bool = True,
        width: str = "spread",
        bins: Sequence[float] | None = None,
        bias_gradient: bool = True,
    ) -> None:
        super().__init__()
        if width not in ("rms", "spread", "quantile"):
            raise ConfigurationError("objective.width", width, "rms, spread or quantile")
        edges = None if bins is None else [float(edge) for edge in bins]
        if edges is not None and (len(edges) < 2 or any(a >= b for a, b in pairwise(edges))):
            raise ConfigurationError("objective.bins", bins, "at least two rising edges")
        self.target, self.relative, self.width, self.edges = target, relative, width, edges
        self.bias_gradient = bias_gradient

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        truth = events.truth[..., self.target]
        residual = belief.mean[..., self.target] - truth
        if self.relative:
            residual = residual / truth
        inside = self._bins(truth.detach()) * events.weight  # k x b x n
        filled = (inside != 0).any(-1)  # k x b: of each design, because a weight may empty a bin of one of them
        if not bool(filled.any(0).all()):
            raise NonFiniteError("the resolution of a design has no event with weight: simulate more events")
        width = self._width(residual, torch.where(filled.unsqueeze(-1), inside, 1.0))
        return (width * filled).sum(0) / filled.sum(0)

    def _bins(self, truth: Tensor) -> Tensor:
        """Which event is in which bin, ``k x b x n``; one bin if there are no edges."""
        if self.edges is None:
            return torch.ones_like(truth).unsqueeze(0)
        edges = truth.new_tensor(self.edges).reshape(-1, 1, 1)
        edges[-1] = torch.nextafter(edges[-1], torch.full_like(edges[-1], torch.inf))  # the last bin is closed
        inside = ((truth >= edges[:-1]) & (truth < edges[1:])).to(truth.dtype)
        if not bool(inside.any()):
            raise ConfigurationError("objective.bins", self.edges, "edges between which there are events")
        return inside

    def _width(self, residual: Tensor, weight: Tensor) -> Tensor:
        if self.width == "quantile":
            residual = residual.expand_as(weight)
            high, low = (weighted_quantile(residual, weight, p) for p in (0.841345, 0.158655))
            return (high - low) / 2
        mean = weighted_mean(residual, weight)
        variance = weighted_mean((residual - mean.unsqueeze(-1)) ** 2, weight)
        if self.width == "rms":
            return _root(variance + (mean if self.bias_gradient else mean.detach()) ** 2)
        return _root(variance) / (1 + mean) if self.relative else _root(variance)


def _root(square: Tensor) -> Tensor:
    """√ with a floor that keeps its slope finite where every residual is exactly zero."""
    return square.clamp_min(torch.finfo(square.dtype).tiny).sqrt()
