"""Objectives of the deposits themselves: depth, leakage, fluctuations. No reconstruction takes part."""

from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError, ShapeError
from mode_opt.events import Events
from mode_opt.objectives import Objective
from mode_opt.objectives.weights import weighted_mean


def deposits(events: Events) -> Tensor:
    """Energy of each cell, ``b x n x h``, MeV: hit feature 0 where there is a hit."""
    return torch.where(events.mask, events.hits[..., 0], torch.zeros_like(events.hits[..., 0]))


def gap_centres(phi: DesignPoint, layers: int) -> Tensor:
    """Distance of the middle of each gap from the front face, ``b x layers``, mm; it moves with the design.

    Raises:
        ShapeError: if thicknesses are neither one nor one a layer.
    """
    for name in ("absorber_thickness", "gap_thickness"):
        if phi[name].shape[1] not in (1, layers):
            raise ShapeError(f"design parameter {name}", phi[name].shape, f"b x 1 or b x {layers} (layers)")
    absorber, gap = (phi[name].expand(-1, layers) for name in ("absorber_thickness", "gap_thickness"))
    end = (absorber + gap).cumsum(1)
    middle = end - gap / 2
    return middle + phi["front_thickness"] if "front_thickness" in phi else middle


@final
class ShowerDepth(Objective):
    """``((depth - target) / scale)^2``, depth the mean place of the energy in the gaps, pooled over events.

    ``depth = sum_i w_i sum_j E_ij z_j / sum_i w_i sum_j E_ij`` with z_j the middle of gap j, or j + 1 if ``layers``.
    In mm the depth depends on the design twice, through the showers and through the places of the gaps.

    Args:
        target: wanted depth, mm (or layers).
        scale: depth difference that counts as 1, in the same unit.
        layers: count the depth in layers.

    Raises:
        ConfigurationError: for a scale that is not positive.
        NonFiniteError: when called, if the events of a design left nothing in the gaps.
    """

    def __init__(self, target: float, scale: float = 1.0, layers: bool = False) -> None:
        super().__init__()
        if not scale > 0:
            raise ConfigurationError("objective.scale", scale, "a positive length")
        self.target, self.scale, self.layers = float(target), float(scale), layers

    def depth(self, events: Events, phi: DesignPoint) -> Tensor:
        """Depth of each design, ``b``."""
        energy = deposits(events)
        count = energy.shape[2]
        ordinal = torch.arange(1.0, count + 1, dtype=energy.dtype, device=energy.device)
        place = ordinal.unsqueeze(0) if self.layers else gap_centres(phi, count)
        profile = (events.weight.unsqueeze(2) * energy).sum(1)
        total = profile.sum(1)
        if bool((total == 0).any()):
            raise NonFiniteError("the shower depth of a design has no energy in any gap: simulate more events")
        return (profile * place).sum(1) / total

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        return ((self.depth(events, phi) - self.target) / self.scale) ** 2


@final
class Leakage(Objective):
    """``1 - <sum of all deposits> / <energy>``: the part of the energy that leaves the calorimeter.

    All features of the hits count (simulator with ``absorber_deposits``).

    Args:
        target: index of the truth feature that is the energy of the primary.
        features: number of hit features there must be; 2 are gap and absorber.

    Raises:
        ShapeError: when called, if the hits have another number of features: what is not recorded is not leakage.
    """

    def __init__(self, target: int = 0, features: int = 2) -> None:
        super().__init__()
        self.target, self.features = target, features

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        if events.hits.shape[3] != self.features:
            expected = f"{self.features} features (detector.absorber_deposits: true)"
            raise ShapeError("Leakage: hits", events.hits.shape, expected)
        contained = torch.where(events.mask.unsqueeze(3), events.hits, torch.zeros_like(events.hits)).sum((2, 3))
        energy = events.truth[..., self.target]
        return 1 - weighted_mean(contained, events.weight) / weighted_mean(energy, events.weight)


@final
class SignalUniformity(Objective):
    """``⟨(<E_j>/target - 1)^2⟩`` over the layers j: every gap is to give the same mean signal.

    So that one range of the electronics serves all layers, and none ages first. Means are over the events, with their
    weights.

    Args:
        target: wanted mean energy in each gap, MeV.

    Raises:
        ConfigurationError: for a target that is not positive.
    """

    def __init__(self, target: float) -> None:
        super().__init__()
        if not target > 0:
            raise ConfigurationError("objective.target", target, "a positive energy in MeV")
        self.target = float(target)

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        signal = weighted_mean(deposits(events).transpose(1, 2), events.weight.unsqueeze(1))
        return ((signal / self.target - 1) ** 2).mean(1)


@final
class SumResolution(Objective):
    """Relative spread of the summed deposits over the energy, ``sqrt(<r^2> / <r>^2 - 1)``, ``r = sum_j E_j / E``.

    The resolution of the plain sum of the gaps, for primaries of similar energies; `mode_opt.objectives.Resolution`
    is that of a reconstruction.

    Args:
        target: index of the truth feature that is the energy of the primary.

    Raises:
        NonFiniteError: when called, if the events of a design left nothing in the cells.
    """

    def __init__(self, target: int = 0) -> None:
        super().__init__()
        self.target = target

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        ratio = deposits(events).sum(2) / events.truth[..., self.target]
        mean = weighted_mean(ratio, events.weight)
        if bool((mean == 0).any()):
            raise NonFiniteError("the resolution of a design has no energy in any cell: simulate more events")
        variance = weighted_mean((ratio / mean.unsqueeze(1) - 1) ** 2, events.weight)
        return variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt()
