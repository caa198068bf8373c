"""What an objective looks at in an event."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events

SOURCES = ("belief", "truth", "hits")


def known_source(key: str, source: str) -> str:
    """The source itself.

    Raises:
        ConfigurationError: if it is none of ``belief``, ``truth``, ``hits``.
    """
    if source not in SOURCES:
        raise ConfigurationError(key, source, " or ".join(SOURCES))
    return source


def read(events: Events, belief: Distribution, source: str, features: Sequence[int]) -> Tensor:
    """Features of each event, ``b x n x k``: of the mean of the belief, of the truth, or of the first hit."""
    if source == "belief":
        return belief.mean[..., list(features)]
    return (events.truth if source == "truth" else events.hits[:, :, 0])[..., list(features)]


def classes(events: Events, target: int, boundary: float) -> Tensor:
    """Which events are signal, ``b x n``: those whose truth feature ``target`` is above the boundary.

    Raises:
        NonFiniteError: if a design has no event with weight in one of the two classes.
    """
    signal: Tensor = events.truth[..., target] > boundary
    for member, name in ((signal, "signal"), (~signal, "background")):
        total = (events.weight.detach() * member).sum(-1)
        if not bool((total > 0).all()):
            raise NonFiniteError(f"the {name} has no event with weight in a design: simulate more events")
    return signal


def finite(name: str, values: Tensor) -> Tensor:
    """The values themselves.

    Raises:
        NonFiniteError: if one of them is NaN or infinite.
    """
    if not bool(torch.isfinite(values.detach()).all()):
        raise NonFiniteError(f"{name} holds a NaN or an infinity")
    return values


def positive(key: str, value: float) -> float:
    """The value itself.

    Raises:
        ConfigurationError: if it is not a positive finite number.
    """
    if not 0 < value < float("inf"):
        raise ConfigurationError(key, value, "a positive number")
    return value
