"""The surrogate against recorded showers of designs that it was not trained on."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.simulation import Simulator, stream
from mode_opt.surrogates import FitReport

from .materials import MATERIALS
from .shower_coordinates import ABSORBER, GAP

MEAN_LIMIT, RESOLUTION_LIMIT = 0.03, 0.15
"""Relative differences that are allowed, pooled over designs."""

WEIGHTED = "resolution of the summed gap energy"
UNWEIGHTED = "resolution, unweighted mean of variances"

SEED = 1


@dataclass(frozen=True, eq=False)
class Groups:
    """Summed gap energy over primary energy, for each of ``k`` pairs of design and energy.

    Attributes:
        absorber, gap, energy: ``k``, mm, mm, MeV.
        count: ``k``, recorded showers.
        mean, variance: ``k``, of the recorded showers; the variance is relative, ``(std / mean)^2``.
        model_mean, model_variance: ``k``, the same of the surrogate.
    """

    absorber: Tensor
    gap: Tensor
    energy: Tensor
    count: Tensor
    mean: Tensor
    variance: Tensor
    model_mean: Tensor
    model_variance: Tensor

    @property
    def sampling_fraction(self) -> Tensor:
        """``k``, of a minimum ionising particle, from the thicknesses alone."""
        seen = self.gap * MATERIALS[GAP].minimum_loss
        return seen / (seen + self.absorber * MATERIALS[ABSORBER].minimum_loss)


def compare(simulator: Simulator, phi: DesignPoint, events: Events, showers: int = 1000) -> Groups:
    """Moments of recorded showers (``n`` designs of one event) and of ``showers`` simulated ones a group."""
    energy = events.truth[:, 0, 0]
    columns = torch.stack([phi["absorber_thickness"][:, 0], phi["gap_thickness"][:, 0], energy], dim=1)
    keys, group = torch.unique(columns, dim=0, return_inverse=True)
    count = torch.bincount(group).to(energy.dtype)
    fraction = events.hits[:, 0, :, 0].sum(1) / energy
    mean = torch.zeros(len(keys)).index_add(0, group, fraction) / count
    square = torch.zeros(len(keys)).index_add(0, group, (fraction - mean[group]) ** 2) / (count - 1)
    model = simulated_sum(simulator, keys, showers) / keys[:, 2:]
    spread = model.var(1) / model.mean(1) ** 2
    absorber, gap, primary = keys.unbind(1)
    return Groups(absorber, gap, primary, count, mean, square / mean**2, model.mean(1), spread)


def simulated_sum(simulator: Simulator, keys: Tensor, showers: int) -> Tensor:
    """Summed gap energy, ``k x showers``, for rows (absorber, gap, energy) of ``keys``."""
    generator, parts = stream("cpu", SEED, "surrogate", "validation"), []
    for part in keys.split(max(1, 20_000 // showers)):
        truth = part[:, 2].reshape(-1, 1, 1).expand(-1, showers, -1)
        phi = DesignPoint.of(absorber_thickness=part[:, :1], gap_thickness=part[:, 1:2])
        with torch.no_grad():
            parts.append(simulator(phi, Events.of(truth, truth.unsqueeze(3)), generator).hits[..., 0].sum(2))
    return torch.cat(parts)


def bins(groups: Groups) -> Iterator[tuple[str, Tensor]]:
    """Name and members of each bin of energy, of sampling fraction (quarters of the designs), and of all."""
    for energy in groups.energy.unique():
        yield f"{float(energy) / 1000:g} GeV", groups.energy == energy
    fraction = groups.sampling_fraction
    edges = torch.quantile(fraction, torch.linspace(0, 1, 5))
    for low, high in pairwise(edges):
        inside = (fraction >= low) & ((fraction < high) | (high == edges[-1]))
        yield f"fraction {float(low):.2f}-{float(high):.2f}", inside
    yield "all", torch.ones_like(fraction, dtype=torch.bool)


def mean_row(groups: Groups, name: str, inside: Tensor) -> dict[str, Any]:
    """Mean over the groups of the mean summed gap energy over primary energy."""
    mean, count = groups.mean[inside], groups.count[inside]
    error = (groups.variance[inside] * mean**2 / count).sum().sqrt() / len(mean)
    return row(
        "mean gap energy / primary energy",
        name,
        mean.mean(),
        error,
        groups.model_mean[inside].mean(),
        MEAN_LIMIT,
    )


def resolution_row(groups: Groups, name: str, inside: Tensor, weighted: bool) -> dict[str, Any]:
    """Root of the mean relative variance; the error is from the scatter of the groups.

    ``weighted``: each group with one over the variance of the surrogate, on both sides, so that all designs
    count alike. Otherwise the few designs that leak most decide nearly alone.
    """
    variance, model = groups.variance[inside], groups.model_variance[inside]
    weight = 1 / model if weighted else torch.ones_like(model)
    weight = weight / weight.sum()
    reference, found = (weight * variance).sum().sqrt(), (weight * model).sum().sqrt()
    scatter = weight * (variance - model * (reference / found) ** 2)
    error = scatter.square().sum().sqrt() / (2 * reference)
    return row(WEIGHTED if weighted else UNWEIGHTED, name, reference, error, found, RESOLUTION_LIMIT)


def row(
    quantity: str,
    name: str,
    reference: Tensor | float,
    error: Tensor | float,
    surrogate: Tensor | float,
    limit: float | None,
) -> dict[str, Any]:
    """One row of ``surrogate.json``."""
    return {
        "quantity": quantity,
        "bin": name,
        "reference": float(reference),
        "reference_standard_error": float(error),
        "surrogate": float(surrogate),
        "relative_difference": float(surrogate) / float(reference) - 1,
        "limit": limit,
    }


def validate(simulator: Simulator, phi: DesignPoint, events: Events, report: FitReport) -> dict[str, Any]:
    """The content of ``surrogate.json``, from showers of held-out designs (``n`` designs of one event)."""
    groups = compare(simulator, phi, events)
    members = list(bins(groups))
    rows = [mean_row(groups, *member) for member in members]
    rows += [resolution_row(groups, *member, weighted) for weighted in (True, False) for member in members]
    designs = len(torch.unique(phi.values, dim=0))
    notes = [
        f"Reference: {len(phi.values)} recorded showers of {designs} designs that took no part in training.",
        f"Training: {report.steps} steps, {report.seconds:.0f} s; "
        f"negative log-likelihood {report.training_loss:.2f}, "
        f"{report.held_out_loss:.2f} on other designs, held out for early stopping (best at step "
        f"{report.best_step}); the level depends on the designs.",
        "The family and the settings of the model were chosen while looking at these showers too.",
        "In the unweighted mean the designs that leak most decide nearly alone; at thin absorbers and gaps "
        "above 9 mm, longer than 400 mm, the surrogate is too wide by 20 to 50 %.",
    ]
    return {
        "title": "Surrogate of the showers against recorded showers of held-out designs",
        "rows": rows,
        "notes": notes,
    }
