"""The chemical elements, mass fractions of formulae, and lengths that follow from a composition."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from mode_opt.errors import ConfigurationError

_WEIGHTS = """
H 1.008 He 4.0026 Li 6.94 Be 9.0122 B 10.81 C 12.011 N 14.007 O 15.999 F 18.998 Ne 20.180 Na 22.990 Mg 24.305
Al 26.982 Si 28.085 P 30.974 S 32.06 Cl 35.45 Ar 39.948 K 39.098 Ca 40.078 Sc 44.956 Ti 47.867 V 50.942 Cr 51.996
Mn 54.938 Fe 55.845 Co 58.933 Ni 58.693 Cu 63.546 Zn 65.38 Ga 69.723 Ge 72.630 As 74.922 Se 78.971 Br 79.904
Kr 83.798 Rb 85.468 Sr 87.62 Y 88.906 Zr 91.224 Nb 92.906 Mo 95.95 Tc 97.907 Ru 101.07 Rh 102.91 Pd 106.42
Ag 107.87 Cd 112.41 In 114.82 Sn 118.71 Sb 121.76 Te 127.60 I 126.90 Xe 131.29 Cs 132.91 Ba 137.33 La 138.91
Ce 140.12 Pr 140.91 Nd 144.24 Pm 144.91 Sm 150.36 Eu 151.96 Gd 157.25 Tb 158.93 Dy 162.50 Ho 164.93 Er 167.26
Tm 168.93 Yb 173.05 Lu 174.97 Hf 178.49 Ta 180.95 W 183.84 Re 186.21 Os 190.23 Ir 192.22 Pt 195.08 Au 196.97
Hg 200.59 Tl 204.38 Pb 207.2 Bi 208.98 Po 208.98 At 209.99 Rn 222.02 Fr 223.02 Ra 226.03 Ac 227.03 Th 232.04
Pa 231.04 U 238.03
"""

_INTERACTION = {
    **{"H": 52.0, "Be": 77.8, "C": 85.8, "N": 89.7, "O": 90.2, "F": 97.4, "Al": 107.2, "Si": 108.4, "Ar": 119.7},
    **{
        "Ti": 126.2,
        "Fe": 132.1,
        "Cu": 137.3,
        "Sn": 166.7,
        "Xe": 172.1,
        "W": 191.9,
        "Au": 196.3,
        "Pb": 199.6,
        "U": 209.0,
    },
}  # g/cm2, Particle Data Group

_LIGHT = {1: (5.31, 6.144), 2: (4.79, 5.621), 3: (4.74, 5.805), 4: (4.71, 5.924)}
_FINE_STRUCTURE = 1 / 137.035999


@final
@dataclass(frozen=True)
class Element:
    """A chemical element.

    Attributes:
        symbol: e.g. ``Pb``.
        atomic_number: Z.
        atomic_weight: A, g/mol.

    Source of the weights: IUPAC, abridged standard atomic weights 2021 (the most stable isotope where there is none).
    """

    symbol: str
    atomic_number: int
    atomic_weight: float

    @property
    def radiation_length(self) -> float:
        """``X0``, g/cm2.

        With ``a = Z/137.036``::

            1/X0 = {Z^2 (L - f) + Z L'} / (716.408 g/cm2 A)
            f = a^2 (1/(1 + a^2) + 0.20206 - 0.0369 a^2 + 0.0083 a^4 - 0.002 a^6)

        Source: Y.-S. Tsai, Rev. Mod. Phys. 46 (1974) 815, as in the PDG review, passage of particles through matter.
        """
        z = self.atomic_number
        a = (_FINE_STRUCTURE * z) ** 2
        coulomb = a * (1 / (1 + a) + 0.20206 - 0.0369 * a + 0.0083 * a**2 - 0.002 * a**3)
        elastic, inelastic = _LIGHT.get(z, (math.log(184.15 * z ** (-1 / 3)), math.log(1194 * z ** (-2 / 3))))
        return 716.408 * self.atomic_weight / (z**2 * (elastic - coulomb) + z * inelastic)

    @property
    def interaction_length(self) -> float:
        """Nuclear interaction length, g/cm2: of the Particle Data Group, or `fitted_interaction_length`."""
        return _INTERACTION.get(self.symbol, self.fitted_interaction_length)

    @property
    def fitted_interaction_length(self) -> float:
        """``20 A^0.39 + 32`` g/cm2, within 5 % of the tables.

        Source: M. Gupta, Calculation of radiation length in materials, CERN PH-EP-Tech-Note-2010-013.
        """
        return 20 * self.atomic_weight**0.39 + 32


def _elements() -> dict[str, Element]:
    words = _WEIGHTS.split()
    pairs = zip(words[::2], words[1::2], strict=True)
    return {symbol: Element(symbol, z, float(weight)) for z, (symbol, weight) in enumerate(pairs, 1)}


ELEMENTS = _elements()
"""By symbol, hydrogen to uranium."""


def fractions(formula: str, key: str = "formula") -> dict[str, float]:
    """Mass fraction of each element of a formula such as ``PbWO4`` or ``Lu1.8Y0.2SiO5`` (no brackets).

    Raises:
        ConfigurationError: naming ``key``, if it is no formula of known elements.
    """
    parts = re.findall(r"([A-Z][a-z]?)(\d+\.?\d*)?", formula)
    known = all(symbol in ELEMENTS and (not number or float(number) > 0) for symbol, number in parts)
    if not parts or "".join(a + b for a, b in parts) != formula or not known:
        raise ConfigurationError(key, formula, "a chemical formula such as PbWO4")
    masses: dict[str, float] = {}
    for symbol, number in parts:
        masses[symbol] = masses.get(symbol, 0.0) + ELEMENTS[symbol].atomic_weight * float(number or 1)
    total = sum(masses.values())
    return {symbol: mass / total for symbol, mass in masses.items()}


def radiation_length(composition: Mapping[str, float], density: float) -> float:
    """``X0`` in mm of mass fractions ``w`` at a density in g/cm3, from ``1/X0 = sum of w_i / X0_i``."""
    return 10 / density / sum(w / ELEMENTS[symbol].radiation_length for symbol, w in composition.items())


def interaction_length(composition: Mapping[str, float], density: float) -> float:
    """Nuclear interaction length in mm of mass fractions ``w``, from ``1/l = sum of w_i / l_i``."""
    return 10 / density / sum(w / ELEMENTS[symbol].interaction_length for symbol, w in composition.items())
