"""Which particles count: intervals of what is known of a hit, with sharp or soft edges."""

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.special import ndtr

from mode_opt.errors import ConfigurationError
from mode_opt.events import Events


@final
class Interval(nn.Module):
    r"""Degree to which a hit lies between two values of a feature, or of the norm of several features.

    Sharp (``soft = 0``): 1 for ``low < x < high``, else 0. Soft, with the Gaussian distribution function Φ,

    .. math:: A(x) = \Phi\left(\frac{x - \mathrm{low}}{h}\right) - \Phi\left(\frac{x - \mathrm{high}}{h}\right)

    which is the sharp one smeared with a Gaussian of width h, so that the expected A of Gaussian x of width σ is
    exactly the sharp efficiency at width :math:`\sqrt{\sigma^2 + h^2}`. Pathwise derivatives need the soft one; those
    that come through weights are right with the sharp one, too. Quote final numbers with the sharp one.

    Args:
        feature: index of the hit feature, or of several whose Euclidean norm is meant (a cylinder, a sphere).
        low: lower edge in field units; None: none.
        high: upper edge in field units; None: none.
        soft: h ≥ 0, in field units.

    Raises:
        ConfigurationError: for edges that do not rise, or a negative softness.
    """

    def __init__(
        self,
        feature: int | Sequence[int] = 0,
        low: float | None = None,
        high: float | None = None,
        soft: float = 0.0,
    ) -> None:
        super().__init__()
        self.features = [feature] if isinstance(feature, int) else [int(index) for index in feature]
        self.low = -math.inf if low is None else float(low)
        self.high = math.inf if high is None else float(high)
        if not self.low < self.high or not self.features:
            raise ConfigurationError("objective.accepted", (feature, low, high), "features and a low edge below a high")
        if not 0 <= soft < math.inf:
            raise ConfigurationError("objective.accepted.soft", soft, "0 or a positive number")
        self.soft = float(soft)

    def forward(self, hits: Tensor) -> Tensor:
        """``... x f`` to ``...``."""
        x = hits[..., self.features]
        return self.of(x[..., 0] if len(self.features) == 1 else torch.linalg.vector_norm(x, dim=-1))

    def of(self, x: Tensor) -> Tensor:
        """Degree of acceptance of values, any shape."""
        if not self.soft:
            return ((x > self.low) & (x < self.high)).to(x.dtype)
        # From the nearer edge, so that a small acceptance is no difference of numbers close to 1.
        above = ndtr((x - self.low) / self.soft) - ndtr((x - self.high) / self.soft)
        below = ndtr((self.high - x) / self.soft) - ndtr((self.low - x) / self.soft)
        return torch.where(x - self.low < self.high - x, above, below)


def accepted(events: Events, intervals: Sequence[nn.Module]) -> Tensor:
    """Product of the acceptances of every hit, ``b x n x h``; 0 where the mask is False."""
    degree = events.mask.to(events.hits.dtype)
    for interval in intervals:
        degree = degree * interval(events.hits)
    return degree
