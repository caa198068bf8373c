"""Cross-sections tabulated in the logarithm of the energy, and spectra as inverse cumulative distributions."""

import math
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn

from . import cross_sections as xs
from .materials import Material

LOWEST, HIGHEST = 0.01, 2e5
"""Kinetic energies between which there are tables, MeV."""

ENERGIES, SPECTRA, QUANTILES = 2048, 192, 128
"""Entries: of the cross-sections (0.8 % apart), of the spectra (9 % apart), of each spectrum."""

PAIR, COMPTON, RADIATION, DELTA = range(4)
"""Processes of the spectra: (T + m)/E of the first of the pair; E'/E of the photon; ``ln(k/cut) / ln(T/cut)`` of
the radiated photon; ``1/W`` of the delta ray, from ``2/T`` (0) to ``1/cut`` (1)."""

LONGEST = {"interactions": 0.5, "emissions": 0.5, "scattering": 1.0, "range": 0.3}
"""Longest step: in mean free paths of photons and of emission, transport mean free paths, and ranges. The physics
is right for longer ones, too: what is drawn beyond the event that ends a step is wasted."""

SHORTEST = 0.02
"""Mean loss in the shortest step, MeV."""

QUANTUM = {"fraction": 0.2, "least": 0.04, "emissions": 0.6}
"""Quantum of ionisation: part of the kinetic energy, at least (MeV), and at most with this mean number of emissions.

Poisson quanta q give a loss D the variance q D. Small quanta straggle less than nature; large ones make the
recorded choices few and score functions quiet (their variance is that of the number of quanta).
"""


@final
class Tables(nn.Module):
    """What transport looks up.

    Attributes:
        photon: ``m * ENERGIES x 3``: inverse mean free path (1/mm), probabilities of pair production and of pair
            production or Compton scattering.
        electron: ``m * ENERGIES x 8``: stopping power S (MeV/mm), step (mm), quantum q (MeV), bremsstrahlung and
            delta rays per MeV of collision loss, part of bremsstrahlung in it, transport mean free paths of
            scattering per MeV of collision loss, range (mm), bremsstrahlung and delta rays per quantum.
        spectra: ``m * 4 * SPECTRA x QUANTILES``: quantiles of the energy sharing (`PAIR`, `COMPTON`, `RADIATION`,
            `DELTA`).
        motion: ``2 * m * ENERGIES x 2``, photons, then electrons: rate of interactions or quanta (1/mm), step (mm).
        cuts: ``m x 4``: photon cut, electron cut, delta cut, largest quantum, MeV.

    Args:
        materials: the ``m`` materials.
    """

    def __init__(self, materials: Sequence[Material]) -> None:
        super().__init__()
        self.register_buffer("photon", torch.cat([_photon(m) for m in materials]).float(), persistent=False)
        self.register_buffer("electron", torch.cat([_electron(m) for m in materials]).float(), persistent=False)
        self.register_buffer("spectra", torch.cat([_spectra(m) for m in materials]).float(), persistent=False)
        cuts = [(m.photon_cut, m.electron_cut, m.delta_cut, m.quantum) for m in materials]
        self.register_buffer("cuts", torch.tensor(cuts), persistent=False)
        photon, electron = self.photon, self.electron
        free = torch.stack([photon[:, 0], LONGEST["interactions"] / photon[:, 0]], 1)
        slowing = torch.stack([electron[:, 0] / electron[:, 2], electron[:, 1]], 1)
        self.register_buffer("motion", torch.cat([free, slowing]), persistent=False)
        self.motion: Tensor
        self.photon: Tensor
        self.electron: Tensor
        self.spectra: Tensor
        self.cuts: Tensor

    def row(self, energy: Tensor, material: Tensor) -> Tensor:
        """Row of `photon` and `electron`, ``k``, of the nearest energy."""
        scale = (ENERGIES - 1) / math.log(HIGHEST / LOWEST)
        bin_ = ((energy.log() - math.log(LOWEST)) * scale + 0.5).clamp(0, ENERGIES - 1)
        return bin_.long() + material * ENERGIES

    def share(self, process: Tensor | int, energy: Tensor, material: Tensor, uniform: Tensor) -> Tensor:
        """Quantile ``uniform`` of the spectrum of a process, ``k``; linear between the tabulated ones."""
        scale = (SPECTRA - 1) / math.log(HIGHEST / LOWEST)
        bin_ = ((energy.log() - math.log(LOWEST)) * scale + 0.5).clamp(0, SPECTRA - 1).long()
        position = uniform * (QUANTILES - 1)
        index = position.long().clamp(max=QUANTILES - 2)
        flat = ((material * 4 + process) * SPECTRA + bin_) * QUANTILES + index
        values = self.spectra.view(-1)
        low = values.index_select(0, flat)
        return torch.lerp(low, values.index_select(0, flat + 1), position - index)


def energies(count: int) -> Tensor:
    """Energies of the tables, MeV."""
    return torch.logspace(math.log10(LOWEST), math.log10(HIGHEST), count, dtype=torch.double)


