"""Control variates: what is known about an event before its own noise is paid for."""

import torch
from torch import Tensor

from mode_opt.events import Events

WIDTH = 32
"""Neurons of the network of the primaries."""

EVENTS_PER_COEFFICIENT = 4
"""With fewer events for each coefficient, fitting it adds more noise than it takes away."""

RIDGE = 1e-4
"""Added to the variance of each column, in units of it: decides between columns that say the same."""


def explained(target: Tensor, columns: Tensor, count: int) -> Tensor | None:
    """The part of the target that linear regression explains, with coefficients that do not know the event.

    Least squares over all events but one, for each event in turn, in closed form: with residual e and leverage l
    of event i, ``γ_i = γ − G x_i e_i / (1 − l_i)``, ``G = (XᵀX)⁻¹``, ``l_i = x_iᵀ G x_i``.

    Args:
        target: ``n`` influences, without derivative.
        columns: ``m x c``, m a multiple of n: events in groups of the same order; may carry derivatives.
        count: n.

    Returns:
        ``m`` values ``γ_i·c_i``, without the constant of the regression; None if there are too few events.

    Source: R. D. Cook and S. Weisberg, "Residuals and Influence in Regression", 1982 (the closed form).
    """
    coefficients = explained_columns(target, columns[:count].detach(), count)
    if coefficients is None:
        return None
    groups = columns.reshape(-1, count, columns.shape[1])
    return (groups * coefficients).sum(-1).flatten()


def explained_columns(target: Tensor, columns: Tensor, count: int) -> Tensor | None:
    """The coefficients γ_i of `explained`, ``n x c``: zero for a column that is constant; None for too few events."""
    scale = columns.std(0) if count > 1 else columns.new_zeros(columns.shape[1])
    moving = scale > 0
    if count < EVENTS_PER_COEFFICIENT * (1 + int(moving.sum())) or not bool(moving.any()):
        return None
    coefficients = torch.zeros_like(columns)
    coefficients[:, moving] = leave_one_out(columns[:, moving] / scale[moving], target) / scale[moving]
    return coefficients


def leave_one_out(columns: Tensor, target: Tensor) -> Tensor:
    """Coefficients for each event of a fit to all others, ``n x c``, for columns of order one."""
    x, y = columns.double(), target.double()
    x = torch.cat([torch.ones_like(x[:, :1]), x], 1)
    penalty = torch.full_like(x[0], RIDGE * len(x)).index_fill(
        0, torch.zeros(1, dtype=torch.long, device=x.device), 0.0
    )
    inverse = torch.linalg.inv(x.T @ x + penalty.diag())
    common = inverse @ x.T @ y
    projected = x @ inverse
    # An event that alone decides a coefficient has leverage 1: without it, the others say nothing about it.
    freedom = (1 - (projected * x).sum(1)).clamp_min(1e-6)
    left_out = common - projected * ((y - x @ common) / freedom).unsqueeze(1)
    return left_out[:, 1:].to(columns.dtype)


def features_of_primaries(primaries: Events) -> Tensor:
    """The hidden layer of a network of the primaries, ``n x c``, mean zero over the events.

    Truth and hits, standardised, their squares, and neurons with fixed random weights; only the output layer is
    fitted (by `explained`), which has a closed solution and leaves nothing to be saved.

    Source: A. Rahimi and B. Recht, NeurIPS 2008 (weighted sums of random kitchen sinks).
    """
    with torch.no_grad():
        hits = primaries.hits[0].flatten(1)
        inputs = torch.cat([primaries.truth[0].to(hits.dtype), hits], 1)
        spread = inputs.std(0) if len(inputs) > 1 else torch.zeros_like(inputs[0])
        inputs = ((inputs - inputs.mean(0)) / spread)[:, spread > 0]
        if inputs.shape[1] == 0:
            return inputs
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(inputs.shape[1] + 1, WIDTH, generator=generator).to(inputs)
        neurons = torch.tanh(inputs @ weights[1:] / inputs.shape[1] ** 0.5 + weights[0])
        columns = torch.cat([inputs, inputs**2, neurons], 1)
        return columns - columns.mean(0)
