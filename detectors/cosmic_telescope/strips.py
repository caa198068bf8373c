"""``StripTelescope``: the same telescope with real strips, read out by the centre of gravity of their energies."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.simulation import BlackBoxSimulator

from .lines import LAYERS, THICKNESS, Layers, Line
from .passage import SURFACES, Apparatus
from .twin import incoming, seen


@final
class StripTelescope(BlackBoxSimulator):
    """Muons in strips of rectangular section; a crossing is measured by the energy-weighted mean of its strips.

    A muon is in the layer from radius ``r − 5 mm`` to ``r + 5 mm``; between the turned azimuths a and b of these, in
    units of a strip, it deposits uniformly, and strip k covers ``k ± ½``. So the centre of gravity is

    .. math:: \\frac{1}{b-a}\\int_a^b \\mathrm{round}(x)\\,dx

    It is exact where a muon crosses many strips, and as wrong as a uniform variate of one strip where it stays in one:
    the error of a crossing follows from geometry, and there is no number to fit but the matter of the walls. Energy
    fluctuates little along 10 mm, and secondaries are left out. The number of strips of a layer is rounded.

    Primaries and hits are those of `TelescopeTwin`. The errors of the apparatus are not used.

    Args:
        apparatus: numbers that are not part of the design.
    """

    def __init__(self, apparatus: Apparatus | None = None) -> None:
        super().__init__()
        self.apparatus = apparatus or Apparatus()

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events, line, momentum = incoming(phi, primaries)
        ideal = Layers.of(phi)
        layers = Layers(ideal.radius, ideal.turn, ideal.strips.round())
        kind, device = momentum.dtype, momentum.device
        normal = torch.randn((2, SURFACES, *momentum.shape), generator=generator, dtype=kind, device=device)
        # Where strip 1 begins has no meaning for a muon: a random turn for each layer and muon averages over it.
        turns = torch.rand((LAYERS, *momentum.shape), generator=generator, dtype=kind, device=device)

        def measure(muon: Line, layer: int, side: int) -> Tensor:
            step = layers.step[:, layer, None]
            near, far = (
                layers.measured(muon, layer, side, outside) / step + turns[layer]
                for outside in (-THICKNESS / 2, THICKNESS / 2)
            )
            return step * (centre_of_gravity(near, far) - turns[layer])

        return seen(events, self.apparatus.passage(layers, line, momentum, normal, measure))


def centre_of_gravity(near: Tensor, far: Tensor) -> Tensor:
    """Mean of ``round(x)`` for x uniform between two numbers, any shape; the rounded number where they agree."""
    width = far - near
    thin = width.abs() < 1e-3
    mean = (_integral(far) - _integral(near)) / torch.where(thin, 1.0, width)
    return torch.where(thin, ((near + far) / 2).round(), mean)


def _integral(x: Tensor) -> Tensor:
    """``∫₀ˣ round(u) du = n x − n²/2`` with n the rounded x."""
    nearest = x.round()
    return nearest * x - nearest**2 / 2
