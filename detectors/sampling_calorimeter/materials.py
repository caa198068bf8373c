"""Constants of calorimeter materials, and the effective medium that a stack of them makes."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from mode_opt.errors import ConfigurationError
from mode_opt.geometry import MATERIALS as BUILT_OF

SCALE_ENERGY = 21.2052
"""``m_e c^2 sqrt(4 pi / alpha)``, MeV (PDG review, passage of particles through matter)."""


@final
@dataclass(frozen=True)
class Material:
    """Constants of one material.

    Attributes:
        radiation_length: ``X0``, mm.
        critical_energy: Rossi's critical energy of electrons, MeV.
        moliere_radius: mm.
        density: g/cm3.
        z_over_a: mean charge number per mass number, mol/g.
        minimum_loss: energy loss of a minimum ionising particle, MeV/mm.
        atomic_number: charge number, averaged by mass for compounds.

    Source: Particle Data Group, Atomic and Nuclear Properties of Materials,
    pdg.lbl.gov/AtomicNuclearProperties (the tables that go with R. L. Workman et al., Prog. Theor. Exp. Phys.
    2022, 083C01, and S. Navas et al., Phys. Rev. D 110 (2024) 030001). Lengths were divided by the density of
    the same table; radiation length and density are those of `mode_opt.geometry.MATERIALS`.
    """

    radiation_length: float
    critical_energy: float
    moliere_radius: float
    density: float
    z_over_a: float
    minimum_loss: float
    atomic_number: float


def _made(name: str, critical: float, moliere: float, z_over_a: float, loss: float, number: float) -> Material:
    """With radiation length and density of the material that detectors are built of."""
    built = BUILT_OF[name]
    return Material(built.radiation_length, critical, moliere, built.density, z_over_a, loss, number)


_CONSTANTS = {
    "PbWO4": (9.64, 19.59, 0.41315, 1.0201, 68.36),
    "Pb": (7.43, 16.02, 0.39575, 1.2735, 82.0),
    "Fe": (21.68, 17.19, 0.46557, 1.1425, 26.0),
    "W": (7.97, 9.327, 0.40252, 2.2099, 74.0),
    "Cu": (19.42, 15.68, 0.45636, 1.2571, 29.0),
    "lAr": (32.84, 90.43, 0.45059, 0.21052, 18.0),
    "polystyrene": (93.11, 94.07, 0.53768, 0.20522, 5.61),
    "Si": (40.19, 49.44, 0.49848, 0.38755, 14.0),
}  # critical energy, Moliere radius, Z/A, loss of a minimum ionising particle, Z

MATERIALS = {name: _made(name, *constants) for name, constants in _CONSTANTS.items()}
"""The materials by name."""


def material(name: str, key: str = "material") -> Material:
    """The material called ``name``; ``key`` is the configuration key that an error message should show.

    Raises:
        ConfigurationError: if there is none of that name.
    """
    if name not in MATERIALS:
        raise ConfigurationError(key, name, f"one of {', '.join(MATERIALS)}")
    return MATERIALS[name]


@final
@dataclass(frozen=True)
class EffectiveMedium:
    """What a shower sees of a stack as a whole; every field is ``b x 1``.

    With ``X_j`` the thickness of material ``j`` in radiation lengths and ``d_j`` in mm, summed over the
    stack::

        E_c = (X_a E_c,a + X_g E_c,g) / (X_a + X_g)      1 / R_M = (X_a E_c,a + X_g E_c,g) / (E_s (d_a + d_g))
        1 / F_s = (X_a + X_g) / layers                   Z = sum of Z_j, weighted by mass

    Source: G. Grindhammer, S. Peters, hep-ex/0001020, section 3.1; their weights are those by mass, which
    with ``X0`` in g/cm2 are the same as the ones written here.

    Attributes:
        critical_energy: MeV.
        moliere_radius: mm.
        step: ``1 / F_s``, radiation lengths of one layer.
        atomic_number: mean charge number.
    """

    critical_energy: Tensor
    moliere_radius: Tensor
    step: Tensor
    atomic_number: Tensor

    @classmethod
    def of(cls, absorber: Material, gap: Material, absorber_mm: Tensor, gap_mm: Tensor) -> "EffectiveMedium":
        """The medium of layers ``absorber_mm`` and ``gap_mm`` thick, both ``b x layers``."""
        length_a, length_g = absorber_mm.sum(1, keepdim=True), gap_mm.sum(1, keepdim=True)
        depth_a, depth_g = length_a / absorber.radiation_length, length_g / gap.radiation_length
        depth = depth_a + depth_g
        loss = depth_a * absorber.critical_energy + depth_g * gap.critical_energy
        mass_a, mass_g = length_a * absorber.density, length_g * gap.density
        number = (mass_a * absorber.atomic_number + mass_g * gap.atomic_number) / (mass_a + mass_g)
        return cls(loss / depth, SCALE_ENERGY * (length_a + length_g) / loss, depth / absorber_mm.shape[1], number)
