"""What a reconstruction is."""

from abc import ABC, abstractmethod

from torch import nn
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.events import Events


class Reconstruction(nn.Module, ABC):
    """A map from events to a belief: a distribution over the truth, conditioned on the design.

    Trained by ``-belief.log_prob(truth)``, which is inference compilation and, averaged, a bound on the mutual
    information between truth and hits; or by the objective. A point estimate is ``belief.mean``.

    Attributes:
        goals: what it can be trained for, see `Experiment`.
    """

    goals: tuple[str, ...] = ("truth", "objective")

    @abstractmethod
    def forward(self, events: Events, phi: DesignPoint) -> Distribution:
        """The belief, with batch shape ``b x n`` and event shape ``t``; hits where the mask is False are ignored."""
