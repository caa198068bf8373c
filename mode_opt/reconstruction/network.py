"""A reconstruction network over cells that are always the same ones: layers, towers, strips."""

from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.reconstruction.base import Reconstruction
from mode_opt.reconstruction.beliefs import family, positive, standardised


def multilayer(inputs: int, hidden: int, depth: int, outputs: int) -> nn.Sequential:
    """A multilayer perceptron with ``depth`` hidden layers, SiLU, and an output layer that starts at zero."""
    widths = [inputs] + [hidden] * depth
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.SiLU()]
    last = nn.Linear(widths[-1], outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


@final
class CellNetwork(Reconstruction):
    """A multilayer perceptron over the cells of one or more features, conditioned on the design.

    With the sum ``s = Σ hits + floor`` of the first hit feature the network sees ``log s``, the fractions
    ``√(hits/s)`` of each cell (a variance-stabilising map for deposits) and the normalised design, and returns
    location and spread of the belief, in units of the spread of the truth that `fitting` saw. For a
    ``log_normal`` belief the location is ``log s`` plus the output of the network: the sum of the deposits with a
    learned calibration and leakage correction, which is why it needs few events.

    Args:
        cells: ``h``, number of cells of an event.
        parameters: ``d``, number of design columns it is conditioned on.
        features: ``f``, features of a hit.
        targets: ``t``, truth features.
        hidden: width of the hidden layers.
        depth: number of hidden layers.
        belief: ``log_normal`` or ``normal``.
        floor: smallest sum, in the unit of the hits, that still counts as a signal.

    Raises:
        ConfigurationError: for sizes below one or an unknown belief.
    """

    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        cells: int,
        parameters: int,
        features: int = 1,
        targets: int = 1,
        hidden: int = 128,
        depth: int = 2,
        belief: str = "log_normal",
        floor: float = 1e-3,
    ) -> None:
        super().__init__()
        sizes = {"cells": cells, "features": features, "targets": targets, "hidden": hidden, "depth": depth}
        for key, value in sizes.items():
            if value < 1:
                raise ConfigurationError(f"reconstruction.{key}", value, "at least 1")
        self.belief, self.family, self.floor, self.cells = belief, family(belief), floor, cells
        self.targets = targets
        self.register_buffer("centre", torch.zeros(targets))
        self.register_buffer("scale", torch.ones(targets))
        self.network = multilayer(cells * features + features + parameters, hidden, depth, 2 * targets)

    @classmethod
    def fitting(cls, events: Events, phi: DesignPoint, **options: Any) -> "CellNetwork":
        """The network whose sizes fit these events and designs; ``options`` are those of the constructor."""
        _, _, cells, features = events.hits.shape
        sizes: dict[str, Any] = {"cells": cells, "features": features, "targets": events.truth.shape[2]}
        network = cls(parameters=phi.values.shape[1], **sizes, **options)
        network._standardise(events)
        return network

    def _standardise(self, events: Events) -> None:
        """Start at the calibration and the unit of these events instead of at one."""
        target, every = events.truth, torch.ones_like(events.weight, dtype=torch.bool)
        if self.belief == "log_normal":
            self.centre = (target.log() - self._total(events)[..., :1].log()).mean((0, 1))
        else:
            self.centre, self.scale = standardised(target, every)

    def _total(self, events: Events) -> Tensor:
        hits = events.hits * events.mask.unsqueeze(-1)
        return hits.sum(2).clamp_min(0.0) + self.floor  # b x n x f

    def forward(self, events: Events, phi: DesignPoint) -> Distribution:
        hits = events.hits * events.mask.unsqueeze(-1)
        if hits.shape[2] != self.cells:
            raise ConfigurationError("reconstruction.cells", self.cells, f"{hits.shape[2]}, the cells of the events")
        total = self._total(events)
        features = torch.cat([self._fractions(hits, total), total.log() - 4.0, self._design(events, phi)], -1)
        location, spread = self.network(features).split(self.targets, -1)
        location = self.centre + self.scale * location
        if self.belief == "log_normal":
            location = location + total[..., :1].log()
        return self.family(location, self.scale * positive(spread))

    def _fractions(self, hits: Tensor, total: Tensor) -> Tensor:
        # √x has an infinite slope at empty cells; the shift bounds it and keeps zero at zero.
        shift = 1e-3
        fractions = (hits / total.unsqueeze(2)).clamp_min(0.0)
        return ((fractions + shift).sqrt() - shift**0.5).flatten(2) * self.cells**0.5

    @staticmethod
    def _design(events: Events, phi: DesignPoint) -> Tensor:
        return phi.normalised().unsqueeze(1).expand(events.designs, events.count, -1)
