"""``TelescopeTwin``: a differentiable model of the cosmic-muon telescope of ``uproot-from-geant4.root``."""

import math
from dataclasses import replace
from functools import partial
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ShapeError
from mode_opt.events import Events
from mode_opt.simulation import DifferentiableSimulator

from .lines import LAYERS, THICKNESS, Layers, Line
from .passage import SURFACES, Apparatus


@final
class TelescopeTwin(DifferentiableSimulator):
    """Muons on straight lines through three cylindrical layers of scintillator strips, each crossed twice.

    Each layer measures the turned azimuth m of `Layers` with a Gaussian error (`Apparatus`), which has a part that is a
    fixed fraction of a strip and a part that falls the more strips the muon crosses (`shared`), and the matter scatters
    the muon (`Apparatus.passage`). Pattern recognition and efficiency are perfect, and no residual has another tail
    than that of the momenta and inclinations: see the README.

    Reads the design parameters of `Layers`. Primaries: hits ``b x n x 1 x 5``, φ, cot θ, z (mm), b (mm), p (MeV).
    Returns hits ``b x n x 6 x 1``: m (radians) of the layers from inside to outside on the way in, then the same on
    the way out.

    Args:
        apparatus: numbers that are not part of the design; a tensor in the place of a number is for calibration.

    Raises:
        ShapeError: when called, for primaries of another shape.
    """

    def __init__(self, apparatus: Apparatus | None = None) -> None:
        super().__init__()
        self.apparatus = apparatus or Apparatus()

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        events, line, momentum = incoming(phi, primaries)
        layers, shape = Layers.of(phi), momentum.shape
        kind, device = momentum.dtype, momentum.device
        normal = torch.randn((2, SURFACES, *shape), generator=generator, dtype=kind, device=device)
        smear = torch.randn((2 * LAYERS, *shape), generator=generator, dtype=kind, device=device)
        crossings = self.apparatus.passage(layers, line, momentum, normal, partial(self._crossing, layers))
        return seen(events, [exact + error * smear[k] for k, (exact, error) in enumerate(crossings)])

    def _crossing(self, layers: Layers, line: Line, layer: int, side: int) -> Tensor:
        """Exact turned azimuth and its error, ``2 x b x n``."""
        step, exact = layers.step[:, layer, None], layers.measured(line, layer, side)
        fixed, sharing = self.apparatus.errors()[layer], self.apparatus.sharing
        if isinstance(sharing, float | int) and sharing == 0:
            return torch.stack([exact, (fixed * step).expand_as(exact)])
        near, far = (layers.measured(line, layer, side, outside) for outside in (-THICKNESS / 2, THICKNESS / 2))
        variance = fixed**2 + sharing**2 * shared((far - near).abs() / step) ** 2
        return torch.stack([exact, variance.sqrt() * step])


def shared(span: Tensor) -> Tensor:
    r"""Error of the energy-weighted mean of the strips along a path that spans w of them, in strips; any shape.

    The mean of ``round(x)`` over an interval of length w at a random place differs from its middle by a saw-tooth,
    averaged over w, whose root mean square is, with {w} the fraction of w,

    .. math:: \sqrt{\sum_{n\ge1} rac{\sin^2 \pi n w}{2\pi^4 n^4 w^2}} = rac{\{w\}\,(1 - \{w\})}{\sqrt{12}\,w}

    that is ``(1 − w)/√12`` below one strip, and zero at every whole number.
    """
    part = torch.remainder(span, 1.0)
    return torch.where(span < 1, 1 - span, part * (1 - part) / span.clamp(min=1.0)) / math.sqrt(12)


def incoming(phi: DesignPoint, primaries: Events) -> tuple[Events, Line, Tensor]:
    """Events of as many designs as φ has, their lines and momenta (``b x n``).

    Raises:
        ShapeError: for primaries that are not one hit of five features.
    """
    if primaries.hits.shape[2:] != (1, 5):
        raise ShapeError("primaries.hits", primaries.hits.shape, "b x n x 1 x 5: phi, cot, z, b, p")
    events = primaries.expand(phi.designs)
    *track, momentum = events.hits[:, :, 0].unbind(-1)
    return events, Line(*track), momentum


def seen(events: Events, measured: list[Tensor]) -> Events:
    """The events with six crossings (``b x n`` each) as hits."""
    hits = torch.stack(measured, -1).unsqueeze(-1)
    return replace(events, hits=hits, mask=torch.ones(hits.shape[:3], dtype=torch.bool, device=hits.device))
