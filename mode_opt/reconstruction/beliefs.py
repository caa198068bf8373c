"""Families of beliefs that a network can put on the truth."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, LogNormal, Normal
from torch.nn.functional import softplus

from mode_opt.errors import ConfigurationError

Family = Callable[[Tensor, Tensor], Distribution]


def normal(location: Tensor, spread: Tensor) -> Distribution:
    """A Gaussian per truth feature, ``x ~ N(location, spread)``; both ``b x n x t``."""
    return Independent(Normal(location, spread), 1)


def log_normal(location: Tensor, spread: Tensor) -> Distribution:
    """``log x ~ N(location, spread)``, for positive truth with relative errors; both ``b x n x t``.

    Location and spread are limited to ±30 and to 3 so that the mean ``exp(location + spread²/2)`` stays finite
    while a network is still untrained; the spread smoothly, because behind a hard limit no gradient leads back.
    """
    return Independent(LogNormal(location.clamp(-30.0, 30.0), 3.0 * torch.tanh(spread / 3.0)), 1)


FAMILIES: dict[str, Family] = {"normal": normal, "log_normal": log_normal}


def family(name: str) -> Family:
    """The family of that name.

    Raises:
        ConfigurationError: for an unknown name.
    """
    if name not in FAMILIES:
        raise ConfigurationError("reconstruction.belief", name, " or ".join(FAMILIES))
    return FAMILIES[name]


def standardised(values: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column over the real rows, for scales of inputs and outputs.

    Args:
        values: ``... x k``.
        real: ``...``, which rows count.

    Returns:
        Two tensors of ``k``; the deviation is 1 for a column that does not vary.
    """
    rows = values[real]
    if len(rows) < 2:
        return values.new_zeros(values.shape[-1]), values.new_ones(values.shape[-1])
    spread = rows.std(0)
    return rows.mean(0), torch.where(spread > 1e-6 * rows.abs().amax(0), spread, torch.ones_like(spread))


def positive(raw: Tensor) -> Tensor:
    """A positive spread from an unbounded network output; ``raw = 0`` gives 0.1."""
    return softplus(raw - 2.25) + torch.finfo(raw.dtype).eps
