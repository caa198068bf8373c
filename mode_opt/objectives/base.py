"""What an objective is."""

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.events import Events


class Objective(nn.Module, ABC):
    """A number per design, smaller is better, computed with the weights of the events.

    Because every average is a weighted one, gradients that come through the weights (score functions) need no
    code of their own.
    """

    @abstractmethod
    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        """``b`` values for ``b`` designs; ``belief`` has batch shape ``b x n`` and event shape ``t``."""

    @property
    def additive(self) -> bool:
        """Whether the value is the weighted mean over the events of a number of each event.

        Then a single event has a value, and the events of an estimate may have a design each.
        """
        return False
