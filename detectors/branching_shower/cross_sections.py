"""Cross-sections and stopping powers of photons, electrons and positrons in matter.

All functions take and give double tensors; energies in MeV, lengths in mm. Electron energies are kinetic.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .materials import ELEMENTS, Element, Material

ELECTRON_MASS = 0.51099895
"""MeV."""

ELECTRON_RADIUS = 2.8179403e-12
"""Classical electron radius, mm."""

ALPHA = 1 / 137.035999

AVOGADRO = 6.02214076e23

MICROBARN = 1e-28
"""mm2."""


def atoms(material: Material) -> list[tuple[Element, float]]:
    """The elements of a material and their atoms per mm3."""
    density = material.density * 1e-3 * AVOGADRO  # g/mm3 * 1/mol
    return [
        (ELEMENTS[name], density * fraction / ELEMENTS[name].atomic_weight)
        for name, fraction in material.composition.items()
    ]


def electron_density(material: Material) -> float:
    """Electrons per mm3."""
    return sum(number * element.atomic_number for element, number in atoms(material))


def plasma_energy(material: Material) -> float:
    """``hbar omega_p = sqrt(4 pi n r_e^3) m c^2 / alpha``, MeV."""
    return math.sqrt(4 * math.pi * electron_density(material) * ELECTRON_RADIUS**3) * ELECTRON_MASS / ALPHA


def compton(energy: Tensor, material: Material) -> Tensor:
    """Inverse mean free path of Compton scattering on free electrons, 1/mm.

    O. Klein and Y. Nishina, Z. Phys. 52 (1929) 853; binding is neglected.
    """
    k = energy / ELECTRON_MASS
    log = torch.log1p(2 * k)
    first = (1 + k) / k**2 * (2 * (1 + k) / (1 + 2 * k) - log / k)
    return (
        electron_density(material)
        * 2
        * math.pi
        * ELECTRON_RADIUS**2
        * (first + log / (2 * k) - (1 + 3 * k) / (1 + 2 * k) ** 2)
    )


def compton_spectrum(fraction: Tensor, energy: float) -> Tensor:
    """Unnormalised density of ``x = E'/E``: ``x + 1/x - sin^2(theta)``, cos(theta) = 1 - (m/E)(1/x - 1)."""
    cosine = 1 - ELECTRON_MASS / energy * (1 / fraction - 1)
    return fraction + 1 / fraction - (1 - cosine**2)


def photo_effect(energy: Tensor, material: Material) -> Tensor:
    """Inverse mean free path of the photo-effect, 1/mm (see `Element`); constant below 90 keV."""
    kilo = energy.clamp(min=0.09) * 1e3
    total = torch.zeros_like(energy)
    for name, weight in material.composition.items():
        low, high = (
            sum(c / kilo ** (i + 1) for i, c in enumerate(coefficients))
            for coefficients in (ELEMENTS[name].photo, ELEMENTS[name].photo_high)
        )
        total = total + weight * torch.where(kilo < 500, torch.as_tensor(low), torch.as_tensor(high))
    return total * material.density / 10


_PAIR = (
    (8.7842e2, -1.9625e3, 1.2949e3, -2.0028e2, 1.2575e1, -2.8333e-1),
    (-1.0342e1, 1.7692e1, -8.2381, 1.3063, -9.0815e-2, 2.3586e-3),
    (-4.5263e2, 1.1161e3, -8.6749e2, 2.1773e2, -2.0467e1, 6.5372e-1),
)


def pair_production(energy: Tensor, material: Material) -> Tensor:
    """Inverse mean free path of pair production, 1/mm.

    ``Z(Z+1) [F1 + F2 Z + F3/Z]``, polynomials in ``ln(E/m)``, fitted to the tables of J. H. Hubbell, H. A. Gimm
    and I. Overbo, J. Phys. Chem. Ref. Data 9 (1980) 1023 (the parametrisation of the Geant4 physics reference
    manual, Bethe-Heitler model; 1.5 MeV to 100 GeV, within 5 %); scaled with ``(E - 2m)^2`` below 1.5 MeV.
    """
    threshold = 2 * ELECTRON_MASS
    log = (energy.clamp(min=1.5) / ELECTRON_MASS).log()
    first, second, third = (sum(c * log**i for i, c in enumerate(row)) for row in _PAIR)
    total = torch.zeros_like(energy)
    for element, number in atoms(material):
        z = element.atomic_number
        total = total + number * z * (z + 1) * MICROBARN * (first + second * z + third / z)
    low = ((energy - threshold).clamp(min=0) / (1.5 - threshold)).clamp(max=1) ** 2
    return total.clamp(min=0) * low


