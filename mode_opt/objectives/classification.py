r"""How well a score tells two classes apart."""

from typing import Final, final

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import softplus

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives.base import Objective
from mode_opt.objectives.reading import classes, finite, known_source, positive, read
from mode_opt.objectives.weights import weighted_mean

STEPS = ("normal", "logistic")
PAIRS_AT_A_TIME: Final = 2**22


def smooth_step(x: Tensor, kind: str = "normal") -> Tensor:
    r"""A step from 0 to 1 of width one: :math:`\Phi(x)` (``normal``) or :math:`1/(1 + e^{-x})` (``logistic``)."""
    return torch.special.ndtr(x) if kind == "normal" else torch.sigmoid(x)


def smooth_area(
    signal: Tensor,
    background: Tensor,
    signal_weight: Tensor,
    background_weight: Tensor,
    width: float,
    kind: str = "normal",
) -> Tensor:
    r"""Smooth area under the receiver operating characteristic: how often signal scores above background.

    .. math:: A = \frac{\sum_{ij} w_i v_j\, K((x_i - y_j)/t)}{\sum_i w_i \sum_j v_j}

    the Wilcoxon–Mann–Whitney statistic with a smooth step K for the sharp one (a tie counts 1/2). For scores
    :math:`N(d, 1)` against :math:`N(0, 1)` and the normal step it is :math:`\Phi(d/\sqrt{2 + t^2})`; the width biases
    it towards 1/2, at second order in t. Pairs are formed in blocks, so that memory without derivatives is bounded.

    Args:
        signal: ``n`` scores x.
        background: ``m`` scores y.
        signal_weight: ``n``, w.
        background_weight: ``m``, v.
        width: t, in units of the score.
        kind: ``normal`` or ``logistic``.

    Returns:
        A scalar.

    Source: L. Yan et al., "Optimizing classifier performance via an approximation to the Wilcoxon–Mann–Whitney
    statistic", ICML 2003.
    """
    total, share = signal.new_zeros(()), background_weight / background_weight.sum()
    rows = max(1, PAIRS_AT_A_TIME // max(1, background.numel()))
    for x, w in zip(signal.split(rows), signal_weight.split(rows), strict=True):
        above = smooth_step((x.unsqueeze(1) - background) / width, kind)
        total = total + (w * (above @ share)).sum()
    return total / signal_weight.sum()


def soft_threshold(scores: Tensor, weight: Tensor, accepted: float, width: float, kind: str = "normal") -> Tensor:
    r"""The cut c above which a smooth selection keeps a given share of the weight.

    c solves :math:`F(c) = \sum_i w_i K((x_i - c)/t)/\sum_i w_i = \beta`. It is found by bisection without derivatives;
    one Newton step with its slope held fixed, :math:`c - (F(c) - \beta)/F'(c)`, gives the derivatives of the implicit
    function theorem, :math:`\partial c = -\partial F/F'(c)`, with respect to scores and weights.

    Args:
        scores: ``n``.
        weight: ``n``, not negative.
        accepted: :math:`\beta` in (0, 1).
        width: t, in units of the score.
        kind: ``normal`` or ``logistic``.

    Returns:
        A scalar, in double precision.
    """
    x, w = scores.double(), weight.double() / weight.double().sum()

    def passing(cut: Tensor) -> Tensor:
        return (w * smooth_step((x - cut) / width, kind)).sum()

    with torch.no_grad():
        cut = _bisect(x, passing, accepted, width)
    free = cut.clone().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(passing_detached(x, w, free, width, kind), free)
    return cut - (passing(cut) - accepted) / slope
