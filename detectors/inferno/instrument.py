"""An instrument that measures two coordinates, each as precisely as the number of its channels allows."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import DifferentiableSimulator


@final
class Instrument(DifferentiableSimulator):
    r"""Strips of two directions, whose pitch falls with the number of channels that each has.

    .. math:: x_0 \to x_0 + \frac{e}{q}\, \epsilon_0, \qquad x_1 \to x_1 + \frac{e}{1 - q}\, \epsilon_1

    with normal ε and the share q of the channels that measure :math:`x_0`, the design. The third observable is measured
    exactly. A shift of the background is the same before and after the measurement.

    Args:
        error: e, of a coordinate that all channels measure; 0: both are measured exactly.
        share: name of the design parameter q.

    Raises:
        ConfigurationError: for a negative error.
    """

    def __init__(self, error: float = 0.5, share: str = "share") -> None:
        super().__init__()
        if not 0 <= error < float("inf"):
            raise ConfigurationError("detector.error", error, "0 or a positive number")
        self.error, self.share = error, share

    def errors(self, share: Tensor) -> Tensor:
        """Gaussian errors of both coordinates, ``... x 2``, for shares ``...``."""
        return self.error / torch.stack([share, 1 - share], -1)

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        errors = self.errors(phi[self.share]).unsqueeze(1)  # b x 1 x 1 x 2
        particles = primaries.expand(phi.values.shape[0])
        shape = (1, *particles.hits.shape[1:3], 2)
        noise = torch.randn(shape, generator=generator, device=errors.device, dtype=errors.dtype)
        hits = torch.cat([particles.hits[..., :2] + errors * noise, particles.hits[..., 2:]], -1)
        return Events(particles.truth, hits, particles.mask, particles.weight)
