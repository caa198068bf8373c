"""Designs that could be built, drawn at random around a relaxed one."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mode_opt.design.parameters import Block
from mode_opt.design.system import System
from mode_opt.errors import ConfigurationError


def drawn(system: System, raw: Mapping[str, Tensor], generator: torch.Generator | None) -> dict[str, Tensor]:
    """Raw values (``b x size`` each) with free integers and categories drawn; their mean is what was given.

    Integers take one of the two neighbouring whole numbers (or grid values) within their bounds, with probabilities
    that keep the mean; categories become certain, each option with its probability.

    Raises:
        ConfigurationError: for a list of stock values of which none is within the bounds.
    """
    result = dict(raw)
    for block in system.free:
        if block.integer:
            result[block.name] = _rounded(block, raw[block.name], generator)
    for choice in system.choices:
        result[choice.name] = _certain(raw[choice.name], generator)
    return result


def _rounded(block: Block, value: Tensor, generator: torch.Generator | None) -> Tensor:
    uniform = torch.rand(value.shape, generator=generator, device=value.device, dtype=value.dtype)
    if isinstance(block.stock, tuple):
        stock = value.new_tensor([block.stock] * block.size)
        low, high = (value.new_tensor(side)[:, None] for side in (block.lower, block.upper))
        allowed = (stock >= low) & (stock <= high)
        if not bool(allowed.any(1).all()):
            expected = "a stock value within the bounds"
            raise ConfigurationError(f"design.parameters.{block.name}.grid", list(block.stock), expected)
        below, above = _neighbours(value, stock, allowed)
    else:
        step = 1.0 if block.stock is None else block.stock
        least, most = value.new_tensor(block.lower).div(step).ceil(), value.new_tensor(block.upper).div(step).floor()
        floor = (value / step).floor()
        below, above = (torch.clamp(side, least, most) * step for side in (floor, floor + 1))
    fraction = (value - below) / (above - below)  # of equal neighbours it is no number, and either will do
    return torch.where(uniform < fraction, above, below)


def _neighbours(value: Tensor, stock: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest allowed stock values (``size x k``) on either side of ``b x size`` values; one twice at the ends."""
    infinite = torch.full_like(stock, torch.inf)
    inside, at = torch.where(allowed, stock, infinite), value[..., None]
    below = torch.where(allowed & (stock <= at), stock, -infinite).amax(-1)
    above = torch.where(inside > at, inside, infinite).amin(-1)
    return torch.where(below.isfinite(), below, above), torch.where(above.isfinite(), above, below)


def _certain(probabilities: Tensor, generator: torch.Generator | None) -> Tensor:
    """One-hot, each option with its probability (``b x options``)."""
    picked = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
    return torch.nn.functional.one_hot(picked, probabilities.shape[1]).to(probabilities.dtype)
