"""Averages over weighted events, the bricks of every objective."""

import torch
from torch import Tensor

from mode_opt.errors import NonFiniteError


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """``Σ w x / Σ w`` over the events.

    Args:
        values: ``... x n``.
        weight: ``... x n``, broadcastable against the values.

    Returns:
        ``...``.

    Raises:
        NonFiniteError: if no event has weight, so that the mean is 0/0.
    """
    total = weight.sum(-1)
    if bool((total == 0).any()):
        raise NonFiniteError("a weighted mean over events has no event with weight: simulate more events")
    return (weight * values).sum(-1) / total


def weighted_quantile(values: Tensor, weight: Tensor, probability: float, width: float = 0.02) -> Tensor:
    """Quantile of weighted events, averaged over probabilities ``p ± width/2``.

    The quantile function of a sample is the derivative of its integral; averaging it over a small band, each
    event with the part of the band its cumulative weight covers, spreads the derivative over ``width · n`` events
    instead of two.

    Args:
        values: ``... x n``.
        weight: ``... x n``.
        probability: ``p`` in (0, 1).
        width: of the band in probability.

    Returns:
        ``...``.

    Raises:
        NonFiniteError: if no event has weight.
    """
    low, high = max(probability - width / 2, 0.0), min(probability + width / 2, 1.0)
    ordered, covered = weighted_band(values, weight, low, high)
    return (covered * ordered).sum(-1) / covered.sum(-1)


def weighted_band(values: Tensor, weight: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """The values in rising order, and the part of the probabilities ``low`` to ``high`` that each of them covers.

    With ``u_i`` the cumulative weight up to and with event i, divided by the total, event i covers the overlap of
    ``[u_{i−1}, u_i]`` with ``[low, high]``; the parts add up to ``high − low``.

    Args:
        values: ``... x n``.
        weight: ``... x n``, broadcastable to the values.
        low: lower probability.
        high: upper probability.

    Returns:
        Two tensors ``... x n``.

    Raises:
        NonFiniteError: if no event has weight.
    """
    order = values.argsort(-1)
    ordered = values.gather(-1, order)
    cumulative = weight.expand_as(values).gather(-1, order).cumsum(-1)
    if bool((cumulative[..., -1] == 0).any()):
        raise NonFiniteError("a weighted quantile over events has no event with weight: simulate more events")
    upper = cumulative / cumulative[..., -1:]
    lower = torch.cat([torch.zeros_like(upper[..., :1]), upper[..., :-1]], -1)
    return ordered, (upper.clamp(low, high) - lower.clamp(low, high)).clamp_min(0.0)
