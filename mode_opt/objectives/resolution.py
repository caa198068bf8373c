"""How precisely the truth is measured."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives.base import Objective
from mode_opt.objectives.weights import weighted_band, weighted_mean, weighted_quantile

_CENTRAL = (0.158655, 0.841345)
_QUARTILES = (0.25, 0.75)
_IQR_OF_UNIT_NORMAL = 1.3489795003921634
WIDTHS = ("rms", "spread", "quantile", "iqr", "trimmed", "predicted", "likelihood")


@final
class Resolution(Objective):
    r"""Width of the residual of the point estimate (the mean of the belief), per bin of the truth, averaged.

    With the residual ``r = x̂/x − 1`` (relative) or ``x̂ − x`` (absolute) of one truth feature, ``⟨·⟩`` the
    weighted mean in a bin, ``q_p`` the weighted quantile of r at probability p, and ``Q`` the belief:

    - ``spread``: ``√⟨(r − ⟨r⟩)²⟩ / (1 + ⟨r⟩)`` (relative) or ``√⟨(r − ⟨r⟩)²⟩`` (absolute), the usual σ/μ: a common
      calibration error of the bin drops out, in the value and, what matters more, in the gradient, to which the
      calibration of a network at displaced designs would otherwise contribute first;
    - ``rms``: ``√⟨r²⟩``, about zero: a bias counts;
    - ``quantile``: ``(q₈₄.₁₃ − q₁₅.₈₇)/2``, half of the central 68 %, blind to tails and to the bias;
    - ``iqr``: ``(q₇₅ − q₂₅)/1.34898``, blind to tails that hold up to a half of the events;
    - ``trimmed``: the spread of the central ``kept`` of the events, divided by that of a unit Gaussian,
      :math:`\sqrt{1 - 2 z \varphi(z)/\mathrm{kept}}` with :math:`z = \Phi^{-1}((1 + \mathrm{kept})/2)`: blind to the
      tails, and calmer than quantiles, because every event of the core counts;
    - ``predicted``: ``√⟨Var_Q(x)⟩`` (relative: of ``Var_Q(x)/x²``), what the belief itself says its error is. For the
      exact posterior it has the expectation of ``rms`` (law of total variance) with less noise; a belief that is
      too sure of itself makes it too small;
    - ``likelihood``: ``exp(−⟨log Q(x)⟩)/√(2πe)`` (relative: with ``x Q(x)``), the width of the Gaussian that is as
      surprised: the geometric mean of σ for calibrated Gaussian beliefs; a wrong calibration can only enlarge it.

    All are σ for a Gaussian residual. Quantiles are means over a small band of probabilities (`weighted_quantile`),
    so that their derivative is spread over ``band · n`` events. The value is the mean over the bins that hold events
    (each bin counts the same, whatever its population). For all but ``rms``, ``predicted`` and ``likelihood`` the bins
    must be narrow against the range of the truth: an estimate that does not depend on the event at all has no spread
    where the truth does not vary.

    Args:
        target: index of the truth feature.
        relative: divide the residual by the truth.
        width: ``spread``, ``rms``, ``quantile``, ``iqr``, ``trimmed``, ``predicted`` or ``likelihood``.
        bins: edges in the truth, in field units; None is one bin for everything.
        bias_gradient: for ``rms``, whether the bias contributes to the derivative. At fixed weights of a
            reconstruction, the derivative of the bias says how wrong its calibration is at a displaced design,
            where it would be calibrated anew; False keeps the bias in the value and leaves it out of the derivative.
        angular: the feature is an angle in radians: the residual, absolute, is taken in (−π, π].
        binned_by: index of the truth feature that the bins divide; None: the target.
        band: width in probability of the band over which a quantile is averaged.
        kept: for ``trimmed``, the central fraction of the events.

    Raises:
        ConfigurationError: for an unknown width, edges that do not rise, a relative angle, or fractions outside (0, 1);
            when called, for ``likelihood`` of a belief whose features are not independent.
        NonFiniteError: when called, if a design has no event with weight in any bin.
    """

    def __init__(
        self,
        target: int = 0,
        relative: bool = True,
        width: str = "spread",
        bins: Sequence[float] | None = None,
        bias_gradient: bool = True,
        angular: bool = False,
        binned_by: int | None = None,
        band: float = 0.02,
        kept: float = 0.9,
    ) -> None:
        super().__init__()
        if width not in WIDTHS:
            raise ConfigurationError("objective.width", width, f"{', '.join(WIDTHS[:-1])} or {WIDTHS[-1]}")
        edges = None if bins is None else [float(edge) for edge in bins]
        if edges is not None and (len(edges) < 2 or any(a >= b for a, b in pairwise(edges))):
            raise ConfigurationError("objective.bins", bins, "at least two rising edges")
        if angular and relative:
            raise ConfigurationError("objective.relative", relative, "false for an angle")
        for key, value, most in (("band", band, 0.3), ("kept", kept, 1.0)):
            if not 0 < value < most:
                raise ConfigurationError(f"objective.{key}", value, f"a number between 0 and {most:g}")
        self.target, self.relative, self.width, self.edges = target, relative, width, edges
        self.bias_gradient, self.angular, self.band, self.kept = bias_gradient, angular, band, kept
        self.binned_by = target if binned_by is None else binned_by

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        width, filled = self._per_bin(events, belief)
        return (width * filled).sum(0) / filled.sum(0)

    def per_bin(self, events: Events, belief: Distribution) -> Tensor:
        """The width in every bin, ``k x b``, detached; NaN where a design has no event with weight."""
        width, filled = self._per_bin(events, belief)
        return width.detach().masked_fill(~filled, math.nan)

    def _per_bin(self, events: Events, belief: Distribution) -> tuple[Tensor, Tensor]:
        """Widths, and which bin of which design they are of, ``k x b``."""
        inside = self._bins(events.truth[..., self.binned_by].detach()) * events.weight  # k x b x n
        filled = (inside != 0).any(-1)  # k x b: of each design, because a weight may empty a bin of one of them
        if not bool(filled.any(0).all()):
            raise NonFiniteError("the resolution of a design has no event with weight: simulate more events")
        weight = torch.where(filled.unsqueeze(-1), inside, 1.0)
        if self.width == "predicted":
            return _root(weighted_mean(self._variance(events, belief), weight)), filled
        if self.width == "likelihood":
            surprise = weighted_mean(self._surprise(events, belief), weight)
            return (surprise - 0.5 * math.log(2 * math.pi * math.e)).exp(), filled
        return self._width(self._residual(events, belief), weight), filled

    def _residual(self, events: Events, belief: Distribution) -> Tensor:
        """``b x n``."""
        truth = events.truth[..., self.target]
        residual = belief.mean[..., self.target] - truth
        if self.angular:
            return wrapped(residual)
        return residual / truth if self.relative else residual

    def _variance(self, events: Events, belief: Distribution) -> Tensor:
        """What the belief says of the squared residual, ``b x n``."""
        variance = belief.variance[..., self.target]
        return variance / events.truth[..., self.target] ** 2 if self.relative else variance

    def _surprise(self, events: Events, belief: Distribution) -> Tensor:
        """Minus the logarithm of the density of the residual at the truth, ``b x n``."""
        truth = events.truth
        if self.angular:
            truth = belief.mean - wrapped(belief.mean - truth)
        if truth.shape[-1] == 1:
            density = belief.log_prob(truth)
        elif isinstance(belief, Independent) and belief.reinterpreted_batch_ndims == 1:
            density = belief.base_dist.log_prob(truth)[..., self.target]
        else:
            raise ConfigurationError("objective.width", self.width, "a belief with independent features")
        return -density - truth[..., self.target].abs().log() if self.relative else -density

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
            return self._between(residual, weight, _CENTRAL) / 2
        if self.width == "iqr":
            return self._between(residual, weight, _QUARTILES) / _IQR_OF_UNIT_NORMAL
        if self.width == "trimmed":
            return trimmed_spread(residual.expand_as(weight), weight, self.kept)
        mean = weighted_mean(residual, weight)
        variance = weighted_mean((residual - mean.unsqueeze(-1)) ** 2, weight)
        if self.width == "rms":
            return _root(variance + (mean if self.bias_gradient else mean.detach()) ** 2)
        return _root(variance) / (1 + mean) if self.relative else _root(variance)

    def _between(self, residual: Tensor, weight: Tensor, probabilities: tuple[float, float]) -> Tensor:
        low, high = (weighted_quantile(residual.expand_as(weight), weight, p, self.band) for p in probabilities)
        return high - low


def wrapped(angle: Tensor) -> Tensor:
    """The same angle in (−π, π], any shape, in radians; exact, with slope 1, for one that already is there."""
    return angle - 2 * math.pi * torch.ceil((angle - math.pi) / (2 * math.pi)).detach()


def trimmed_spread(values: Tensor, weight: Tensor, kept: float) -> Tensor:
    r"""Standard deviation of the central part of weighted values, in units that make it σ for a Gaussian.

    With :math:`Q(p)` the quantile function, :math:`\alpha = (1 - k)/2` and :math:`m` the mean of Q over the band,

    .. math:: \sigma^2 = \frac{\int_\alpha^{1-\alpha} (Q(p) - m)^2\,dp}{k - 2 z \varphi(z)},
              \qquad z = \Phi^{-1}\left(\tfrac{1+k}{2}\right)

    Args:
        values: ``... x n``.
        weight: ``... x n``.
        kept: ``k`` in (0, 1), the central fraction of the weight.

    Returns:
        ``...``.

    Raises:
        NonFiniteError: if no event has weight.

    Reference: J. Tukey, "A survey of sampling from contaminated distributions" (1960).
    """
    ordered, covered = weighted_band(values, weight, (1 - kept) / 2, (1 + kept) / 2)
    mean = (covered * ordered).sum(-1, keepdim=True) / kept
    z = math.sqrt(2) * float(torch.erfinv(torch.tensor(kept, dtype=torch.float64)))
    of_gaussian = kept - 2 * z * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return _root((covered * (ordered - mean) ** 2).sum(-1) / of_gaussian)


def _root(square: Tensor) -> Tensor:
    """√ with a floor that keeps its slope finite where every residual is exactly zero."""
    return square.clamp_min(torch.finfo(square.dtype).tiny).sqrt()
