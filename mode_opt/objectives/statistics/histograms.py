"""Weighted histograms with derivatives."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError


def memberships(values: Tensor, edges: Tensor | Sequence[float], width: float | None = None) -> Tensor:
    r"""Degree to which each value belongs to each bin, ``... x i``; the degrees of a value add up to 1.

    .. math:: q_i(x) = \Phi\Big(\frac{e_{i+1} - x}{h}\Big) - \Phi\Big(\frac{e_i - x}{h}\Big)

    The first and the last bin are open, so that no event is lost. Without a width h the bins are hard (``e_i ≤ x``)
    and the derivative with respect to x is 0; that of a histogram is then through the weights only. The derivative
    of a soft histogram is that of the counts after a smearing of x with a Gaussian of width h.

    Args:
        values: ``...``.
        edges: ``i + 1`` increasing numbers; they may carry derivatives with soft bins. The outer ones say only where
            an ordinary histogram would be drawn.
        width: h, in the unit of the values; None: hard bins.

    Raises:
        ConfigurationError: for fewer than two edges, edges that do not increase, or a width that is not positive.
    """
    inner = _checked(torch.as_tensor(edges, dtype=values.dtype, device=values.device), width)
    if width is None:
        place = torch.bucketize(values.detach(), inner.detach(), right=True)
        return torch.nn.functional.one_hot(place, inner.numel() + 1).to(values.dtype)
    pull = (inner - values.unsqueeze(-1)) / width
    below = torch.special.ndtr(pull)
    above = torch.special.ndtr(-pull)
    # Left of the value, differences of the small upper tails keep their digits.
    middle = torch.where(pull[..., 1:] > 0, above[..., :-1] - above[..., 1:], below[..., 1:] - below[..., :-1])
    return torch.cat([below[..., :1], middle, above[..., -1:]], -1) if inner.numel() else torch.ones_like(pull[..., :1])


def histogram(
    values: Tensor, weight: Tensor, edges: Tensor | Sequence[float], width: float | None = None
) -> tuple[Tensor, Tensor]:
    r"""Counts :math:`\sum_n w_n q_i(x_n)` and their variances :math:`\sum_n w_n^2 q_i(x_n)^2`, ``b x i`` each.

    The sum of the counts is that of the weights.

    Args:
        values: ``b x n``.
        weight: ``b x n``.
        edges: as of `memberships`.
        width: as of `memberships`.
    """
    return counted(memberships(values, edges, width), weight)


def counted(degrees: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Counts and their variances, ``b x i`` each, as of `histogram`.

    Args:
        degrees: ``b x n x i``, to which each event belongs to each bin.
        weight: ``b x n``.
    """
    return torch.einsum("bn,bni->bi", weight, degrees), torch.einsum("bn,bni->bi", weight**2, degrees**2)


def class_memberships(logits: Tensor, width: float | None = None) -> Tensor:
    r"""Degree to which each event belongs to each of K bins that have no order, ``... x K``.

    .. math:: q_i = \frac{e^{z_i/h}}{\sum_j e^{z_j/h}}

    which for a small width h is the bin with the largest logit, and without one exactly that, with derivative 0.

    Args:
        logits: ``... x K``, z.
        width: h, the temperature; None: hard bins.

    Raises:
        ConfigurationError: for a width that is not positive.

    Source: P. de Castro and T. Dorigo, Comput. Phys. Commun. 244 (2019) 170, eq. 10.
    """
    if width is None:
        return torch.nn.functional.one_hot(logits.detach().argmax(-1), logits.shape[-1]).double()
    _positive(width)
    return torch.softmax(logits.double() / width, -1)


def _checked(edges: Tensor, width: float | None) -> Tensor:
    if edges.ndim != 1 or edges.numel() < 2:
        raise ConfigurationError("edges", edges.tolist(), "two or more increasing numbers")
    if not bool((edges.diff() > 0).all()):
        raise ConfigurationError("edges", edges.tolist(), "numbers that increase")
    if width is not None:
        _positive(width)
    return edges[1:-1]


def _positive(width: float) -> None:
    if not 0 < width < float("inf"):
        raise ConfigurationError("width", width, "a positive number in the unit of the values, or None for hard bins")
