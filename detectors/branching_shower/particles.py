"""The particles of a shower, and how their directions change."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

PHOTON, ELECTRON, POSITRON = 0, 1, 2
"""Kinds of particles."""


class Particles(NamedTuple):
    """``k`` particles; every field has shape ``k``.

    Attributes:
        kind: `PHOTON`, `ELECTRON` or `POSITRON`, int64.
        slab: number of the slab the particle is in, int64.
        energy: kinetic energy, MeV.
        depth: fraction of the thickness of the slab that lies in front of the particle, 0 to 1.
        x, y: transverse position, mm.
        u, v, w: direction, w along the beam.
    """

    kind: Tensor
    slab: Tensor
    energy: Tensor
    depth: Tensor
    x: Tensor
    y: Tensor
    u: Tensor
    v: Tensor
    w: Tensor

    @property
    def direction(self) -> "Direction":
        """(u, v, w)."""
        return self.u, self.v, self.w

    def rows(self, index: Tensor) -> "Particles":
        """Particles ``index``."""
        return Particles(*(field.index_select(0, index) for field in self))

    @staticmethod
    def joined(parts: list["Particles"]) -> "Particles":
        """The particles of all parts, of which there must be one."""
        return Particles(*(torch.cat(fields) for fields in zip(*parts, strict=True)))


Direction = tuple[Tensor, Tensor, Tensor]
"""Components of unit vectors, each ``k``."""


def rows(direction: Direction, index: Tensor) -> Direction:
    """Directions ``index``."""
    u, v, w = (component.index_select(0, index) for component in direction)
    return u, v, w


def turned(direction: Direction, cosine: Tensor, azimuth: Tensor) -> Direction:
    """Directions at a polar angle (its cosine) and an azimuth around given ones.

    The transverse axes are those of T. Duff et al., J. Comput. Graph. Tech. 6 (2017) 1.
    """
    u, v, w = direction
    sine = (1 - cosine * cosine).clamp(min=0).sqrt()
    a, b = sine * torch.cos(azimuth), sine * torch.sin(azimuth)
    sign = 1 - 2 * (w < 0).to(w.dtype)
    c = -1 / (sign + w)
    d = u * v * c
    x = a * (1 + sign * u * u * c) + b * d + cosine * u
    y = a * sign * d + b * (sign + v * v * c) + cosine * v
    z = cosine * w - a * sign * u - b * v
    scale = (x * x + y * y + z * z).rsqrt()
    return x * scale, y * scale, z * scale


def isotropic(first: Tensor, second: Tensor) -> Direction:
    """Isotropic directions from two uniform numbers."""
    w = 2 * first - 1
    sine, azimuth = (1 - w * w).clamp(min=0).sqrt(), 2 * math.pi * second
    return sine * torch.cos(azimuth), sine * torch.sin(azimuth), w


def scattered(mean: Tensor, uniform: Tensor) -> Tensor:
    """Cosine of a deflection with density ``exp(a cos)`` and mean ``mean`` (R. A. Fisher, 1953), 0 <= mean < 1.

    It is Gaussian in the angle for small angles and isotropic for ``mean = 0``; ``a = m (3 - m^2) / (1 - m^2)``
    inverts ``m = coth a - 1/a`` within 5 % (A. Banerjee et al., J. Mach. Learn. Res. 6 (2005) 1345).
    """
    square = mean * mean
    a = (mean * (3 - square) / (1 - square).clamp(min=1e-7)).clamp(min=1e-3)
    return (1 + torch.log(uniform + (1 - uniform) * torch.exp(-2 * a)) / a).clamp(-1, 1)


def narrow(momentum: Tensor, mass: float, uniform: Tensor) -> Tensor:
    """Cosine of the angle of what a relativistic particle radiates: ``(p theta / m)^2`` has density 1/(1 + x)^2.

    J. D. Jackson, Classical Electrodynamics, section 14.3; cut at ``theta = 10 m / p``, isotropic below ``p ~ m``.
    """
    square = (uniform / (1 - uniform)).clamp(max=100) * (mass / momentum) ** 2
    return (1 - square / 2).clamp(-1, 1)
