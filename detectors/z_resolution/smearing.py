"""From true to recorded masses: a common momentum scale, a momentum resolution, and a window that truncates."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, ShapeError
from mode_opt.events import Events
from mode_opt.simulation import BlackBoxSimulator, DifferentiableSimulator

TINY = 1e-12
"""Probability below which an event is as good as outside of the window."""


def recorded_mass(mass: Tensor, scale: Tensor, resolution: Tensor, normal: Tensor) -> Tensor:
    r"""Mass of two muons whose momenta are off by a common factor, and each by a random one.

    .. math:: m' = m \sqrt{s e^{\sigma z_1} \cdot s e^{\sigma z_2}} = m\, s\, e^{\sigma z / \sqrt 2},
        \qquad z = (z_1 + z_2)/\sqrt 2 \sim N(0, 1)

    The angle between the muons is taken as exact.

    Args:
        mass: m.
        scale: s.
        resolution: σ, relative, of the momentum of one muon.
        normal: z.

    Returns:
        m', in the unit of m.
    """
    return mass * scale * (resolution / math.sqrt(2) * normal).exp()


def through_window(
    mass: Tensor, scale: Tensor, resolution: Tensor, uniform: Tensor, window: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    r"""A recorded mass that lies within the window, and the probability that it would have.

    With a and b the values of z of `recorded_mass` at the edges of the window, ``z = Φ⁻¹(Φ(a) + u (Φ(b) − Φ(a)))``
    follows the normal distribution between a and b, and ``w = Φ(b) − Φ(a)`` is the weight of the event. Both are smooth
    in scale and resolution, so that averages with these weights have the derivative of averages over the events that
    pass the window. A cut on `recorded_mass` has the same averages, but not their derivative: it misses those that pass
    an edge.

    Args:
        mass: m > 0, double precision.
        scale: s.
        resolution: σ.
        uniform: u between 0 and 1.
        window: lowest and highest recorded mass.

    Returns:
        Recorded masses and probabilities; those below 1e-12 are 0, with the mass in the middle of the window.
    """
    width = resolution / math.sqrt(2)
    low, high = (math.log(edge) for edge in window)
    centre = mass.log() + scale.log()
    with torch.no_grad():
        likely = _probability((low - centre) / width, (high - centre) / width) > TINY
    # An event that is far away takes a place where all derivatives are finite.
    centre = torch.where(likely, centre, torch.full_like(centre, (low + high) / 2))
    a, b = (low - centre) / width, (high - centre) / width
    # In the upper tail Φ is 1 to all digits: there the mirror image is used.
    mirrored = a + b > 0
    lower, upper = torch.where(mirrored, -b, a), torch.where(mirrored, -a, b)
    passed = torch.special.ndtr(upper) - torch.special.ndtr(lower)
    share = torch.where(mirrored, 1 - uniform, uniform)
    z = torch.special.ndtri(torch.special.ndtr(lower) + share * passed)
    found = centre + width * torch.where(mirrored, -z, z)
    return found.exp().clamp(*window), torch.where(likely, passed, torch.zeros_like(passed))


def _probability(a: Tensor, b: Tensor) -> Tensor:
    mirrored = a + b > 0
    lower, upper = torch.where(mirrored, -b, a), torch.where(mirrored, -a, b)
    return torch.special.ndtr(upper) - torch.special.ndtr(lower)


def checked(window: Sequence[float]) -> tuple[float, float]:
    """The window as two numbers.

    Raises:
        ConfigurationError: if it is not one.
    """
    if len(window) != 2 or not 0 < window[0] < window[1] < math.inf:
        raise ConfigurationError("detector.window", list(window), "[low, high], positive and rising, in MeV")
    return float(window[0]), float(window[1])


def _parts(phi: DesignPoint, primaries: Events) -> tuple[Events, Tensor, Tensor, Tensor]:
    """Events of every design, their masses, scale and resolution (``b x 1``), in double precision."""
    if primaries.hits.shape[2:] != (1, 1):
        raise ShapeError("primaries.hits", primaries.hits.shape, "b x n x 1 x 1, the true mass of a muon pair")
    events = primaries.expand(phi.designs)
    return events, events.hits[:, :, 0, 0].double(), phi["scale"].double(), phi["resolution"].double()


@final
class WindowedSmearing(DifferentiableSimulator):
    """Recorded masses within a window, with the probability to be there as weight; see `through_window`.

    Design: ``scale``, ``resolution`` (relative, of the momentum of one muon). Primaries: hits ``b x n x 1 x 1``, the
    true mass in MeV; hits that come out have the recorded mass in its place. Event i draws alike for every design.

    Args:
        window: lowest and highest recorded mass, MeV.

    Raises:
        ConfigurationError: for a window that is none.
        ShapeError: when called, for primaries of another shape.
    """

    def __init__(self, window: Sequence[float]) -> None:
        super().__init__()
        self.window = checked(window)

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        events, mass, scale, resolution = _parts(phi, primaries)
        shape = (1, events.count)
        uniform = torch.rand(shape, generator=generator, dtype=mass.dtype, device=mass.device)
        found, passed = through_window(mass, scale, resolution, uniform, self.window)
        dtype = events.hits.dtype
        return replace(events, hits=found.to(dtype)[:, :, None, None]).reweighted(passed.to(dtype))


@final
class CutSmearing(BlackBoxSimulator):
    """The same masses by a cut, as one would write it first: events outside of the window have weight 0.

    It promises no derivative because that of the recorded masses alone is wrong: it misses the events that pass an
    edge of the window.

    Args:
        window: as for `WindowedSmearing`.
    """

    def __init__(self, window: Sequence[float]) -> None:
        super().__init__()
        self.window = checked(window)

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events, mass, scale, resolution = _parts(phi, primaries)
        normal = torch.randn((1, events.count), generator=generator, dtype=mass.dtype, device=mass.device)
        found = recorded_mass(mass, scale, resolution, normal)
        inside = (found > self.window[0]) & (found < self.window[1])
        dtype = events.hits.dtype
        return replace(events, hits=found.to(dtype)[:, :, None, None]).reweighted(inside.to(dtype))