def _photon(material: Material) -> Tensor:
    energy = energies(ENERGIES)
    pair, compton = xs.pair_production(energy, material), xs.compton(energy, material)
    total = pair + compton + xs.photo_effect(energy, material)
    return torch.stack([total, pair / total, (pair + compton) / total], 1)


def _electron(material: Material) -> Tensor:
    energy = energies(ENERGIES)
    loss = xs.collision_loss(energy, material, material.delta_cut)
    radiation = _interpolated(lambda e: _emissions(e, material), energy)
    emissions = radiation + _interpolated(lambda e: _deltas(e, material), energy)
    scattering = xs.scattering(energy, material)
    path = torch.cumulative_trapezoid(energy / loss, energy.log())
    range_ = torch.cat([torch.zeros(1, dtype=torch.double), path]) + LOWEST / loss[0] / 2
    per_loss = (emissions / loss).clamp(min=1e-9)
    quantum = (QUANTUM["fraction"] * energy).clamp(min=QUANTUM["least"], max=material.quantum)
    quantum = quantum.minimum(QUANTUM["emissions"] / per_loss)
    step = (LONGEST["scattering"] / scattering).minimum(LONGEST["range"] * range_)
    step = step.minimum(LONGEST["emissions"] / (per_loss * loss)).maximum(SHORTEST / loss)
    share = torch.where(emissions > 0, radiation / emissions.clamp(min=1e-30), torch.ones_like(loss))
    return torch.stack([loss, step, quantum, per_loss, share, scattering / loss, range_, per_loss * quantum], 1)


def _interpolated(function: Callable[[float], float], energy: Tensor, nodes: int = 128) -> Tensor:
    """A function of the energy, computed at some nodes, linear in the logarithm between them."""
    at = energies(nodes)
    values = torch.tensor([function(float(e)) for e in at], dtype=torch.double)
    position = (energy.log() - at[0].log()) / (at[1] / at[0]).log()
    low = position.long().clamp(max=nodes - 2)
    return torch.lerp(values[low], values[low + 1], position - low)


def _emissions(energy: float, material: Material) -> float:
    if energy <= material.photon_cut:
        return 0.0
    return xs.integral(lambda k: xs.bremsstrahlung(k, energy, material), material.photon_cut, energy, 100)


def _deltas(energy: float, material: Material) -> float:
    if energy <= 2 * material.delta_cut:
        return 0.0
    return xs.integral(lambda w: xs.delta_rays(w, energy, material), material.delta_cut, energy / 2, 100)


def _spectra(material: Material) -> Tensor:
    rows = [[_quantiles(process(float(e), material)) for e in energies(SPECTRA)] for process in PROCESSES]
    return torch.stack([torch.stack(row) for row in rows]).reshape(-1, QUANTILES)


FINE = torch.linspace(0, 1, 801, dtype=torch.double)


def _pair(energy: float, material: Material) -> tuple[Tensor, Tensor]:
    lowest = min(xs.ELECTRON_MASS / energy, 0.499)
    x = lowest + FINE * (1 - 2 * lowest)
    return x, xs.pair_spectrum(x, energy, material) + 1e-12


def _compton(energy: float, material: Material) -> tuple[Tensor, Tensor]:
    x = torch.exp((1 - FINE) * -math.log(1 + 2 * energy / xs.ELECTRON_MASS))
    return x, xs.compton_spectrum(x, energy) * x  # equal steps in ln x


def _radiation(energy: float, material: Material) -> tuple[Tensor, Tensor]:
    ratio = max(energy / material.photon_cut, 1.0001)
    k = material.photon_cut * ratio**FINE
    return FINE, (xs.bremsstrahlung(k, max(energy, float(k[-1])), material) + 1e-12) * k


def _delta(energy: float, material: Material) -> tuple[Tensor, Tensor]:
    energy = max(energy, 2.0001 * material.delta_cut)
    transfer = 1 / (2 / energy + FINE * (1 / material.delta_cut - 2 / energy))
    return FINE, xs.delta_rays(transfer, energy, material) * transfer**2


PROCESSES = (_pair, _compton, _radiation, _delta)


def _quantiles(spectrum: tuple[Tensor, Tensor]) -> Tensor:
    """Inverse of the cumulative distribution at equally spaced probabilities; density per equal step."""
    values, density = spectrum
    cumulative = torch.cat([torch.zeros(1, dtype=torch.double), (density[1:] + density[:-1]).cumsum(0)])
    cumulative = cumulative / cumulative[-1]
    at = torch.linspace(0, 1, QUANTILES, dtype=torch.double)
    high = torch.searchsorted(cumulative, at).clamp(1, len(values) - 1)
    width = (cumulative[high] - cumulative[high - 1]).clamp(min=1e-300)
    return torch.lerp(values[high - 1], values[high], ((at - cumulative[high - 1]) / width).clamp(0, 1))