def coulomb_correction(z: float) -> float:
    """H. Davies, H. A. Bethe and L. C. Maximon, Phys. Rev. 93 (1954) 788, as in the PDG review."""
    a = (ALPHA * z) ** 2
    return a * (1 / (1 + a) + 0.20206 - 0.0369 * a + 0.0083 * a**2 - 0.002 * a**3)


def _screening(delta: Tensor, z: float, corrected: bool) -> tuple[Tensor, Tensor]:
    """``Phi_i - (4/3) ln Z - 4 f``; J. C. Butcher and H. Messel, Nucl. Phys. 20 (1960) 15."""
    far = 21.12 - 4.184 * (delta + 0.952).log()
    first = torch.where(delta <= 1, 20.867 - 3.242 * delta + 0.625 * delta**2, far)
    second = torch.where(delta <= 1, 20.209 - 1.930 * delta - 0.086 * delta**2, far)
    shift = 4 / 3 * math.log(z) + (4 * coulomb_correction(z) if corrected else 0.0)
    return (first - shift).clamp(min=0), (second - shift).clamp(min=0)


def pair_spectrum(fraction: Tensor, energy: float, material: Material) -> Tensor:
    """Unnormalised density of ``x = (T + m)/E`` of one of the pair.

    ``(x^2 + (1-x)^2) Phi1 + (2/3) x (1-x) Phi2``, H. A. Bethe and W. Heitler, Proc. R. Soc. A 146 (1934) 83.
    """
    total = torch.zeros_like(fraction)
    for element, number in atoms(material):
        z = element.atomic_number
        delta = 136 * ELECTRON_MASS * z ** (-1 / 3) / (energy * fraction * (1 - fraction))
        first, second = _screening(delta, z, energy > 50)
        product = fraction * (1 - fraction)
        total = total + number * z * (z + 1) * ((1 - 2 * product) * first + 2 / 3 * product * second)
    return total


def bremsstrahlung(photon: Tensor, energy: float, material: Material) -> Tensor:
    """Photons of energy k radiated per mm and MeV by an electron of kinetic energy ``energy``.

    ``n alpha r_e^2 Z (Z + xi) / k [(1 + y^2) Phi1 - (2/3) y Phi2]``, y = E'/E, screened Bethe-Heitler formula with
    Coulomb correction above 50 MeV (H. W. Koch and J. W. Motz, Rev. Mod. Phys. 31 (1959) 920; Y.-S. Tsai, Rev.
    Mod. Phys. 46 (1974) 815: xi for the atomic electrons), and the dielectric suppression ``k^2 / (k^2 + (hbar
    omega_p E/m)^2)`` (PDG review). At complete screening it is the 4/3 - (4/3) x + x^2 of the PDG review.
    """
    total_energy = energy + ELECTRON_MASS
    left = total_energy - photon
    y = left / total_energy
    total = torch.zeros_like(photon)
    for element, number in atoms(material):
        z = element.atomic_number
        xi = math.log(1194 * z ** (-2 / 3)) / (math.log(184.15 * z ** (-1 / 3)) - coulomb_correction(z))
        delta = 136 * ELECTRON_MASS * z ** (-1 / 3) * photon / (total_energy * left)
        first, second = _screening(delta, z, total_energy > 50)
        total = total + number * z * (z + xi) * ((1 + y**2) * first - 2 / 3 * y * second)
    plasma = plasma_energy(material) * total_energy / ELECTRON_MASS
    return total.clamp(min=0) * ALPHA * ELECTRON_RADIUS**2 * photon / (photon**2 + plasma**2)


