"""The branching shower as a simulator."""

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, SimulationError
from mode_opt.events import Events
from mode_opt.simulation import BranchingProgram, Children, Choices, Deposits, State, Step

from .materials import material
from .particles import ELECTRON, PHOTON, POSITRON, Particles
from .tables import HIGHEST, Tables
from .transport import Transport

SPECIES = {"photon": PHOTON, "electron": ELECTRON, "positron": POSITRON}

ABSORBER, GAP, FRONT = "absorber_thickness", "gap_thickness", "front_thickness"
"""Names of the design parameters."""


class Slab(NamedTuple):
    """A slab: its material, the design parameter that holds its thickness and the place in it, its layer."""

    material: str
    parameter: str
    entry: int
    layer: int


@final
class BranchingShower(BranchingProgram):
    """Electromagnetic showers in layers of absorber and gap, particle by particle.

    Photons make pairs, are scattered by electrons and absorbed by atoms; electrons and positrons ionise, are
    scattered, radiate and knock out delta rays; positrons annihilate at rest (`processes`, `cross_sections`). How
    the design enters: `transport`.

    Design parameters: ``absorber_thickness`` and ``gap_thickness`` in mm, one for all layers or one a layer; with
    ``front_reference > 0`` also ``front_thickness``, of a passive slab in front, which sets where the first gap is.

    Hits: ``b x n x layers x 1``, the energy in each gap, MeV; with ``absorber_deposits`` a second feature, the energy
    in the absorber of the layer (the slab in front counts to the first layer), which no readout sees.

    Args:
        layers: number of layers, absorber first.
        absorber: its material.
        gap: its material.
        absorber_reference, gap_reference: thicknesses in mm, one or one a layer, for which steps are chosen; best
            near the design.
        front: material of the slab in front.
        front_reference: its reference thickness in mm; 0: there is none.
        particle: kind of the primaries, ``electron``, ``photon`` or ``positron``; their energy is hit feature 0.
        width: transverse size, mm (at the reference thicknesses, see `transport`).
        absorber_deposits: whether there is the second feature.
        capacity: most particles alive at one time.

    Raises:
        ConfigurationError: for an unknown material or particle, thicknesses or a width that are not positive, or
            a wrong number of them.
        SimulationError: when called, for primaries without positive energy, or more particles than ``capacity``.
    """

    def __init__(
        self,
        layers: int = 50,
        absorber: str = "PbWO4",
        gap: str = "lAr",
        absorber_reference: float | Sequence[float] = 2.3,
        gap_reference: float | Sequence[float] = 5.7,
        front: str = "PbWO4",
        front_reference: float = 0.0,
        particle: str = "electron",
        width: float = 400.0,
        absorber_deposits: bool = False,
        capacity: int = 4_000_000,
    ) -> None:
        features = 2 if absorber_deposits else 1
        super().__init__(cells=layers, features=features, capacity=capacity, controls=("energy",))
        if particle not in SPECIES:
            raise ConfigurationError("simulator.particle", particle, f"one of {', '.join(SPECIES)}")
        if width <= 0:
            raise ConfigurationError("simulator.width", width, "a positive size in mm")
        references = {
            ABSORBER: _references("absorber_reference", absorber_reference, layers),
            GAP: _references("gap_reference", gap_reference, layers),
            FRONT: [float(front_reference)],
        }
        slabs = [Slab(front, FRONT, 0, 0)] if front_reference > 0 else []
        for layer in range(layers):
            slabs += [Slab(absorber, ABSORBER, layer, layer), Slab(gap, GAP, layer, layer)]
        names = sorted({slab.material for slab in slabs})
        tables = Tables([material(name, "simulator.material") for name in names])
        reference = [references[slab.parameter][slab.entry] for slab in slabs]
        self.stepper = Transport([names.index(slab.material) for slab in slabs], reference, tables, width)
        self.kind, self.slabs = SPECIES[particle], slabs
        self.register_buffer("layer", torch.tensor([slab.layer for slab in slabs]), persistent=False)
        self.register_buffer("sensitive", torch.tensor([slab.parameter == GAP for slab in slabs]), persistent=False)
        self.layer: Tensor
        self.sensitive: Tensor

    def start(self, phi: DesignPoint, primaries: Events, choices: Choices) -> tuple[Tensor, State]:
        energy = primaries.hits[..., 0][primaries.mask].detach().to(self.stepper.reference.dtype)
        if bool(((energy <= 0) | (energy > HIGHEST) | energy.isnan()).any()):
            raise SimulationError(f"primaries of a branching shower need energies between 0 and {HIGHEST:g} MeV")
        event = torch.arange(primaries.designs * primaries.count, device=energy.device)
        event = event.reshape(primaries.designs, primaries.count, 1).expand(primaries.mask.shape)[primaries.mask]
        nought, one = torch.zeros_like(energy), torch.ones_like(energy)
        kind, slab = torch.full_like(event, self.kind), torch.zeros_like(event)
        particles = Particles(kind, slab, energy, nought, nought, nought, nought, nought, one)
        return event, particles._asdict()

    def step(self, phi: DesignPoint, state: State, choices: Choices) -> Step:
        particles = Particles(**state)
        stretch = self._thickness(phi, particles.slab) / self.stepper.reference.index_select(0, particles.slab)
        outcome = self.stepper.step(particles, stretch.to(particles.energy.dtype), choices)
        children = [Children(parent, born._asdict()) for parent, born in outcome.families]
        deposits = self._deposits(outcome.slab, outcome.deposit.to(phi.values.dtype))
        return Step(outcome.particles._asdict(), outcome.alive, children, deposits)

    def _thickness(self, phi: DesignPoint, slab: Tensor) -> Tensor:
        """Thickness of the slab of each particle in its design, ``k``."""
        layer = self.layer.index_select(0, slab)
        gap, absorber = (_entry(phi, name, layer) for name in (GAP, ABSORBER))
        thickness = torch.where(self.sensitive.index_select(0, slab), gap, absorber)
        if self.slabs[0].parameter != FRONT:
            return thickness
        return torch.where(slab == 0, phi[FRONT][:, 0], thickness)

    def _deposits(self, slab: Tensor, energy: Tensor) -> list[Deposits]:
        """Energy in the gaps; if asked for also in the rest."""
        left = energy > 0
        sensitive = self.sensitive.index_select(0, slab)
        chosen = (left if self.features == 2 else left & sensitive).nonzero()[:, 0]
        cell, value = self.layer.index_select(0, slab.index_select(0, chosen)), energy.index_select(0, chosen)
        if self.features == 2:
            seen = sensitive.index_select(0, chosen).to(value.dtype)
            value = torch.stack([value * seen, value * (1 - seen)], 1)
        return [Deposits(cell, value, chosen)]


def _entry(phi: DesignPoint, name: str, layer: Tensor) -> Tensor:
    """Entry of an array parameter of ``k`` designs that belongs to a layer, ``k``; a scalar is for all layers."""
    values = phi[name]
    return values[:, 0] if values.shape[1] == 1 else values.gather(1, layer.unsqueeze(1))[:, 0]


def _references(key: str, value: float | Sequence[float], layers: int) -> list[float]:
    values = [float(value)] * layers if isinstance(value, int | float) else [float(v) for v in value]
    if len(values) != layers or any(not v > 0 for v in values):
        raise ConfigurationError(f"simulator.{key}", value, f"1 or {layers} (layers) positive thicknesses in mm")
    return values
