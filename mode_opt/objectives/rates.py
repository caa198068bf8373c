"""How many particles arrive where they should, or should not."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives.acceptance import Interval, accepted
from mode_opt.objectives.base import Objective
from mode_opt.objectives.weights import weighted_mean

_LARGEST_EXPONENT = 50.0
"""Where the price of mass is continued by its tangent, so that single precision holds it."""


@final
class Rate(Objective):
    r"""Expected number of accepted particles, or what they deposit.

    .. math:: R = N \frac{\sum_i w_i \sum_h v_{ih} \prod_k A_k(x_{ih})}{\sum_i w_i}

    over the events i and their hits h, with the acceptances :math:`A_k` (`Interval`: a surface or a volume is one
    interval for each coordinate) and v a feature of the hit, such as its energy deposit, or 1. The efficiency is that
    of the weighted sample, so that R does not change if all weights are scaled.

    Args:
        accepted: intervals that a hit must lie in; none: every hit counts.
        primaries: N, how many primaries the sample stands for, such as those of a second or of a spill.
        value: index of the hit feature that is added up; None counts particles.
        wanted: more is better: the value is −R.

    Raises:
        ConfigurationError: if N is not positive.
        NonFiniteError: when called, if no event has weight.
    """

    def __init__(
        self, accepted: Sequence[Interval] = (), primaries: float = 1.0, value: int | None = None, wanted: bool = False
    ) -> None:
        super().__init__()
        if not 0 < primaries < float("inf"):
            raise ConfigurationError("objective.primaries", primaries, "a positive number")
        self.accepted = nn.ModuleList(accepted)
        self.factor, self.value = -primaries if wanted else primaries, value

    @property
    def additive(self) -> bool:
        return True

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        counted = accepted(events, list(self.accepted))
        if self.value is not None:
            counted = counted * events.hits[..., self.value]
        return self.factor * weighted_mean(counted.sum(-1), events.weight)


@final
class MuonShield(Objective):
    r"""Loss of a magnetic muon shield: its mass or cost times the muons that reach the detector behind it.

    .. math:: F = \left(1 + e^{10 (W - W_*)/W_*}\right) (1 + S), \qquad
              S = N \frac{\sum_i w_i \sum_h A_{ih}\, m(q_{ih} x_{ih})}{\sum_i w_i}, \qquad
              m(x) = \sqrt{\frac{\mathrm{right} - x}{\mathrm{right} - \mathrm{left}}}

    A hit is a muon at the sensitive plane, with coordinates x and y, momentum p and charge q; it counts if
    ``left < q x < right``, ``|y| < height`` and ``p > momentum``. The defaults are those of SHiP: W is in kg.
    The product has no scale of its own, and no slope in the muons' directions where none arrives.

    The slope of m diverges at the right edge, and m jumps from 1 to 0 at the left one, so that pathwise derivatives
    need ``soft``, s > 0: the edges are smeared with Gaussians of width s (`Interval`), and with :math:`u = m^2` and
    :math:`\delta = s/(\mathrm{right} - \mathrm{left})` the root is that of :math:`(u + \sqrt{u^2 + \delta^2})/2`.
    Beyond :math:`W = 6 W_*` the exponential is continued by its tangent.

    Args:
        mass: name of the parameter or derived quantity that is W.
        reference: :math:`W_*`, in the field unit of W (kg, or a currency).
        muons: N, how many primaries the sample stands for.
        x: index of the hit feature.
        y: index of the hit feature.
        momentum_feature: index of the hit feature p.
        charge: index of the hit feature whose sign is q; None: x is signed already.
        left: in mm.
        right: in mm.
        height: in mm.
        momentum: in MeV.
        soft: s, in mm.
        soft_momentum: width in MeV over which the momentum threshold is smeared.
        heaviest: W above which F is 1e8 and has no slope, as in the published code; None: F as it is.

    Raises:
        ConfigurationError: if the reference or N is not positive, or an interval is empty.
        NonFiniteError: when called, if no event has weight.

    Reference: A. Baranov et al., "Optimising the active muon shield for the SHiP experiment at CERN", J. Phys. Conf.
    Ser. 934 (2017) 012050.
    """

    def __init__(
        self,
        mass: str = "mass",
        reference: float = 1_915_820.0,
        muons: float = 1.0,
        x: int = 0,
        y: int = 1,
        momentum_feature: int = 2,
        charge: int | None = 3,
        left: float = -3000.0,
        right: float = 2600.0,
        height: float = 5000.0,
        momentum: float = 1000.0,
        soft: float = 0.0,
        soft_momentum: float = 0.0,
        heaviest: float | None = None,
    ) -> None:
        super().__init__()
        for key, value in (("reference", reference), ("muons", muons)):
            if not 0 < value < float("inf"):
                raise ConfigurationError(f"objective.{key}", value, "a positive number")
        self.mass, self.reference, self.muons, self.heaviest = mass, reference, muons, heaviest
        self.x, self.charge, self.soft = x, charge, soft
        self.across = Interval(x, left, right, soft)
        self.others = nn.ModuleList(
            [Interval(y, -height, height, soft), Interval(momentum_feature, momentum, None, soft_momentum)]
        )

    @property
    def additive(self) -> bool:
        return True

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        mass = phi[self.mass].sum(-1)
        loss = self.price(mass) * (1 + self.arriving(events))
        return loss if self.heaviest is None else torch.where(mass > self.heaviest, 1e8, loss)

    def price(self, mass: Tensor) -> Tensor:
        """``1 + exp(10 (W − W*)/W*)``, any shape."""
        exponent = 10 * (mass - self.reference) / self.reference
        low = exponent.clamp(max=_LARGEST_EXPONENT)
        return 1 + low.exp() * (1 + exponent - low)

    def arriving(self, events: Events) -> Tensor:
        """S, ``b``."""
        x = events.hits[..., self.x]
        if self.charge is not None:
            x = x * events.hits[..., self.charge].sign()
        counted = accepted(events, list(self.others)) * self.across.of(x) * self.weight(x)
        return self.muons * weighted_mean(counted.sum(-1), events.weight)

    def weight(self, x: Tensor) -> Tensor:
        """``m(x)``, any shape; 0 right of the right edge if sharp."""
        across = self.across
        delta = self.soft / (across.high - across.low)
        u = (across.high - x) / (across.high - across.low)
        if delta:
            far = torch.hypot(u, torch.full_like(u, delta))
            # For u < 0 the sum cancels; there u + far = δ²/(far − u).
            u = torch.where(u < 0, delta**2 / (far + u.abs()), far + u) / 2
            return u.sqrt()
        inside = u > 0
        return torch.where(inside, torch.where(inside, u, torch.ones_like(u)).sqrt(), 0.0)
