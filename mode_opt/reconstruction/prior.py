"""The reconstruction of a detector whose objective needs none."""

from typing import final

import torch
from torch import nn
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.reconstruction.base import Reconstruction
from mode_opt.reconstruction.beliefs import normal, standardised


@final
class PriorBelief(Reconstruction):
    """What is believed of the truth before any hit is seen, ``N(location, spread)``: the hits are not read.

    For objectives that are computed from the hits alone, such as a mean deposit. Its two numbers per truth feature are
    frozen parameters: there is nothing to train and no derivative passes. As a reconstruction proper it is the one
    that every other has to beat.

    Args:
        targets: ``t``, truth features; location 0 and spread 1 unless `fitting` saw events.

    Raises:
        ConfigurationError: for less than one target.
    """

    def __init__(self, targets: int = 1) -> None:
        super().__init__()
        if targets < 1:
            raise ConfigurationError("reconstruction.targets", targets, "at least 1")
        self.location = nn.Parameter(torch.zeros(targets), requires_grad=False)
        self.spread = nn.Parameter(torch.ones(targets), requires_grad=False)

    @classmethod
    def fitting(cls, events: Events, phi: DesignPoint) -> "PriorBelief":
        """With mean and standard deviation of the truth of these events."""
        belief = cls(events.truth.shape[2])
        every = torch.ones_like(events.weight, dtype=torch.bool)
        belief.location.data, belief.spread.data = standardised(events.truth.detach(), every)
        return belief

    def forward(self, events: Events, phi: DesignPoint) -> Distribution:
        return normal(self.location.expand(events.truth.shape), self.spread.expand(events.truth.shape))
