"""Dose: what radiation leaves in the voxels of a volume."""

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives.base import Objective
from mode_opt.objectives.weights import weighted_mean

STATISTICS = ("mean", "geud", "volume", "deviation", "excess")


def generalised_uniform_dose(dose: Tensor, a: float) -> Tensor:
    r"""gEUD :math:`= \left(\frac{1}{V} \sum_v D_v^a\right)^{1/a}` of the doses of V voxels.

    The mean for a = 1, the maximum for a → ∞ (organs that fail at one point), the minimum for a → −∞ (targets). It is
    computed by logarithms, so that no power overflows, and at a voxel without dose value and derivative are the limits
    from above, where they are finite.

    Args:
        dose: ``... x V``, at least 0.
        a: not 0.

    Returns:
        ``...``.

    Raises:
        ConfigurationError: if a is 0 or not finite.

    Reference: A. Niemierko, Med. Phys. 26 (1999) 1100.
    """
    if a == 0 or not math.isfinite(a):
        raise ConfigurationError("objective.a", a, "a finite number other than 0")
    with torch.no_grad():
        least = 1e-12 * dose.amax(-1, keepdim=True).clamp_min(0.0) + torch.finfo(dose.dtype).tiny
        lift = (least - dose).clamp_min(0.0)
    logarithms = (dose + lift).log()
    return ((torch.logsumexp(a * logarithms, -1) - math.log(dose.shape[-1])) / a).exp()


def volume_fraction(dose: Tensor, level: float, soft: float = 0.0) -> Tensor:
    r"""Fraction of the voxels that get at least a dose, a point of the dose–volume histogram.

    :math:`\frac{1}{V} \sum_v \left(1 + e^{-(D_v - D_0)/t}\right)^{-1}`, or sharp for t = 0.

    Args:
        dose: ``... x V``.
        level: :math:`D_0`.
        soft: t ≥ 0, in units of dose.

    Returns:
        ``...``.
    """
    return ((dose >= level).to(dose.dtype) if soft == 0 else torch.sigmoid((dose - level) / soft)).mean(-1)


@final
class Dose(Objective):
    r"""A number of the dose in a set of voxels; the hits of an event are the deposits in all voxels, in fixed order.

    With :math:`D_v = \mathrm{scale} \sum_i w_i\,\mathrm{hit}_{iv} / \sum_i w_i`, the mean deposit per primary in
    voxel v times a scale (primaries times MeV to gray per mass of a voxel):

    - ``mean``: the mean dose;
    - ``geud``: the generalised equivalent uniform dose with exponent a (`generalised_uniform_dose`);
    - ``volume``: the fraction of voxels that get at least ``level`` (`volume_fraction`);
    - ``deviation``: ``⟨(D_v − level)²⟩``, for a target;
    - ``excess``: ``⟨max(0, D_v − level)²⟩``, for an organ at risk.

    A plan is a `WeightedSum` of such terms. All but the mean are curved in the dose, and so are biased at finite
    numbers of events by half their curvature times the variance of the dose.

    Args:
        statistic: ``mean``, ``geud``, ``volume``, ``deviation`` or ``excess``.
        voxels: indices of the hits that are voxels of the volume; None: all.
        feature: index of the hit feature that is the deposit.
        scale: dose per mean deposit.
        a: exponent of the gEUD.
        level: :math:`D_0`, in units of dose.
        soft: for ``volume``, width t of the sigmoid, in units of dose; 0 has no slope in the hits or weights.

    Raises:
        ConfigurationError: for an unknown statistic, a = 0, or numbers of the wrong sign.
        NonFiniteError: when called, if no event has weight.
    """

    def __init__(
        self,
        statistic: str = "mean",
        voxels: Sequence[int] | None = None,
        feature: int = 0,
        scale: float = 1.0,
        a: float = 1.0,
        level: float = 0.0,
        soft: float = 0.0,
    ) -> None:
        super().__init__()
        if statistic not in STATISTICS:
            raise ConfigurationError("objective.statistic", statistic, f"one of {', '.join(STATISTICS)}")
        if a == 0 or not math.isfinite(a):
            raise ConfigurationError("objective.a", a, "a finite number other than 0")
        if not scale > 0:
            raise ConfigurationError("objective.scale", scale, "a positive number")
        if not soft >= 0:
            raise ConfigurationError("objective.soft", soft, "0 or a positive number")
        self.voxels = None if voxels is None else [int(index) for index in voxels]
        self.statistic, self.feature, self.scale = statistic, feature, scale
        self.a, self.level, self.soft = a, level, soft

    @property
    def additive(self) -> bool:
        return self.statistic == "mean"

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        dose = self.doses(events)
        if self.statistic == "mean":
            return dose.mean(-1)
        if self.statistic == "geud":
            return generalised_uniform_dose(dose, self.a)
        if self.statistic == "volume":
            return volume_fraction(dose, self.level, self.soft)
        above = dose - self.level
        return ((above if self.statistic == "deviation" else torch.relu(above)) ** 2).mean(-1)

    def doses(self, events: Events) -> Tensor:
        """D of every voxel, ``b x V``."""
        deposit = (events.hits[..., self.feature] * events.mask).transpose(1, 2)  # b x h x n
        chosen = deposit if self.voxels is None else deposit[:, self.voxels]
        return self.scale * weighted_mean(chosen, events.weight.unsqueeze(1))
