"""The objective of the toy."""

from typing import final

from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, ShapeError
from mode_opt.events import Events
from mode_opt.objectives import Objective, weighted_mean


@final
class RadiusDeviation(Objective):
    """``⟨(R − R₀)²⟩`` over the weighted events, with R the mean radius of the points of an event.

    Reads hits ``b x n x 1 x 2``: the sum of the radii (mm) and the number of the points. The belief is not used.

    Args:
        target: R₀, mm.

    Raises:
        ConfigurationError: for a target that is not positive.
        ShapeError: when called, for hits of another shape.
    """

    def __init__(self, target: float = 2.0) -> None:
        super().__init__()
        if not target > 0:
            raise ConfigurationError("objective.target", target, "a positive radius in mm")
        self.target = target

    @property
    def additive(self) -> bool:
        return True

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        return weighted_mean(self.each(events), events.weight)

    def each(self, events: Events) -> Tensor:
        """``(R − R₀)²`` of each event, ``b x n``."""
        if events.hits.shape[2:] != (1, 2):
            raise ShapeError("Events.hits", events.hits.shape, "b x n x 1 x 2, sum of the radii and number of points")
        total, number = events.hits[:, :, 0].unbind(-1)
        return (total / number - self.target) ** 2
