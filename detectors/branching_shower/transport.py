"""One step of photons, electrons and positrons through a stack of slabs.

A particle's place along the beam is the number of its slab and the fraction of the slab behind it: coordinates in
which no border moves with the design. The thickness ``t_j`` of slab j enters as its stretch ``r_j = t_j /
reference_j``: the matter that a particle meets on a path of reference length l is that of ``r_j l``. What depends on
it is a Poisson number and nothing else: the number of interactions of a photon, ``Poisson(r l / lambda)``, and the
number of quanta of ionisation of an electron, ``Poisson(r l S / q)``, with S its stopping power and q a quantum that
depends on its energy. All else follows from these numbers.

Both are exact for any stretch. The first of N interactions of a photon comes at the first of N uniform points of its
path. Each quantum comes with a photon or delta ray with probability ``h = q (n_rad + n_delta) / S``, so the emissions
are the thinned Poisson process, of the rate they must have; the K-th quantum is the first with one, K geometric, and
ends the step at its place.

The transverse position is counted in reference millimetres, too, so that the sides at +-200 mm do not move: a
slab stretched by r is as if its sides stood at 200 r mm.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from .cross_sections import ELECTRON_MASS
from .particles import PHOTON, POSITRON, Particles
from .processes import Change, annihilate, interact, slow_down
from .tables import Tables


class Randomness(Protocol):
    """Where the random numbers of ``k`` particles come from."""

    def poisson(self, rate: Tensor) -> Tensor:
        """``k`` counts; what depends on the design."""

    def uniform(self, *extra: int) -> Tensor:
        """``k x extra`` numbers in (0, 1)."""


class Outcome(NamedTuple):
    """A step of ``k`` particles.

    Attributes:
        particles: afterwards.
        alive: ``k``, whether they go on.
        deposit: ``k``, MeV left behind.
        slab: ``k``, where it was left.
        leaked: ``k``, MeV carried out of the stack, with the mass of a positron and of the electron it would find.
        families: of each process, the particle each child comes from (rising) and the children.
    """

    particles: Particles
    alive: Tensor
    deposit: Tensor
    slab: Tensor
    leaked: Tensor
    families: list[tuple[Tensor, Particles]]


class Flight(NamedTuple):
    """How ``k`` particles fly: ``quanta`` lost or interactions met, whether one ``emits``, ``end`` in the slab."""

    quanta: Tensor
    emits: Tensor
    moved: Particles
    end: Tensor
    random: Tensor


class Transport(nn.Module):
    """Steps of particles through a stack.

    Args:
        material: number of the material of each of the ``s`` slabs.
        reference: ``s`` thicknesses in mm, those of stretch 1; steps are chosen for them.
        tables: cross-sections of the materials.
        width: transverse size of the stack, mm.
    """

    def __init__(self, material: list[int], reference: list[float], tables: Tables, width: float) -> None:
        super().__init__()
        self.register_buffer("material", torch.tensor(material), persistent=False)
        self.register_buffer("reference", torch.tensor(reference), persistent=False)
        self.material: Tensor
        self.reference: Tensor
        self.tables, self.width = tables, width

    def step(self, particles: Particles, stretch: Tensor, choices: Randomness) -> Outcome:
        """Move ``k`` particles until something happens, a border comes, or a step is full.

        Args:
            particles: where they are.
            stretch: ``k``, of the slab of each; the only thing that depends on the design.
            choices: random numbers.
        """
        material = self.material.index_select(0, particles.slab)
        row = self.tables.row(particles.energy, material)
        stopped = self._stopped(particles, material, row)
        flight = self._fly(particles, row, stopped, stretch, choices)
        changes = self._changes(particles, material, stopped, flight)
        return self._settled(particles, material, stopped, flight, changes)

    def _stopped(self, particles: Particles, material: Tensor, row: Tensor) -> Tensor:
        """Electrons and positrons too slow to reach a border."""
        near = torch.minimum(particles.depth, 1 - particles.depth) * self.reference.index_select(0, particles.slab)
        range_ = self.tables.electron[:, 6].index_select(0, row)
        slow = particles.energy < self.tables.cuts[:, 1].index_select(0, material)
        return (particles.kind != PHOTON) & (slow | (range_ < near))

    def _fly(self, particles: Particles, row: Tensor, stopped: Tensor, stretch: Tensor, choices: Randomness) -> Flight:
        charged = particles.kind != PHOTON
        rate, step = self.tables.motion.index_select(0, row + charged * (len(self.tables.motion) // 2)).unbind(1)
        thickness, w = self.reference.index_select(0, particles.slab), particles.w
        ahead = torch.where(w > 0, 1 - particles.depth, particles.depth) * thickness / w.abs().clamp(min=1e-6)
        length = torch.where(stopped, torch.zeros_like(step), torch.minimum(step, ahead))
        quanta = choices.poisson(rate * length * stretch)
        random = choices.uniform(5)
        quanta, fraction, emits = self._first_event(charged, row, quanta, random)
        length = length * fraction
        depth = (particles.depth + length * w / thickness).clamp(0, 1)
        x, y = particles.x + length * particles.u, particles.y + length * particles.v
        crossing = (step >= ahead) & (fraction == 1) & ~stopped
        forward = (w > 0).to(depth.dtype)
        slab = particles.slab + crossing * (2 * forward.long() - 1)
        moved = particles._replace(slab=slab, depth=torch.where(crossing, 1 - forward, depth), x=x, y=y)
        return Flight(quanta, emits, moved, torch.where(crossing, forward, depth), random)

    def _first_event(
        self, charged: Tensor, row: Tensor, quanta: Tensor, random: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Quanta up to the event that ends the step, its place in units of the step (1: none), whether it emits.

        Column 0 of ``random`` decides; it is replaced by a number uniform given the decision.
        """
        chance = self.tables.electron[:, 7].index_select(0, row)
        log = torch.log1p(-chance)
        trial = (random[:, 0].log() / log).ceil().clamp(min=1)
        emits = charged & (trial <= quanta)
        # The K-th of N uniform points: mean and variance of its beta distribution, uniform around the mean.
        spread = (12 * trial * (quanta + 1 - trial) / (quanta + 2)).clamp(min=0).sqrt()
        place = ((trial + (random[:, 3] - 0.5) * spread) / (quanta + 1)).clamp(0, 1)
        first = 1 - (1 - random[:, 0]) ** (1 / quanta)
        fraction = torch.where(emits, place, torch.where(~charged & (quanta > 0), first, torch.ones_like(first)))
        low = (trial * log).exp()
        width = low * chance / (1 - chance)
        random[:, 0] = torch.where(emits, ((random[:, 0] - low) / width).clamp(0, 1), random[:, 0])
        return torch.where(emits, trial, quanta), fraction.clamp(max=1), emits

    def _changes(self, particles: Particles, material: Tensor, stopped: Tensor, flight: Flight) -> list[Change]:
        """What happens to those to whom something happens."""
        happens, charged = flight.quanta > 0, particles.kind != PHOTON
        slowed, hit = (happens & charged).nonzero()[:, 0], (happens & ~charged).nonzero()[:, 0]
        rest = (stopped & (particles.kind == POSITRON)).nonzero()[:, 0]

        def of(values: Tensor, at: Tensor) -> Tensor:
            return values.index_select(0, at)

        loss = (of(material, slowed), of(flight.quanta, slowed), of(flight.emits, slowed))
        return [
            slow_down(slowed, particles.rows(slowed), *loss, of(flight.random, slowed), self.tables),
            interact(hit, particles.rows(hit), of(material, hit), of(flight.random, hit), self.tables),
            annihilate(rest, particles.rows(rest), of(flight.random, rest)),
        ]

    def _settled(
        self, before: Particles, material: Tensor, stopped: Tensor, flight: Flight, changes: list[Change]
    ) -> Outcome:
        """Particles after all changes; who goes on, who stops, who leaves."""
        index = torch.cat([change.at for change in changes])
        kind = before.kind.index_copy(0, index, torch.cat([change.kind for change in changes]))
        energy = torch.where(stopped, torch.zeros_like(before.energy), before.energy)
        energy = energy.index_copy(0, index, torch.cat([change.energy for change in changes]))
        directions = zip(*(change.direction for change in changes), strict=True)
        u, v, w = (
            old.index_copy(0, index, torch.cat(new)) for old, new in zip(before.direction, directions, strict=True)
        )
        particles = flight.moved._replace(kind=kind, energy=energy, u=u, v=v, w=w)
        deposit = torch.where(stopped, before.energy, torch.zeros_like(before.energy))
        deposit = deposit.index_copy(0, index, torch.cat([change.deposit for change in changes]))
        photon = kind == PHOTON
        least = torch.where(photon, self.tables.cuts[:, 0].index_select(0, material), torch.zeros_like(energy))
        faint = (energy <= least) & (kind != POSITRON)
        deposit = deposit + torch.where(faint, energy, torch.zeros_like(energy))
        outside = ~faint & self._outside(particles)
        mass = 2 * ELECTRON_MASS * (kind == POSITRON)
        leaked = torch.where(outside, energy + mass, torch.zeros_like(energy))
        families = [(change.parent, self._children(before.slab, flight, change)) for change in changes]
        return Outcome(particles, ~faint & ~outside, deposit, before.slab, leaked, families)

    def _outside(self, particles: Particles) -> Tensor:
        side = torch.maximum(particles.x.abs(), particles.y.abs()) > self.width / 2
        return side | (particles.slab < 0) | (particles.slab >= len(self.material))

    def _children(self, slab: Tensor, flight: Flight, change: Change) -> Particles:
        """Children start where the step ended; on a border, on the side their parent came from."""
        fields = (slab, flight.end, flight.moved.x, flight.moved.y)
        slab, end, x, y = (field.index_select(0, change.parent) for field in fields)
        return Particles(change.child_kind, slab, change.child_energy, end, x, y, *change.child_direction)
