"""A proton monitor: a differentiable degrader, a crystal as a black box, a counter of photoelectrons."""

from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.events import Events
from mode_opt.experiment import Detector
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import BlackBoxSimulator, Chain, Choices, DifferentiableSimulator, Program

from .inputs import UniformInputs
from .objectives import SquaredError
from .problem import Problem

ENERGY = (70.0, 130.0)
"""Of the beam, MeV, uniform."""

RANGE, POWER = 0.022, 1.77
"""Bragg and Kleeman's rule in water: a proton of E MeV stops after ``RANGE E^POWER`` mm."""

STRAGGLING = 0.15
"""Standard deviation of the residual range after 1 mm of degrader, in mm; it grows with the root of the thickness."""

SOFTNESS = 1.0
"""mm over which protons begin to leave the crystal."""

LIGHT, ABSORPTION, FLUCTUATION = 10.0, 50.0, 0.03
"""Photons that reach the counter per MeV from a thin crystal, length in mm over which they are lost, relative noise."""

VOLTAGE, DARK, BREAKDOWN = 3.0, 2.0, 1.0
"""The counter sees ``1 − exp(−u/VOLTAGE)`` of the photons and ``DARK (exp(u/BREAKDOWN) − 1)`` dark counts at u volt."""

WANTED = 10.0
"""MeV, the error that counts as one."""


def energy_of(length: Tensor) -> Tensor:
    """Energy (MeV) of protons with this residual range (mm)."""
    return (length / RANGE) ** (1 / POWER)


def residual_range(energy: Tensor, thickness: Tensor, normal: Tensor) -> Tensor:
    """mm of water that protons of ``energy`` (MeV) still cross behind a degrader (mm), and 0.1 mm at least."""
    left = RANGE * energy**POWER - thickness - STRAGGLING * thickness.sqrt() * normal
    return left.clamp_min(0.1)


def mean_light(energy: Tensor, length: Tensor) -> Tensor:
    """Photons at the counter from protons (MeV) in a crystal (mm), less what leaves and what is absorbed."""
    beyond = SOFTNESS * torch.nn.functional.softplus((RANGE * energy**POWER - length) / SOFTNESS)
    deposit = energy - energy_of(beyond + 1e-6)
    return LIGHT * deposit * torch.exp(-length / ABSORPTION)


def efficiency(voltage: Tensor) -> Tensor:
    """Fraction of the photons that are seen."""
    return 1 - torch.exp(-voltage / VOLTAGE)


def dark_counts(voltage: Tensor) -> Tensor:
    """Mean number of counts without light."""
    return DARK * torch.expm1(voltage / BREAKDOWN)


def _response(events: Events, value: Tensor) -> Events:
    return Events.of(events.truth, value[..., None, None], weight=events.weight, log_probability=events.log_probability)


@final
class Degrader(DifferentiableSimulator):
    """Slows protons down in ``degrader`` mm of water, with straggling: hits ``b x n x 1 x 1`` are energies, MeV."""

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        events = primaries.expand(phi.designs)
        energy = events.hits[:, :, 0, 0]
        normal = torch.randn(energy.shape, generator=generator, dtype=energy.dtype, device=energy.device)
        return _response(events, energy_of(residual_range(energy, phi["degrader"], normal)))


@final
class ClearCrystal(DifferentiableSimulator):
    """Turns energies (MeV) into photons at the counter, in ``crystal`` mm; hits ``b x n x 1 x 1``."""

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        events = primaries.expand(phi.designs)
        light = mean_light(events.hits[:, :, 0, 0], phi["crystal"])
        normal = torch.randn(light.shape, generator=generator, dtype=light.dtype, device=light.device)
        return _response(events, light * (1 + FLUCTUATION * normal))


@final
class Crystal(BlackBoxSimulator):
    """`ClearCrystal` as somebody else's program: values only."""

    def __init__(self) -> None:
        super().__init__()
        self.crystal = ClearCrystal()

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events: Events = self.crystal(phi, primaries, generator)
        return events


