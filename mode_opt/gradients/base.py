"""What a gradient estimator is."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import Promise, Simulator

Score = Callable[[Events, DesignPoint], Tensor]
"""Events and their designs to ``b`` objective values: the reconstruction and the objective in one call."""


class GradientEstimator(ABC):
    """How the derivative of the objective passes the simulator."""

    @property
    @abstractmethod
    def requires(self) -> Promise:
        """The weakest promise of a simulator with which this estimator is right."""

    @abstractmethod
    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """A scalar: its value estimates J(ψ), and its ``backward()`` leaves that of dJ/dψ in ``design.psi``."""

    def check(self, simulator: Simulator) -> None:
        """Refuse a simulator that promises too little.

        Raises:
            ConfigurationError: naming estimator and simulator.
        """
        if simulator.promise < self.requires:
            raise ConfigurationError(
                "gradient",
                type(self).__name__,
                f"an estimator that can use {type(simulator).__name__}, which is {simulator.promise.label} "
                f"({type(self).__name__} needs a {self.requires.label} simulator)",
            )


def linear(value: Tensor, slope: Tensor, psi: Tensor) -> Tensor:
    """A scalar with this value whose derivative with respect to ψ, ``1 x d``, is ``slope``, ``d``."""
    return value + (slope * (psi - psi.detach())[0]).sum()
