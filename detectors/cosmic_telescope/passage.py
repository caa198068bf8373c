"""The way of a muon through the telescope: scattering in nine surfaces, and what the layers see of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from .lines import LAYERS, Layers, Line

Number = float | Tensor
Measure = Callable[[Line, int, int], Tensor]
"""Line, number of the layer and side (−1 in, +1 out) to what is measured of the crossing, ``b x n``."""

SURFACES = 2 * LAYERS + 3
MUON = 105.658
"""Mass of the muon, MeV."""
_INWARDS = tuple(reversed(range(LAYERS)))


@final
@dataclass(frozen=True)
class Apparatus:
    """What the telescope has besides its design. Lengths in mm, thicknesses of matter in radiation lengths.

    Attributes:
        stereo: error of one crossing of the inner or the outer layer, in strips, whatever its inclination.
        axial: the same of the middle layer.
        sharing: error by the strips' width, in units of what perfect energy-weighted means have (`shared`): 1 for a
            reading of energies, 0 for one that does not use them.
        wall: shell and core together, at normal incidence; shared 4 : 6.
        strip: one layer.
        shell: distance of the tube around the layers from the middle of the outer layer.
        core: distance of the tube inside the layers from the middle of the inner layer.
    """

    stereo: Number = 0.380
    axial: Number = 0.499
    wall: Number = 0.184
    sharing: Number = 0.0
    strip: Number = 0.0242
    shell: float = 14.7
    core: float = 8.8

    def errors(self) -> tuple[Number, ...]:
        """Of a crossing of each layer, inside to outside, in strips."""
        return self.stereo, self.axial, self.stereo

    def passage(self, layers: Layers, line: Line, momentum: Tensor, normal: Tensor, measure: Measure) -> list[Tensor]:
        r"""What is measured of the six crossings of scattered muons: the layers on the way in, then on the way out.

        A muon crosses the shell, the layers from outside to inside and the core on its way in, and the core and the
        layers again on its way out. Each surface deflects it, in two planes perpendicular to each other, by Gaussian
        angles of width [PDG, eq. 34.16]

        .. math:: \theta_0 = \frac{13.6\ \mathrm{MeV}}{\beta p}\sqrt{x}\,(1 + 0.038 \ln X), \qquad
                  x = \frac{x_0}{\sin\theta\,\sqrt{1 - b^2/r^2}}

        with x_0 its thickness in radiation lengths and X the sum of x over all surfaces: φ by ``θ_1 / sin θ`` and
        cot θ by ``θ_2 / sin² θ``. The momentum stays what it was.

        Args:
            layers: of ``b`` designs.
            line: as the muons come in, ``b x n``.
            momentum: ``b x n``, MeV.
            normal: ``2 x 9 x b x n`` unit normal variates.
            measure: what a layer sees of a crossing, before it deflects.

        Source: [PDG] Particle Data Group, Phys. Rev. D 110 (2024) 030001, section 34.3.
        """
        surfaces = self._surfaces(layers)
        paths = [_crossed(line, radius, matter) for radius, matter, _, _ in surfaces]
        common = 1 + 0.038 * torch.stack(paths).sum(0).clamp(min=1e-6).log()
        scale = 13.6 * common * (momentum**2 + MUON**2).sqrt() / momentum**2
        found: dict[tuple[int, int], Tensor] = {}
        for k, ((radius, _, layer, side), path) in enumerate(zip(surfaces, paths, strict=True)):
            if layer is not None:
                found[side, layer] = measure(line, layer, side)
            stretch = (1 + line.cot**2).sqrt()
            angle = scale * path.clamp(min=1e-12).sqrt()
            turn, change = angle * normal[0, k] * stretch, angle * normal[1, k] * stretch**2
            line = line.bent(side * line.half_chord(radius), turn, change)
        return [found[side, layer] for side in (-1, 1) for layer in range(LAYERS)]

    def _surfaces(self, layers: Layers) -> list[tuple[Tensor, Number, int | None, int]]:
        """Radius (``b x 1``), matter, number of the layer and side of each surface, in the order of the crossings."""
        shell, core = layers.radius[:, -1:] + self.shell, layers.radius[:, :1] - self.core
        inwards = [(layers.radius[:, k, None], self.strip, k, -1) for k in _INWARDS]
        outwards = [(layers.radius[:, k, None], self.strip, k, 1) for k in range(LAYERS)]
        tubes = [(core, 0.6 * self.wall, None, side) for side in (-1, 1)]
        return [(shell, 0.4 * self.wall, None, -1), *inwards, *tubes, *outwards]


def _crossed(line: Line, radius: Tensor, matter: Number) -> Tensor:
    """Matter on the way through one surface, radiation lengths, ``b x n``."""
    return matter * (1 + line.cot**2).sqrt() * radius / line.half_chord(radius)
