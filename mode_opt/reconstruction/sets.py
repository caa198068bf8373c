"""A reconstruction network over hits in any number and order."""

from typing import Any, final

import torch
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.reconstruction.base import Reconstruction
from mode_opt.reconstruction.beliefs import family, positive
from mode_opt.reconstruction.network import multilayer


@final
class SetNetwork(Reconstruction):
    """Deep set: ``ρ(Σ_hits χ(hit, φ), number of hits, φ)``, invariant under permutations of the hits.

    Args:
        features: ``f``, features of a hit; scale them to about one in the digitisation or with ``scale``.
        parameters: ``d``, number of design columns.
        targets: ``t``, truth features.
        hidden: width of both networks.
        depth: hidden layers of each.
        belief: ``normal`` or ``log_normal``.
        scale: typical size of a hit feature, in field units.

    Raises:
        ConfigurationError: for sizes below one, a scale that is not positive, or an unknown belief.

    Source: M. Zaheer et al., "Deep Sets", NeurIPS 2017, arXiv 1703.06114.
    """

    def __init__(
        self,
        features: int,
        parameters: int,
        targets: int = 1,
        hidden: int = 64,
        depth: int = 2,
        belief: str = "normal",
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        sizes = {"features": features, "targets": targets, "hidden": hidden, "depth": depth}
        for key, value in {**sizes, "scale": scale}.items():
            if value < (1 if key in sizes else 0) or value == 0:
                raise ConfigurationError(f"reconstruction.{key}", value, "a positive number")
        self.family, self.targets, self.scale = family(belief), targets, scale
        self.embed = multilayer(features + parameters, hidden, depth, hidden)
        torch.nn.init.xavier_uniform_(self.embed[-1].weight)
        self.combine = multilayer(hidden + 1 + parameters, hidden, depth, 2 * targets)

    @classmethod
    def fitting(cls, events: Events, phi: DesignPoint, **options: Any) -> "SetNetwork":
        """The network whose sizes fit these events and designs; ``options`` are those of the constructor."""
        sizes = {"features": events.hits.shape[3], "targets": events.truth.shape[2]}
        return cls(parameters=phi.values.shape[1], **sizes, **options)

    def forward(self, events: Events, phi: DesignPoint) -> Distribution:
        design = phi.normalised().unsqueeze(1).expand(events.designs, events.count, -1)
        per_hit = design.unsqueeze(2).expand(-1, -1, events.hits.shape[2], -1)
        mask = events.mask.unsqueeze(-1)
        embedded = self.embed(torch.cat([events.hits / self.scale, per_hit], -1)) * mask
        hits = mask.sum(2).to(events.hits.dtype)
        pooled = embedded.sum(2) / hits.clamp_min(1.0)
        location, spread = self.combine(torch.cat([pooled, hits.log1p(), design], -1)).split(self.targets, -1)
        return self.family(location, positive(spread))
