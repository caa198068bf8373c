"""Brute force: every combination of thresholds on a grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives import Significance, discovery_significance

from .selection import Cut

LARGEST = 20_000_000
"""Combinations of thresholds that are tried at most."""


@final
@dataclass(frozen=True)
class Found:
    """The best combination.

    Attributes:
        thresholds: by name of the cut.
        significance: Z on the events that were scanned.
        combinations: how many were tried.
    """

    thresholds: Mapping[str, float]
    significance: float
    combinations: int


def scan(
    objective: Significance, events: Events, cuts: Mapping[str, Cut], points: int = 40, refinements: int = 2
) -> Found:
    """The combination of hard cuts with the largest Z on these events.

    Each cut is tried at ``points`` quantiles of its observable, the first of which is no cut; each refinement tries as
    many thresholds, evenly spaced, between the neighbours of the best one. All combinations are counted at once: the
    events are filled into a grid with one axis a cut, which is then summed from the tight end of each axis.

    Args:
        objective: with rates, uncertainty and floor.
        events: primaries of `NoisySelection`, ``b = 1``.
        cuts: by name, in the order of the features.
        points: thresholds of each cut.
        refinements: how often.

    Raises:
        ConfigurationError: if there are too many combinations.
    """
    if points < 2 or points ** len(cuts) > LARGEST:
        raise ConfigurationError("points", points, f"2 or more, and points^{len(cuts)} at most {LARGEST}")
    signs = torch.tensor([cut.sign for cut in cuts.values()], dtype=torch.float64)
    real = events.mask[0, :, 0]
    kept = (signs * events.hits[0, :, 0].double())[real]  # larger is kept
    quantiles = torch.linspace(0, 1, points + 1, dtype=torch.float64)[:-1]
    grid = [torch.quantile(column, quantiles) for column in kept.T]
    for axis in grid:
        axis[0] -= 1.0  # below the smallest value: no cut
    significance, best = _best(objective, events, kept, grid)
    for _ in range(refinements):
        zoomed = [_zoom(axis, int(k), points) for axis, k in zip(grid, best, strict=True)]
        finer, finer_best = _best(objective, events, kept, zoomed)
        if finer >= significance:
            grid, significance, best = zoomed, finer, finer_best
    thresholds = torch.stack([axis[int(k)] for axis, k in zip(grid, best, strict=True)]) * signs
    tried = (1 + refinements) * points ** len(cuts)
    return Found(dict(zip(cuts, thresholds.tolist(), strict=True)), significance, tried)


def _zoom(axis: Tensor, index: int, points: int) -> Tensor:
    low, high = axis[max(index - 1, 0)], axis[min(index + 1, len(axis) - 1)]
    steps = torch.linspace(0, 1, points, dtype=axis.dtype)
    return torch.cat([axis[index : index + 1], low + (high - low) * steps[1:]]).sort().values


def _best(objective: Significance, events: Events, kept: Tensor, grid: Sequence[Tensor]) -> tuple[float, Tensor]:
    """Largest Z and the index of its threshold on each axis."""
    is_signal = events.truth[0, :, objective.target] > objective.boundary
    weight, real = events.weight[0].double(), events.mask[0, :, 0]
    s, b = (
        rate * _passing(kept[member[real]], weight[real & member], grid) / weight[member].sum()
        for rate, member in ((objective.signal, is_signal), (objective.background, ~is_signal))
    )
    floor = float(objective.yields(_all_selected(events))[2])
    b = b.clamp_min(floor)
    z = discovery_significance(s, b, objective.uncertainty * b)
    index = torch.tensor(torch.unravel_index(z.argmax(), z.shape))
    return float(z.max()), index


def _all_selected(events: Events) -> Events:
    return Events(events.truth, torch.ones_like(events.hits), events.mask, events.weight)


def _passing(values: Tensor, weight: Tensor, grid: Sequence[Tensor]) -> Tensor:
    """Sum of weights with ``value > threshold`` on every axis, for every combination of thresholds."""
    shape = [len(axis) for axis in grid]
    flat, inside = torch.zeros(len(values), dtype=torch.int64), torch.ones(len(values), dtype=torch.bool)
    for axis, column in zip(grid, values.T, strict=True):
        passed = torch.searchsorted(axis, column.contiguous())  # thresholds that are exceeded
        flat, inside = flat * len(axis) + passed - 1, inside & (passed > 0)
    counts = torch.bincount(flat[inside], weight[inside], minlength=int(torch.tensor(shape).prod())).reshape(shape)
    for dimension in range(len(shape)):
        counts = counts.flip(dimension).cumsum(dimension).flip(dimension)
    return counts
