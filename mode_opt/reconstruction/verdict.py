"""The belief after a yes or a no."""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.reconstruction.base import Reconstruction


@final
class Verdict(Reconstruction):
    """The probability that an event is signal (truth 1) given that a selection accepted or rejected it.

    ``P(truth_t = 1 | q) = sigmoid(a_t + c_t (q − 1/2))`` with the decision q of a selection, a feature of the first
    hit. Trained, two numbers per truth feature: the purity of the accepted and of the rejected events in the mixture
    that is simulated. Its training loss is a bound on the information that the decision holds about the truth.

    Args:
        targets: ``t``, truth features, each 0 or 1.
        selected: index of the feature of the first hit that holds q.
    """

    def __init__(self, targets: int = 1, selected: int = -1) -> None:
        super().__init__()
        self.selected = selected
        self.middle = nn.Parameter(torch.zeros(targets))
        self.contrast = nn.Parameter(torch.zeros(targets))

    @classmethod
    def fitting(cls, events: Events, phi: DesignPoint, **options: Any) -> "Verdict":
        """The one whose size fits these events; ``options`` are those of the constructor."""
        return cls(targets=events.truth.shape[2], **options)

    def forward(self, events: Events, phi: DesignPoint) -> Distribution:
        decided: Tensor = events.hits[:, :, 0, self.selected].unsqueeze(-1)
        logits = self.middle + self.contrast * (decided - 0.5)
        # Truth that is neither 0 nor 1 is interpolated by the log-probability instead of refused.
        return Independent(Bernoulli(logits=logits, validate_args=False), 1, validate_args=False)
