"""What may change the expected counts of a sample, and how effects measured at ±1 are interpolated between."""

from dataclasses import dataclass

import torch
from torch import Tensor

Numbers = Tensor | float
Triple = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Modifier:
    """Something that changes the counts of a sample as a function of the parameters called ``name``.

    Modifiers with the same name share their parameters, in whichever sample or channel they are.
    """

    name: str


@dataclass(frozen=True, eq=False)
class NormFactor(Modifier):
    """The counts times a free parameter, which starts at 1 and lies in [0, 10] unless told otherwise."""


@dataclass(frozen=True, eq=False)
class Lumi(Modifier):
    """The counts times a parameter with a normal constraint, whose centre and width are settings of the model."""


@dataclass(frozen=True, eq=False)
class ShapeFactor(Modifier):
    """Each bin times a free parameter of its own."""


@dataclass(frozen=True, eq=False)
class NormSys(Modifier):
    r"""The counts times a factor that is ``low`` at :math:`\alpha = -1`, ``high`` at +1 (`power_interpolation`).

    Attributes:
        low: factor at −1, a positive number or ``b``.
        high: factor at +1.
    """

    low: Numbers
    high: Numbers


@dataclass(frozen=True, eq=False)
class HistoSys(Modifier):
    r"""The counts are ``low`` at :math:`\alpha = -1` and ``high`` at +1 (`linear_interpolation`).

    Attributes:
        low: counts at −1, ``i`` or ``b x i``.
        high: counts at +1.
    """

    low: Tensor
    high: Tensor


@dataclass(frozen=True, eq=False)
class ShapeSys(Modifier):
    r"""Each bin times its own :math:`\gamma_i`, measured by :math:`\tau_i = (\nu_i/\delta_i)^2` Poisson counts.

    Attributes:
        uncertainty: absolute uncertainty δ of the counts, ``i`` or ``b x i``; a bin with 0 is held at γ = 1.
    """

    uncertainty: Tensor


@dataclass(frozen=True, eq=False)
class StatError(Modifier):
    r"""Each bin of the samples that have it times one :math:`\gamma_i`, measured as 1 with a normal error.

    The error is :math:`\sqrt{\sum_s \delta_{si}^2}/\sum_s \nu_{si}`; a bin in which it is 0 is held at γ = 1.

    Attributes:
        uncertainty: absolute uncertainty δ of the counts of this sample, ``i`` or ``b x i``.
    """

    uncertainty: Tensor


def power_coefficients(low: Tensor, high: Tensor) -> Tensor:
    r"""Coefficients :math:`a_1 \dots a_6` (in front) of `power_interpolation`.

    With the even and odd parts at +1 of the wanted values, slopes and curvatures, two systems of three equations.
    """
    up, down = high.log(), low.log()

    def parts(order: int) -> tuple[Tensor, Tensor]:
        return (up**order * high + down**order * low) / 2, (up**order * high - down**order * low) / 2

    (e0, o0), (e1, o1), (e2, o2) = parts(0), parts(1), parts(2)
    e0 = e0 - 1
    return torch.stack(
        [
            (15 * o0 - 7 * o1 + o2) / 8,
            (24 * e0 - 9 * e1 + e2) / 8,
            (-5 * o0 + 5 * o1 - o2) / 4,
            (-12 * e0 + 7 * e1 - e2) / 4,
            (3 * o0 - 3 * o1 + o2) / 8,
            (8 * e0 - 5 * e1 + e2) / 8,
        ]
    )


def power_interpolation(alpha: Tensor, low: Tensor, high: Tensor, coefficients: Tensor) -> Triple:
    r"""Factor of a normalisation uncertainty, its slope and its curvature (HistFactory's code 4).

    :math:`f(\alpha) = h^\alpha` for :math:`\alpha \ge 1`, :math:`l^{-\alpha}` for :math:`\alpha \le -1`, and between
    them :math:`1 + \sum_{k=1}^6 a_k \alpha^k`, which joins them with equal slopes and curvatures.

    Args:
        alpha: any shape.
        low: factor l at −1, positive, broadcastable.
        high: factor h at +1, positive.
        coefficients: `power_coefficients` of them.

    Source: K. Cranmer et al., "HistFactory", CERN-OPEN-2012-016, section 4.1.3.
    """
    a1, a2, a3, a4, a5, a6 = coefficients
    x = alpha.clamp(-1, 1)
    value = 1 + x * (a1 + x * (a2 + x * (a3 + x * (a4 + x * (a5 + x * a6)))))
    slope = a1 + x * (2 * a2 + x * (3 * a3 + x * (4 * a4 + x * (5 * a5 + x * 6 * a6))))
    curvature = 2 * a2 + x * (6 * a3 + x * (12 * a4 + x * (20 * a5 + x * 30 * a6)))
    if not bool((alpha.abs() > 1).any()):
        return value, slope, curvature
    rate = torch.where(alpha > 0, high.log(), -low.log())
    power = (rate * alpha.sign() * alpha.abs().clamp_min(1)).exp()
    inside = alpha.abs() <= 1
    return (
        torch.where(inside, value, power),
        torch.where(inside, slope, rate * power),
        torch.where(inside, curvature, rate**2 * power),
    )


def linear_interpolation(alpha: Tensor, low: Tensor, high: Tensor) -> Triple:
    r"""Change of the counts of a shape uncertainty, its slope and its curvature (HistFactory's code 4p).

    :math:`\Delta = \alpha h` for :math:`\alpha \ge 1`, :math:`-\alpha l` for :math:`\alpha \le -1`, and between them
    :math:`\alpha (h - l)/2 + (h + l)/16 \cdot (15 \alpha^2 - 10 \alpha^4 + 3 \alpha^6)`.

    Args:
        alpha: any shape.
        low: change l at −1, broadcastable.
        high: change h at +1.
    """
    half, bend = (high - low) / 2, (high + low) / 16
    # Beyond ±1 the odd part goes on and the even part is |α| (h + l)/2.
    x = alpha.clamp(-1, 1)
    square = x**2
    beyond = 8 * (alpha.abs() - 1).clamp_min(0)
    inside = alpha.abs() < 1
    even = square * (15 + square * (3 * square - 10)) + beyond
    slope = torch.where(inside, x * (30 + square * (18 * square - 40)), 8 * alpha.sign())
    curvature = torch.where(inside, 30 + square * (90 * square - 120), torch.zeros_like(x))
    return alpha * half + bend * even, half + bend * slope, bend * curvature
