"""What happens to a particle in a step: loss, scattering and emission of electrons, interactions of photons.

Every function takes the particles it is about and numbers that are uniform in (0, 1), and gives the particles
back changed, what each emits, and the energy left behind. Nothing here depends on the design: it enters through
the number of quanta or of interactions only, which is drawn before (`transport`).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .cross_sections import ELECTRON_MASS
from .particles import (
    ELECTRON,
    PHOTON,
    POSITRON,
    Direction,
    Particles,
    isotropic,
    narrow,
    rows,
    scattered,
    turned,
)
from .tables import COMPTON, DELTA, PAIR, RADIATION, Tables

GOLDEN_ANGLE = 2.399963
"""Between the azimuth of scattering and of emission in one step, radians."""


class Change(NamedTuple):
    """What a process does to ``k`` particles.

    Attributes:
        at: ``k``, their places among all particles of the step.
        kind, energy: ``k``, afterwards.
        direction: three ``k``, afterwards.
        deposit: ``k``, energy left where they are, MeV.
        parent: ``c``, place of the particle that emits each child.
        child_kind, child_energy: ``c``.
        child_direction: three ``c``.
    """

    at: Tensor
    kind: Tensor
    energy: Tensor
    direction: Direction
    deposit: Tensor
    parent: Tensor
    child_kind: Tensor
    child_energy: Tensor
    child_direction: Direction


def slow_down(
    at: Tensor, particles: Particles, material: Tensor, quanta: Tensor, emits: Tensor, random: Tensor, tables: Tables
) -> Change:
    """Electrons and positrons that lose ``quanta`` of energy, are scattered, and may emit one particle at the end.

    Loss and scattering follow the number of quanta, which stands for the matter traversed: ``q / S`` each, S the
    stopping power. The mean cosine is ``(1 - s/2) / (1 + s/2)`` for s transport mean free paths, which keeps the
    diffusion of a walk in steps of any length ``s < 2`` that of continuous scattering.

    Args:
        at: ``k``, places of the electrons among all particles.
        particles: the electrons.
        material: ``k``.
        quanta: ``k``, at least 1.
        emits: ``k``, whether a photon or a delta ray is emitted.
        random: ``k x 5``; column 0 must be uniform given ``emits``.
        tables: cross-sections.
    """
    values = tables.electron.index_select(0, tables.row(particles.energy, material))
    lost = torch.minimum(quanta * values[:, 2], particles.energy)
    half = lost * values[:, 5] / 2
    azimuth = 2 * math.pi * random[:, 2]
    direction = turned(particles.direction, scattered(((1 - half) / (1 + half)).clamp(min=0), random[:, 1]), azimuth)
    energy = particles.energy - lost
    chosen = (emits & (energy > 0)).nonzero()[:, 0]

    def of(values: Tensor) -> Tensor:
        return values.index_select(0, chosen)

    radiates = of(random[:, 0]) < of(values[:, 4])
    emitted, cosine, possible = _emission(of(energy), radiates, of(material), of(random), tables)
    energy = energy.index_add(0, chosen, -emitted)
    child = turned(rows(particles.direction, chosen), cosine, of(azimuth) + GOLDEN_ANGLE)
    born = possible.nonzero()[:, 0]
    kind, parent = torch.where(radiates, PHOTON, ELECTRON).index_select(0, born), of(at).index_select(0, born)
    emitted = emitted.index_select(0, born)
    return Change(at, particles.kind, energy, direction, lost, parent, kind, emitted, rows(child, born))


def _emission(
    energy: Tensor, radiates: Tensor, material: Tensor, random: Tensor, tables: Tables
) -> tuple[Tensor, Tensor, Tensor]:
    """Energy and cosine of photons and delta rays, and which there are (the electron may be too slow by then)."""
    cuts = tables.cuts.index_select(0, material)
    process = torch.where(radiates, RADIATION, DELTA)
    share = tables.share(process, energy, material, random[:, 4])
    photon = cuts[:, 0] * (energy / cuts[:, 0]).clamp(min=1) ** share
    knocked = 1 / (2 / energy + share * (1 / cuts[:, 2] - 2 / energy))
    possible = torch.where(radiates, energy > cuts[:, 0], energy > 2 * cuts[:, 2])
    emitted = torch.where(radiates, photon, knocked)
    emitted = torch.where(possible, torch.minimum(emitted, energy), torch.zeros_like(energy))
    recoil = emitted * (energy + 2 * ELECTRON_MASS) / (energy * (emitted + 2 * ELECTRON_MASS))
    cosine = torch.where(radiates, narrow(energy + ELECTRON_MASS, ELECTRON_MASS, random[:, 3]), recoil.sqrt())
    return emitted, cosine.clamp(max=1), possible


def interact(at: Tensor, particles: Particles, material: Tensor, random: Tensor, tables: Tables) -> Change:
    """Photons that make a pair, are scattered by an electron (Compton) or absorbed by an atom (photo-effect).

    The photon becomes the electron of the pair, the scattered photon, or the photoelectron, which takes all of
    its energy and its direction.

    Args:
        at: ``k``, places of the photons among all particles.
        particles: the photons.
        material: ``k``.
        random: ``k x 5``; column 0 is not used.
        tables: cross-sections.
    """
    energy = particles.energy
    values = tables.photon.index_select(0, tables.row(energy, material))
    pair = random[:, 1] < values[:, 1]
    compton = ~pair & (random[:, 1] < values[:, 2])
    share = tables.share(torch.where(pair, PAIR, COMPTON), energy, material, random[:, 2])
    paired, scattered_ = _pair(energy, share, random[:, 4]), _compton(energy, share)
    alone = (energy, torch.zeros_like(energy), torch.ones_like(energy), torch.ones_like(energy))
    first, second, first_cosine, second_cosine = (
        torch.where(pair, a, torch.where(compton, b, c)) for a, b, c in zip(paired, scattered_, alone, strict=True)
    )
    azimuth = 2 * math.pi * random[:, 3]
    direction = turned(particles.direction, first_cosine, azimuth)
    child = turned(particles.direction, second_cosine, azimuth + math.pi)
    # Slow recoil electrons stop where they are; positrons must live to annihilate.
    slow = ~pair & (second < tables.cuts[:, 1].index_select(0, material))
    deposit = torch.where(slow, second, torch.zeros_like(second))
    kept = (~slow).nonzero()[:, 0]
    child_kind = torch.where(pair, POSITRON, ELECTRON).index_select(0, kept)
    kind = torch.where(compton, PHOTON, ELECTRON)
    parent, second = at.index_select(0, kept), second.index_select(0, kept)
    return Change(at, kind, first, direction, deposit, parent, child_kind, second, rows(child, kept))


def _pair(energy: Tensor, share: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Kinetic energies of electron and positron, cosines of both; the shares are symmetric."""
    available = (energy - 2 * ELECTRON_MASS).clamp(min=0)
    electron = (share * energy - ELECTRON_MASS).clamp(min=0).minimum(available)
    positron = available - electron
    cosines = (narrow(kinetic + ELECTRON_MASS, ELECTRON_MASS, uniform) for kinetic in (electron, positron))
    return electron, positron, *cosines  # type: ignore[return-value]


def _compton(energy: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Energies of photon and electron, cosines of both."""
    photon = share * energy
    electron = energy - photon
    cosine = (1 - ELECTRON_MASS / energy * (1 / share - 1)).clamp(-1, 1)
    momentum = (electron * (electron + 2 * ELECTRON_MASS)).sqrt().clamp(min=1e-9)
    return photon, electron, cosine, ((energy - photon * cosine) / momentum).clamp(-1, 1)


def annihilate(at: Tensor, particles: Particles, random: Tensor) -> Change:
    """Positrons at rest: two photons of 0.511 MeV back to back; the kinetic energy stays where they are."""
    photon = torch.full_like(particles.energy, ELECTRON_MASS)
    kind = torch.full_like(particles.kind, PHOTON)
    u, v, w = isotropic(random[:, 1], random[:, 2])
    return Change(at, kind, photon, (u, v, w), particles.energy, at, kind, photon, (-u, -v, -w))
