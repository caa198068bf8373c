"""The three promises a simulator can make about its derivatives."""

import enum
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import nn

from mode_opt.design import DesignPoint
from mode_opt.events import Events


class Promise(enum.IntEnum):
    """How a simulator can be differentiated; a chain keeps the weakest promise of its parts."""

    BLACK_BOX = 0
    STOCHASTIC = 1
    DIFFERENTIABLE = 2

    @property
    def label(self) -> str:
        """The promise in words, for messages."""
        return self.name.lower().replace("_", " ")


class Simulator(nn.Module, ABC):
    """A map from a design and primaries to events, batched over designs and events.

    Derive from `DifferentiableSimulator`, `StochasticSimulator` or `BlackBoxSimulator`: the type is the promise.
    """

    @property
    @abstractmethod
    def promise(self) -> Promise:
        """What is promised about derivatives."""

    @abstractmethod
    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        """Simulate.

        Args:
            phi: ``b`` designs.
            primaries: events of 1 or ``b`` designs; those of one are common to all designs.
            generator: source of all random numbers, on the device of ``phi``; the same seed gives the same events.

        Returns:
            Events with ``b`` designs and the truth of the primaries.
        """


class DifferentiableSimulator(Simulator):
    """Hits carry dh/dφ: random numbers do not depend on the design (reparameterisation)."""

    @property
    @final
    def promise(self) -> Promise:
        return Promise.DIFFERENTIABLE


class StochasticSimulator(Simulator):
    """The recorded log-probability of the random choices carries d log p/dφ; the hits may carry derivatives too."""

    @property
    @final
    def promise(self) -> Promise:
        return Promise.STOCHASTIC


class BlackBoxSimulator(Simulator):
    """Values only: implement `simulate`; nothing that it returns carries a derivative."""

    @property
    @final
    def promise(self) -> Promise:
        return Promise.BLACK_BOX

    @abstractmethod
    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        """Simulate without derivatives; arguments and result as in `Simulator.forward`."""

    # torch declares `forward` as an attribute, which mypy does not let a method be the last word on.
    @final  # type: ignore[misc]
    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        with torch.no_grad():
            return self.simulate(phi.detach(), primaries.detach(), generator).detach()
