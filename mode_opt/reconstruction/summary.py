"""A network that answers in which of a few bins an event falls: a summary statistic that is learnt."""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.reconstruction.base import Reconstruction
from mode_opt.reconstruction.beliefs import family, positive, standardised
from mode_opt.reconstruction.inputs import StandardInputs
from mode_opt.reconstruction.network import multilayer


@final
class SummaryNetwork(Reconstruction):
    r"""A multilayer perceptron with K outputs, and the belief of someone who sees only which of K bins they choose.

    .. math:: q(t \mid \text{hits}, \varphi) = \sum_k \operatorname{softmax}_k(z(\text{hits}, \varphi)) \, p_k(t)

    The outputs z are the logits of the bins (``belief.mixture_distribution.logits``), which an objective counts in as
    `Templates` with ``observable: memberships`` does. Each bin has a component :math:`p_k` of its own, one location and
    spread for each truth feature. Trained by an objective that reads the bins alone, the components stay as they are.

    Inputs are those of `StandardInputs`.

    Args:
        cells: ``h``, number of hits of an event.
        parameters: ``d``, number of design columns it is conditioned on.
        features: ``f``, features of a hit.
        targets: ``t``, truth features.
        bins: K.
        hidden: width of the hidden layers.
        depth: number of hidden layers.
        belief: family of the components, ``normal`` or ``log_normal``.

    Raises:
        ConfigurationError: for sizes below one, less than two bins, or an unknown belief.

    Source: P. de Castro and T. Dorigo, Comput. Phys. Commun. 244 (2019) 170 (INFERNO).
    """

    truth_centre: Tensor
    truth_scale: Tensor

    def __init__(
        self,
        cells: int,
        parameters: int,
        features: int = 1,
        targets: int = 1,
        bins: int = 10,
        hidden: int = 100,
        depth: int = 2,
        belief: str = "normal",
    ) -> None:
        super().__init__()
        sizes = {"cells": cells, "features": features, "targets": targets, "hidden": hidden, "depth": depth}
        for key, value in {**sizes, "bins": bins - 1}.items():
            if value < 1:
                raise ConfigurationError(f"reconstruction.{key}", sizes.get(key, bins), "at least 1 (bins: 2)")
        self.belief, self.family = belief, family(belief)
        self.inputs = StandardInputs(cells, parameters, range(features))
        self.register_buffer("truth_centre", torch.zeros(targets))
        self.register_buffer("truth_scale", torch.ones(targets))
        self.network = multilayer(self.inputs.size, hidden, depth, bins)
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.xavier_uniform_(last.weight)  # bins that begin alike would stay alike
        self.location = nn.Parameter(torch.linspace(-1.0, 1.0, bins).unsqueeze(1).repeat(1, targets))
        self.spread = nn.Parameter(torch.full((bins, targets), 2.25))

    @classmethod
    def fitting(cls, events: Events, phi: DesignPoint, **options: Any) -> "SummaryNetwork":
        """The network whose sizes fit these events and designs; ``options`` are those of the constructor."""
        _, _, cells, features = events.hits.shape
        sizes: dict[str, Any] = {"cells": cells, "features": features, "targets": events.truth.shape[2]}
        network = cls(parameters=phi.values.shape[1], **sizes, **options)
        network.inputs.fit(events)
        truth = events.truth.detach()
        truth = truth.log() if network.belief == "log_normal" else truth
        every = torch.ones_like(events.weight, dtype=torch.bool)
        network.truth_centre, network.truth_scale = standardised(truth, every)
        return network

    def forward(self, events: Events, phi: DesignPoint) -> Distribution:
        logits = self.network(self.inputs(events, phi))
        location = self.truth_centre + self.truth_scale * self.location
        spread = self.truth_scale * (positive(self.spread) + 1e-3)
        shape = (*logits.shape, location.shape[-1])
        return MixtureSameFamily(
            Categorical(logits=logits, validate_args=False),
            self.family(location.expand(shape), spread.expand(shape)),
            validate_args=False,
        )
