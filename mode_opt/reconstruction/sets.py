"""A reconstruction network over hits in any number and order."""

from typing import Any, cast, final

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.reconstruction.base import Reconstruction
from mode_opt.reconstruction.beliefs import family, positive, standardised
from mode_opt.reconstruction.network import multilayer


@final
class SetNetwork(Reconstruction):
    """Deep set: ``ρ(Σ_hits χ(hit, φ), number of hits, φ)``, invariant under permutations of the hits.

    Args:
        features: ``f``, features of a hit.
        parameters: ``d``, number of design columns.
        targets: ``t``, truth features.
        hidden: width of both networks.
        depth: hidden layers of each.
        belief: ``normal`` or ``log_normal``.

    Hits and truth are standardised with the means and deviations of the events that `fitting` saw, the logarithm
    of the truth for a ``log_normal`` belief.

    Raises:
        ConfigurationError: for sizes below one or an unknown belief.

    Source: M. Zaheer et al., "Deep Sets", NeurIPS 2017, arXiv 1703.06114.
    """

    hit_centre: Tensor
    hit_scale: Tensor
    truth_centre: Tensor
    truth_scale: Tensor

    def __init__(
        self,
        features: int,
        parameters: int,
        targets: int = 1,
        hidden: int = 64,
        depth: int = 2,
        belief: str = "normal",
    ) -> None:
        super().__init__()
        sizes = {"features": features, "targets": targets, "hidden": hidden, "depth": depth}
        for key, value in sizes.items():
            if value < 1:
                raise ConfigurationError(f"reconstruction.{key}", value, "at least 1")
        self.belief, self.family, self.targets = belief, family(belief), targets
        for name, size in (("hit", features), ("truth", targets)):
            self.register_buffer(f"{name}_centre", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))
        self.embed = multilayer(features + parameters, hidden, depth, hidden)
        torch.nn.init.xavier_uniform_(cast(Tensor, self.embed[-1].weight))
        self.combine = multilayer(hidden + 1 + parameters, hidden, depth, 2 * targets)

    @classmethod
    def fitting(cls, events: Events, phi: DesignPoint, **options: Any) -> "SetNetwork":
        """The network whose sizes fit these events and designs; ``options`` are those of the constructor."""
        sizes: dict[str, Any] = {"features": events.hits.shape[3], "targets": events.truth.shape[2]}
        network = cls(parameters=phi.values.shape[1], **sizes, **options)
        network.hit_centre, network.hit_scale = standardised(events.hits, events.mask)
        truth = events.truth.log() if network.belief == "log_normal" else events.truth
        every = torch.ones_like(events.weight, dtype=torch.bool)
        network.truth_centre, network.truth_scale = standardised(truth, every)
        return network

    def forward(self, events: Events, phi: DesignPoint) -> Distribution:
        design = phi.normalised().unsqueeze(1).expand(events.designs, events.count, -1)
        per_hit = design.unsqueeze(2).expand(-1, -1, events.hits.shape[2], -1)
        mask = events.mask.unsqueeze(-1)
        standard = (events.hits - self.hit_centre) / self.hit_scale * mask
        embedded = self.embed(torch.cat([standard, per_hit], -1)) * mask
        hits = mask.sum(2).to(events.hits.dtype)
        pooled = embedded.sum(2) / hits.clamp_min(1.0)
        location, spread = self.combine(torch.cat([pooled, hits.log1p(), design], -1)).split(self.targets, -1)
        location = self.truth_centre + self.truth_scale * location
        return self.family(location, self.truth_scale * positive(spread))
