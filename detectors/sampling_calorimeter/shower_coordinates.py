"""The coordinates in which showers in a stack of layers are easy to learn."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError, ShapeError
from mode_opt.events import Events
from mode_opt.surrogates import Coordinates

from .materials import MATERIALS

LAYERS, ABSORBER, GAP = 50, "PbWO4", "lAr"
"""What the recorded showers were simulated with."""

RANGES = {"absorber_thickness": (0.5, 6.0), "gap_thickness": (1.0, 10.0)}
"""mm, of the recorded designs."""

ENERGIES = (500.0, 10_000.0)
"""MeV, lowest and highest recorded energy."""

EMPTY = 0.5
"""Spread of the negative values that stand for empty layers while training."""

RADIAL = 0.05
"""Relative spread by which profiles are blown up or shrunk in training; rescaling to the sum undoes it."""

TOLERANCE = 1e-2


@final
class ShowerCoordinates(Coordinates):
    """Sum and shape: ``x_0 = log(S / E)``, ``x_i = sqrt(e_i / (g dE/dx))`` with ``S = Σ e_i``.

    ``e_i`` is the energy in gap i, g its thickness, so that ``x_i^2`` counts crossings of a minimum ionising
    particle and its root has about the same spread everywhere. An empty layer is any negative value. On the
    way back ``e_i ∝ max(x_i, 0)^2`` is scaled to the sum. The condition is physical: logarithms of
    absorber and gap thickness, of the depth T in radiation lengths, of gap over absorber and of the energy,
    and T minus the depth of the shower maximum, ``ln(E / E_c) - 1/2`` (PDG review, passage of particles
    through matter).
    """

    conditions = 6

    def condition(self, phi: DesignPoint, primaries: Events) -> Tensor:
        absorber, gap = thickness(phi, "absorber_thickness"), thickness(phi, "gap_thickness")
        if primaries.hits.shape[2:] != (1, 1):
            raise ShapeError("primaries.hits", primaries.hits.shape, "b x n x 1 x 1, the energy of one electron in MeV")
        energy = primaries.hits[..., 0, 0]
        _inside("primaries.energy", energy, ENERGIES, "MeV")
        depth = LAYERS * (absorber / MATERIALS[ABSORBER].radiation_length + gap / MATERIALS[GAP].radiation_length)
        maximum = torch.log(energy / MATERIALS[ABSORBER].critical_energy) - 0.5
        design = [absorber.log(), gap.log(), depth.log(), (gap / absorber).log()]
        columns = [column.expand_as(energy) for column in design]
        return torch.stack([*columns, energy.log(), depth - maximum], dim=2)

    def features(self, events: Events, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        energy = events.hits[..., 0]
        if energy.shape[2] != LAYERS:
            raise ShapeError("Events.hits", events.hits.shape, f"b x n x {LAYERS} x 1")
        gap, primary = condition[..., 1].exp(), condition[..., 4].exp()
        # A shower that leaves nothing counts as one that leaves 1e-4 of its energy.
        total = torch.log((energy.sum(2) / primary).clamp(min=1e-4))
        crossings = torch.sqrt(energy / (gap * MATERIALS[GAP].minimum_loss).unsqueeze(2))
        noise = torch.randn(
            (*energy.shape[:2], LAYERS + 1), generator=generator, dtype=energy.dtype, device=energy.device
        )
        profile = torch.where(energy > 0, crossings, -EMPTY * noise[..., 1:].abs())
        return torch.cat([total.unsqueeze(2), profile * torch.exp(RADIAL * noise[..., :1])], dim=2)

    def events(self, features: Tensor, phi: DesignPoint, primaries: Events) -> Events:
        total = features[..., 0].exp() * primaries.hits[..., 0, 0]
        square = features[..., 1:].clamp(min=0) ** 2
        energy = square * (total / square.sum(2).clamp(min=1e-6)).unsqueeze(2)
        return Events.of(primaries.truth, energy.unsqueeze(3), weight=primaries.weight)


def thickness(phi: DesignPoint, name: str) -> Tensor:
    """``b x 1``, mm, the same for all layers and inside the recorded range.

    Raises:
        ConfigurationError: for a thickness per layer, or one outside the range.
    """
    values = phi[name]
    if values.shape[1] != 1:
        raise ConfigurationError(
            "simulator", "surrogate", f"parametric: {name} has {values.shape[1]} values, one is known"
        )
    _inside(f"design.parameters.{name}", values, RANGES[name], "mm")
    return values


def _inside(key: str, values: Tensor, limits: tuple[float, float], unit: str) -> None:
    low, high = float(values.detach().min()), float(values.detach().max())
    if not torch.isfinite(values.detach()).all():
        raise NonFiniteError(f"{key}: a value is NaN or infinite; expected {limits[0]:g} to {limits[1]:g} {unit}")
    if low < limits[0] * (1 - TOLERANCE) or high > limits[1] * (1 + TOLERANCE):
        expected = f"{limits[0]:g} to {limits[1]:g} {unit}, where the surrogate was trained"
        raise ConfigurationError(key, low if low < limits[0] * (1 - TOLERANCE) else high, expected)
