"""Composition and constants of the materials of a shower."""

from dataclasses import dataclass
from typing import final

from mode_opt.errors import ConfigurationError
from mode_opt.geometry import MATERIALS as BUILT_OF

PhotoCoefficients = tuple[float, float, float, float]


@final
@dataclass(frozen=True)
class Element:
    """A chemical element.

    Attributes:
        atomic_number: Z.
        atomic_weight: A, g/mol.
        edge: K edge, MeV; below it the photo-effect is that just above it (all such photons stop at once anyway).
        photo: coefficients ``c_i`` of ``mu/rho = sum_i c_i / E^i`` (cm2/g, E in keV), from 100 keV (the K edge of
            heavy elements) to 500 keV.
        photo_high: the same above 500 keV.

    Source of the coefficients: F. Biggs and R. Lighthill, Analytical approximations for x-ray cross sections III,
    SAND87-0070 (1988).
    """

    atomic_number: float
    atomic_weight: float
    photo: PhotoCoefficients
    photo_high: PhotoCoefficients


ELEMENTS = {
    "H": Element(1, 1.008, (0.1034e-5, -0.4114e-3, 0.6287, 0.3927e2), (0.4599e-6, 0.5006e-3, -0.1425e-1, 0.1960e3)),
    "C": Element(6, 12.011, (0.6760e-3, -0.1164, 0.6566e3, 0.2739e5), (0.4503e-3, 0.4692, 0.2183e3, 0.1308e6)),
    "O": Element(8, 15.999, (0.3169e-2, -1.146, 0.2194e4, 0.9131e5), (0.1367e-2, 1.473, 0.7214e3, 0.4048e6)),
    "Si": Element(14, 28.085, (0.2716e-1, -5.428, 0.1775e5, 0.6765e6), (0.1127e-1, 13.76, 0.4871e4, 0.4477e7)),
    "Ar": Element(18, 39.948, (0.6779e-1, -26.95, 0.5069e5, 0.5281e6), (0.2598e-1, 34.54, 0.1059e5, 0.1068e8)),
    "W": Element(74, 183.84, (5.276, 2999.0, 0.4828e7, -0.1030e9), (3.099, 6112.0, 0.3348e7, 0.1310e9)),
    "Pb": Element(82, 207.2, (7.595, 4692.0, 0.6429e7, -0.1747e9), (4.240, 8883.0, 0.4754e7, 0.3448e8)),
}
"""The elements by symbol."""


@final
@dataclass(frozen=True)
class Material:
    """A homogeneous material.

    Attributes:
        density: g/cm3.
        excitation_energy: mean excitation energy I, MeV.
        radiation_length: ``X0``, mm.
        composition: mass fraction of each element.
        photon_cut: photons below are not made, or stop where they are, MeV.
        electron_cut: electrons below stop where they are, MeV.
        delta_cut: smallest kinetic energy of a delta ray; energy given to slower ones is part of the stopping
            power, MeV.
        quantum: largest quantum of ionisation, MeV.

    Source of density, I, X0 and composition: Particle Data Group, Atomic and Nuclear Properties of Materials,
    pdg.lbl.gov/AtomicNuclearProperties; all but I are those of `mode_opt.geometry.MATERIALS`.
    """

    density: float
    excitation_energy: float
    radiation_length: float
    composition: dict[str, float]
    photon_cut: float = 0.1
    electron_cut: float = 0.15
    delta_cut: float = 0.8
    quantum: float = 0.8


def _made(name: str, excitation_energy: float, *cuts: float) -> Material:
    """With density, ``X0`` and composition of the material that detectors are built of."""
    built = BUILT_OF[name]
    return Material(built.density, excitation_energy, built.radiation_length, dict(built.composition), *cuts)


MATERIALS = {
    "PbWO4": _made("PbWO4", 600.7e-6),
    "Pb": _made("Pb", 823.0e-6),
    "W": _made("W", 727.0e-6),
    "lAr": _made("lAr", 188.0e-6, 0.05, 0.05, 0.35, 0.3),
    "polystyrene": _made("polystyrene", 68.7e-6, 0.03, 0.05, 0.35, 0.3),
    "Si": _made("Si", 173.0e-6, 0.05, 0.05, 0.35, 0.1),
}
"""The materials by name."""


def material(name: str, key: str) -> Material:
    """The material of that name.

    Raises:
        ConfigurationError: naming ``key``, if there is none.
    """
    if name not in MATERIALS:
        raise ConfigurationError(key, name, f"one of {', '.join(MATERIALS)}")
    return MATERIALS[name]
