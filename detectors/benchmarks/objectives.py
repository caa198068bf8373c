"""Objectives of one number an event."""

from abc import abstractmethod
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, ShapeError
from mode_opt.events import Events
from mode_opt.objectives import Objective, weighted_mean


class ResponseObjective(Objective):
    """Weighted mean of a function of the response y, the only hit of an event: ``b x n x 1 x 1``.

    The belief is not used.

    Raises:
        ShapeError: when called, for hits of another shape.
    """

    @abstractmethod
    def each(self, response: Tensor, truth: Tensor) -> Tensor:
        """The number of each event, ``b x n``, from responses ``b x n`` and truths ``b x n x t``."""

    @property
    @final
    def additive(self) -> bool:
        return True

    # torch declares `forward` as an attribute, which mypy does not let a method be the last word on.
    @final  # type: ignore[misc]
    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        if events.hits.shape[2:] != (1, 1):
            raise ShapeError("Events.hits", events.hits.shape, "b x n x 1 x 1, one response an event")
        return weighted_mean(self.each(events.hits[:, :, 0, 0], events.truth), events.weight)


@final
class MeanResponse(ResponseObjective):
    """``⟨y⟩``."""

    def each(self, response: Tensor, truth: Tensor) -> Tensor:
        return response


@final
class Window(ResponseObjective):
    """``⟨σ(y − width) − σ(y)⟩`` with the logistic function σ: small where most y lie between 0 and the width.

    Args:
        width: of the window.

    Raises:
        ConfigurationError: for a width that is not positive.
    """

    def __init__(self, width: float = 10.0) -> None:
        super().__init__()
        if not width > 0:
            raise ConfigurationError("objective.width", width, "a positive number")
        self.width = width

    def each(self, response: Tensor, truth: Tensor) -> Tensor:
        return torch.sigmoid(response - self.width) - torch.sigmoid(response)


@final
class SquaredError(ResponseObjective):
    """``⟨(y − x)² / scale²⟩`` with x a truth feature, or ``⟨y² / scale²⟩``.

    Args:
        target: index of the truth feature; None compares with 0.
        scale: what counts as one, in field units.

    Raises:
        ConfigurationError: for a scale that is not positive.
    """

    def __init__(self, target: int | None = None, scale: float = 1.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ConfigurationError("objective.scale", scale, "a positive number")
        self.target, self.scale = target, scale

    def each(self, response: Tensor, truth: Tensor) -> Tensor:
        wanted = torch.zeros_like(response) if self.target is None else truth[..., self.target]
        return ((response - wanted) / self.scale) ** 2
