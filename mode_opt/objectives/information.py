"""How much the hits say about the truth."""

from typing import final

from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.objectives.base import Objective
from mode_opt.objectives.weights import weighted_mean


@final
class PosteriorBound(Objective):
    """Expected surprise of the truth, ``−⟨log q(x | hits, φ)⟩`` in nats.

    The Barber–Agakov bound: mutual information ``I(x; hits) ≥ H(x) + ⟨log q⟩``, with equality for the exact
    posterior. The entropy ``H(x)`` of the primaries does not depend on the design, so minimising this maximises
    the bound. It is also the loss that trains the reconstruction: with it, the design gradient at fixed
    reconstruction weights is exact at their optimum (envelope theorem).

    Source: D. Barber and F. Agakov, "The IM algorithm", NeurIPS 2003.
    """

    @property
    def additive(self) -> bool:
        return True

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        return weighted_mean(-belief.log_prob(events.truth), events.weight)
