"""How well a surrogate does on designs that it has not seen."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.simulation import stream
from mode_opt.surrogates.base import Surrogate

Statistic = Callable[[Events], Tensor]
"""Numbers of each event, ``b x n x k``."""


def flat_hits(events: Events) -> Tensor:
    """All features of all hits, ``b x n x (h · f)``."""
    return events.hits.flatten(2)


def calibration(
    surrogate: Surrogate,
    phi: DesignPoint,
    primaries: Events,
    events: Events,
    statistic: Statistic = flat_hits,
    draws: int = 8,
    seed: int = 0,
) -> dict[str, float]:
    """Compare simulated events of held-out designs with generated ones of the same designs and primaries.

    With ``D`` the difference of an event's statistic and the mean of the draws generated for it, each design
    has the pull ``mean D / σ``, σ from the scatter of the draws (and their finite number) and the number of
    events. A good surrogate has pulls of mean 0 and width 1, so that 0.683 lie within ±1 where σ is that of a normal
    distribution. Probabilities given in place of hits have no scatter: use a statistic of means then.

    Args:
        surrogate: fitted.
        phi: ``b`` designs that took no part in the fit.
        primaries: ``b x n`` or ``1 x n``.
        events: simulated, ``b x n``; their weights count.
        statistic: what is compared.
        draws: generated events for each simulated one, at least 2.
        seed: of the generated events.

    Returns:
        ``bias``: the sum of D over all events in its standard errors, of the k numbers the one farthest from 0.
        ``bias_rms``: its root mean square over the k numbers; 1 for a good surrogate.
        ``width``: root mean square of the pulls of designs; 1 for a good surrogate.
        ``coverage``: share of the pulls within ±1.
        ``designs``: ``b``.
    """
    generator = stream(phi.values.device, seed, "calibration")
    with torch.no_grad():
        generated = torch.stack([statistic(surrogate(phi, primaries, generator)).double() for _ in range(draws)])
        difference = statistic(events).double() - generated.mean(0)
        weight = events.weight.double()[:, :, None]
        # Of the difference of one event and the mean of the draws.
        variance = (1 + 1 / draws) * generated.var(0)
        total, error = (weight * difference).sum(1), ((weight**2 * variance).sum(1)).sqrt()
        pull = total / error.clamp_min(1e-12 + 1e-9 * float(total.abs().max()))
        bias = total.sum(0) / _scatter(weight * difference, total)
    return {
        "bias": float(bias[bias.abs().argmax()]),
        "bias_rms": math.sqrt(float((bias**2).mean())),
        "width": math.sqrt(float((pull**2).mean())),
        "coverage": float((pull.abs() <= 1).double().mean()),
        "designs": float(phi.designs),
    }


def _scatter(difference: Tensor, total: Tensor) -> Tensor:
    """Standard error of the sum of all differences, ``k``: from the designs, or from the events of few designs."""
    parts = total if len(total) >= 5 else difference.flatten(0, 1)
    return (len(parts) * parts.var(0, unbiased=len(parts) > 1)).sqrt().clamp_min(1e-12)