@final
class Counter(Program):
    """Counts ``N ~ Poisson(η(u) light + D(u))`` at ``overvoltage`` u and reads ``scale (N − D(u))``, in MeV."""

    def run(self, phi: DesignPoint, primaries: Events, choices: Choices) -> Events:
        light, voltage = primaries.hits[:, :, 0, 0].clamp_min(0.0), phi["overvoltage"]
        dark = dark_counts(voltage)
        count = choices.poisson(efficiency(voltage) * light + dark)
        return _response(primaries, phi["scale"] * (count - dark))


# The exact objective: quadrature over beam energy, straggling and fluctuation; moments of a Poisson number.


def _grid() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Energies, two standard normal numbers and the probability, of each node."""
    energy, first = np.polynomial.legendre.leggauss(160)
    normal, second = np.polynomial.hermite_e.hermegauss(9)
    fluctuation, third = np.polynomial.hermite_e.hermegauss(3)
    energy = (ENERGY[0] + ENERGY[1]) / 2 + (ENERGY[1] - ENERGY[0]) / 2 * energy
    nodes = [torch.from_numpy(part.ravel()) for part in np.meshgrid(energy, normal, fluctuation, indexing="ij")]
    weight = torch.from_numpy(np.einsum("i,j,k->ijk", first, second, third).ravel())
    return nodes[0], nodes[1], nodes[2], weight / weight.sum()


_ENERGY, _STRAGGLE, _FLUCTUATE, _CHANCE = _grid()


def _moments(phi: DesignPoint) -> tuple[Tensor, Tensor]:
    """Mean and mean square of ``((y − E) / WANTED)²``, ``b`` each (float64)."""
    voltage, scale = phi["overvoltage"], phi["scale"]
    energy = energy_of(residual_range(_ENERGY, phi["degrader"], _STRAGGLE))
    light = mean_light(energy, phi["crystal"]) * (1 + FLUCTUATION * _FLUCTUATE)
    rate = efficiency(voltage) * light + dark_counts(voltage)
    bias, spread = (scale * efficiency(voltage) * light - _ENERGY) / WANTED, scale / WANTED
    second = bias**2 + spread**2 * rate
    # Central moments of a Poisson number of mean m: m, m, 3m² + m.
    fourth = bias**4 + 6 * bias**2 * spread**2 * rate + 4 * bias * spread**3 * rate + spread**4 * (3 * rate**2 + rate)
    return second @ _CHANCE, fourth @ _CHANCE


def exact(phi: DesignPoint) -> Tensor:
    """``E[((y − E) / 10 MeV)²]``, ``b``."""
    return _moments(phi)[0]


def _variance(phi: DesignPoint) -> Tensor:
    second, fourth = _moments(phi)
    return fourth - second**2


OPTIMUM = 2.29510644
BEST = (16.206553, 98.449797, 2.6693686, 1.3804162)
"""Smallest expected objective and its design (mm, mm, V, MeV), where Newton's method on `exact` ends."""


def chain_problem(name: str, description: str, design: dict[str, Any]) -> Problem:
    """Minimise the mean squared error of the energy read; the simulator ``twin`` is differentiable where it can be."""
    first, last = Degrader(), Counter()
    detector = Detector(
        name=name,
        design=Design(**design),
        simulators={
            "chain": Chain({"degrader": first, "crystal": Crystal(), "counter": last}),
            "twin": Chain({"degrader": first, "crystal": ClearCrystal(), "counter": last}),
        },
        primaries=UniformInputs(ENERGY[:1], ENERGY[1:], ["energy"], ["MeV"]),
        reconstruction=PriorBelief.fitting,
        objective=SquaredError(0, WANTED),
        hit_names=("energy read",),
        description=description,
    )
    best = torch.tensor(BEST, dtype=torch.float64)
    return Problem.of(detector, exact, _variance, OPTIMUM, [best])