def delta_rays(transfer: Tensor, energy: float, material: Material) -> Tensor:
    """Delta rays of kinetic energy W per mm and MeV: C. Moller, Ann. Phys. 14 (1932) 531, W <= T/2."""
    gamma = energy / ELECTRON_MASS + 1
    beta2 = 1 - 1 / gamma**2
    x = transfer / energy
    shape = 1 / x**2 + 1 / (1 - x) ** 2 + ((gamma - 1) / gamma) ** 2 - (2 * gamma - 1) / gamma**2 / (x * (1 - x))
    return electron_density(material) * 2 * math.pi * ELECTRON_RADIUS**2 * ELECTRON_MASS / beta2 * shape / energy**2


def density_effect(energy: Tensor, material: Material) -> Tensor:
    """delta of R. M. Sternheimer and R. F. Peierls, Phys. Rev. B 3 (1971) 3681, condensed matter."""
    gamma = energy / ELECTRON_MASS + 1
    x = 0.5 * torch.log10(gamma**2 - 1)
    c = 2 * math.log(material.excitation_energy / plasma_energy(material)) + 1
    light = material.excitation_energy < 100e-6
    x1 = 2.0 if light else 3.0
    x0 = 0.2 if c < (3.681 if light else 5.215) else 0.326 * c - (1.0 if light else 1.5)
    a = (c - 2 * math.log(10) * x0) / (x1 - x0) ** 3
    value = 2 * math.log(10) * x - c + a * (x1 - x).clamp(min=0) ** 3
    return torch.where(x < x0, torch.zeros_like(x), value).clamp(min=0)


def collision_loss(energy: Tensor, material: Material, cut: float) -> Tensor:
    """Mean energy lost to electrons in transfers below ``cut``, MeV/mm.

    F. Rohrlich and B. C. Carlson, Phys. Rev. 93 (1954) 38; M. J. Berger and S. M. Seltzer, NASA SP-3012 (1964);
    the formula for electrons is used for positrons as well.
    """
    tau = energy / ELECTRON_MASS
    gamma = tau + 1
    beta2 = 1 - 1 / gamma**2
    up = (tau / 2).clamp(max=cut / ELECTRON_MASS)
    restricted = (
        -1
        - beta2
        + ((tau - up) * up).log()
        + tau / (tau - up)
        + (up**2 / 2 + (2 * tau + 1) * torch.log1p(-up / tau)) / gamma**2
    )
    log = (2 * (gamma + 1) / (material.excitation_energy / ELECTRON_MASS) ** 2).log()
    factor = 2 * math.pi * ELECTRON_RADIUS**2 * ELECTRON_MASS * electron_density(material) / beta2
    return factor * (log + restricted - density_effect(energy, material))


def scattering(energy: Tensor, material: Material) -> Tensor:
    """Inverse transport mean free path of multiple scattering, ``<1 - cos(theta)>`` per mm.

    Screened Rutherford scattering: ``2 pi n r_e^2 Z (Z + 1) (m / (p beta))^2 [ln(1 + 1/A) - 1/(1 + A)]`` with
    Moliere's screening A (G. Moliere, Z. Naturforsch. 2a (1947) 133; J. M. Fernandez-Varea et al., Nucl. Instrum.
    Methods B 73 (1993) 447).
    """
    gamma = energy / ELECTRON_MASS + 1
    beta2 = 1 - 1 / gamma**2
    momentum2 = gamma**2 - 1  # (p/m)^2
    total = torch.zeros_like(energy)
    for element, number in atoms(material):
        z = element.atomic_number
        screening = (ALPHA * z ** (1 / 3) / 0.885) ** 2 / (4 * momentum2)
        screening = screening * (1.13 + 3.76 * (ALPHA * z) ** 2 / beta2)
        bracket = (1 / screening).log1p() - 1 / (1 + screening)
        total = total + number * z * (z + 1) * bracket
    return 2 * math.pi * ELECTRON_RADIUS**2 * total / (momentum2 * beta2)


def integral(spectrum: Callable[[Tensor], Tensor], low: float, high: float, points: int = 400) -> float:
    """Integral of a density from ``low`` to ``high``, in the logarithm (Simpson's rule)."""
    log = torch.linspace(math.log(low), math.log(high), 2 * points + 1, dtype=torch.double)
    values = spectrum(log.exp()) * log.exp()
    weights = torch.ones_like(log)
    weights[1:-1:2], weights[2:-1:2] = 4.0, 2.0
    return float((weights * values).sum() * (log[1] - log[0]) / 3)
