"""Straight lines through cylinders: where a muon crosses a layer, and how a deflection bends it."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ShapeError

LAYERS = 3
THICKNESS = 10.0
"""Of a strip across its layer, mm."""
LENGTH = 940.0
"""Of the layers along the axis, mm: the strips of the recorded run are struck between −470 and 470."""
_LEAST_CHORD = 0.1
"""Half chord, in radii, below which a grazing line counts as one that crosses: keeps slopes finite."""


@final
@dataclass(frozen=True)
class Line:
    """Lines along u = (cos φ, sin φ, cot θ), in the coordinates of the recorded tracks; each tensor ``b x n``.

    With n = (−sin φ, cos φ) and s the path in the plane across the axis, from the point nearest to the axis,

    .. math:: (x, y) = s\\,(\\cos\\varphi, \\sin\\varphi) - b\\,n, \\qquad z(s) = z + s \\cot\\theta

    Attributes:
        phi: azimuth of the direction, radians.
        cot: cotangent of the angle between direction and axis.
        z: along the axis, where the line is nearest to it, mm.
        b: signed distance from the axis, mm.
    """

    phi: Tensor
    cot: Tensor
    z: Tensor
    b: Tensor

    def half_chord(self, radius: Tensor) -> Tensor:
        """``√(r² − b²)``, mm; at least a tenth of the radius."""
        return (radius**2 - self.b**2).clamp(min=(_LEAST_CHORD * radius.detach()) ** 2).sqrt()

    def azimuth(self, radius: Tensor, side: int) -> Tensor:
        """Of the crossing with a cylinder: where the line enters (``side`` −1) or leaves (+1) it.

        ``φ − asin(b/r)`` where it leaves, ``φ − π + asin(b/r)`` where it enters; radians, not wrapped.
        """
        turn = torch.asin((self.b / radius).clamp(-0.995, 0.995))
        return self.phi - turn if side > 0 else self.phi - math.pi + turn

    def height(self, radius: Tensor, side: int) -> Tensor:
        """z of the crossing, mm."""
        return self.z + side * self.half_chord(radius) * self.cot

    def bent(self, path: Tensor, turn: Tensor, change: Tensor) -> "Line":
        """The line after a deflection at s = ``path``: φ by ``turn``, cot θ by ``change``; it goes on where it was."""
        cosine, sine = turn.cos(), turn.sin()
        after = path * cosine - self.b * sine
        cot = self.cot + change
        return Line(self.phi + turn, cot, self.z + path * self.cot - after * cot, self.b * cosine + path * sine)


@final
@dataclass(frozen=True)
class Layers:
    """The strip layers of ``b`` designs, inside to outside; each tensor ``b x 3``.

    A strip winds around the axis by κ radians per mm, and what a layer measures of a crossing at azimuth α and height
    z is the number of the strip, that is the turned azimuth

    .. math:: m = \\alpha + \\kappa z

    Strips are ``pitch`` wide across their length, so that ``N = 2 π r cos ψ / pitch`` go around, with tan ψ = κ r.

    Attributes:
        radius: of the middle of the layer, mm.
        turn: κ, signed, 1/mm.
        strips: N, not rounded.
    """

    radius: Tensor
    turn: Tensor
    strips: Tensor

    @classmethod
    def of(cls, phi: DesignPoint) -> "Layers":
        """From the parameters ``radius`` (inner layer, mm), ``gap`` (2, from one layer to the next, mm), ``winding``
        (2, turns of a strip from end to end) and ``pitch`` (mm).

        The windings are those of the inner and the outer layer, which turn against each other; the middle layer is
        axial.

        Raises:
            ShapeError: for other numbers of radii, gaps, windings or pitches.
        """
        radius, gap, winding, pitch = (phi[name] for name in ("radius", "gap", "winding", "pitch"))
        for name, value, size in (("radius", radius, 1), ("gap", gap, 2), ("winding", winding, 2), ("pitch", pitch, 1)):
            if value.shape[1] != size:
                raise ShapeError(name, value.shape, f"b x {size}")
        radii = radius + torch.cat([torch.zeros_like(radius), gap.cumsum(1)], 1)
        turns = torch.stack([winding[:, 0], torch.zeros_like(winding[:, 0]), -winding[:, 1]], 1)
        turn = 2 * math.pi / LENGTH * turns
        return cls(radii, turn, 2 * math.pi * radii / ((1 + (turn * radii) ** 2).sqrt() * pitch))

    @property
    def step(self) -> Tensor:
        """Turned azimuth from one strip to the next, radians."""
        return 2 * math.pi / self.strips

    def measured(self, line: Line, layer: int, side: int, outside: float = 0.0) -> Tensor:
        """The turned azimuth of one crossing, ``b x n``; ``outside``: so many mm above the middle of the layer."""
        radius = self.radius[:, layer, None] + outside
        return line.azimuth(radius, side) + self.turn[:, layer, None] * line.height(radius, side)
