"""What a network sees of events whose cells are always the same ones."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.reconstruction.beliefs import standardised


@final
class StandardInputs(nn.Module):
    r"""Each feature of each cell in standard deviations from its mean, 0 where masked, then the normalised design.

    Args:
        cells: ``h``, number of cells of an event.
        parameters: ``d``, number of design columns.
        features: indices of the features of a hit that are read.

    Raises:
        ConfigurationError: for sizes below one; when called, for events with another number of cells.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, cells: int, parameters: int, features: Sequence[int]) -> None:
        super().__init__()
        self.cells, self.features = cells, list(features)
        for key, value in (("cells", cells), ("features", len(self.features))):
            if value < 1:
                raise ConfigurationError(f"reconstruction.{key}", value, "at least 1")
        self.size = cells * len(self.features) + parameters
        self.register_buffer("centre", torch.zeros(cells, len(self.features)))
        self.register_buffer("scale", torch.ones(cells, len(self.features)))

    @torch.no_grad()
    def fit(self, events: Events, together: bool = False) -> None:
        """Take means and deviations from the real hits of these events.

        Args:
            events: ``b x n``.
            together: one mean and deviation for all cells, for cells that are mostly empty; else each its own.
        """
        if together:
            values = standardised(events.hits[..., self.features], events.mask)
            self.centre[:], self.scale[:] = values
            return
        for cell in range(self.cells):
            values = standardised(events.hits[:, :, cell, self.features], events.mask[:, :, cell])
            self.centre[cell], self.scale[cell] = values

    def forward(self, events: Events, phi: DesignPoint) -> Tensor:
        """``b x n x size``."""
        cells = events.hits.shape[2]
        if cells != self.cells:
            raise ConfigurationError("reconstruction.cells", self.cells, f"{cells}, the cells of the events")
        read = (events.hits[..., self.features] - self.centre) / self.scale * events.mask.unsqueeze(-1)
        design = phi.normalised().unsqueeze(1).expand(events.designs, events.count, -1)
        return torch.cat([read.flatten(2), design], -1)
