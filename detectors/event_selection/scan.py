"""Brute force: every combination of thresholds on a grid."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives import Significance, discovery_significance

from .counting import expected_limit
from .selection import Cut

LARGEST = 20_000_000
"""Combinations of thresholds that are tried at most."""


Figure = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Signal, background and its absolute uncertainty behind each combination of cuts to what is to be large."""


@final
@dataclass(frozen=True)
class Found:
    """The best combination.

    Attributes:
        thresholds: by name of the cut.
        value: of the figure, Z by default, on the events that were scanned.
        combinations: how many were tried.
    """

    thresholds: Mapping[str, float]
    value: float
    combinations: int


def least_limit(signal: Tensor, background: Tensor, uncertainty: Tensor) -> Tensor:
    """Minus the expected upper limit, a `Figure`."""
    return -expected_limit(signal, background, uncertainty, 24)


def scan(
    objective: Significance,
    events: Events,
    cuts: Mapping[str, Cut],
    points: int = 40,
    refinements: int = 2,
    figure: Figure = discovery_significance,
    systematic: bool = False,
) -> Found:
    """The combination of hard cuts with the largest Z, or another figure, on these events.

    Each cut is tried at ``points`` quantiles of its observable, the first of which is no cut; each refinement tries as
    many thresholds, evenly spaced, between the neighbours of the best one. All combinations are counted at once: the
    events are filled into a grid with one axis a cut, which is then summed from the tight end of each axis.

    Args:
        objective: with rates, uncertainty and floor.
        events: primaries of `NoisySelection`, ``b = 1``.
        cuts: by name, in the order of the features.
        points: thresholds of each cut.
        refinements: how often.
        figure: of the counts, e.g. `least_limit`.
        systematic: whether the uncertainties of spectrum and response of the background and that of the number of
            showers (`read_events`) are added in quadrature; those of the signal are left out.

    Raises:
        ConfigurationError: if there are too many combinations.
    """
    if points < 2 or points ** len(cuts) > LARGEST:
        raise ConfigurationError("points", points, f"2 or more, and points^{len(cuts)} at most {LARGEST}")
    counter = _Counter(objective, events, cuts, figure, systematic)
    quantiles = torch.linspace(0, 1, points + 1, dtype=torch.float64)[:-1]
    grid = [torch.quantile(column, quantiles) for column in counter.kept().T]
    for axis in grid:
        axis[0] -= 1.0  # below the smallest value: no cut
    value, best = counter.best(grid)
    for _ in range(refinements):
        zoomed = [_zoom(axis, int(k), points) for axis, k in zip(grid, best, strict=True)]
        finer, finer_best = counter.best(zoomed)
        if finer >= value:
            grid, value, best = zoomed, finer, finer_best
    thresholds = torch.stack([axis[int(k)] for axis, k in zip(grid, best, strict=True)]) * counter.signs
    tried = (1 + refinements) * points ** len(cuts)
    return Found(dict(zip(cuts, thresholds.tolist(), strict=True)), value, tried)


@final
class _Counter:
    """What is expected behind every combination of thresholds."""

    def __init__(
        self, objective: Significance, events: Events, cuts: Mapping[str, Cut], figure: Figure, systematic: bool
    ) -> None:
        self.objective, self.events, self.figure, self.systematic = objective, events, figure, systematic
        self.signs = torch.tensor([cut.sign for cut in cuts.values()], dtype=torch.float64)
        self.real = events.mask[0, :, 0]
        self.is_signal = events.truth[0, :, objective.target] > objective.boundary
        own = (events.hits.shape[3] - 2) // 3  # features before the decisions are three times the own and two weights
        self.starts = {-1: own, 0: 0, 1: 2 * own}

    def kept(self, tilt: int = 0) -> Tensor:
        """Observables of the real showers, ``m x c``, signed so that larger is kept; at −1 or +1: under the tilt."""
        start = self.starts[tilt]
        columns = self.events.hits[0, :, 0, start : start + len(self.signs)]
        return (self.signs * columns.double())[self.real]

    def best(self, grid: Sequence[Tensor]) -> tuple[float, Tensor]:
        """Largest figure and the index of its threshold on each axis."""
        floor = float(self.objective.yields(_all_selected(self.events))[2])
        s, b = self._expected(grid, True), self._expected(grid, False).clamp_min(floor)
        variance = (self.objective.uncertainty * b) ** 2
        if self.systematic:
            variance = variance + floor * b
            for low, high in (
                [self._expected(grid, False, tilt=sign) for sign in (-1, 1)],
                [self._expected(grid, False, spectrum=feature) for feature in (-2, -1)],
            ):
                variance = variance + ((high - low) / 2) ** 2
        value = self.figure(s, b, variance.sqrt())
        index = torch.tensor(torch.unravel_index(value.argmax(), value.shape))
        return float(value.max()), index

    def _expected(self, grid: Sequence[Tensor], signal: bool, tilt: int = 0, spectrum: int | None = None) -> Tensor:
        """Expected events of a class; of another response, or with the factors of that feature as weights."""
        member = self.is_signal if signal else ~self.is_signal
        weight = self.events.weight[0].double()
        total = weight[member].sum()
        if spectrum is not None:
            weight = weight * self.events.hits[0, :, 0, spectrum]
        rate = self.objective.signal if signal else self.objective.background
        return rate * _passing(self.kept(tilt)[member[self.real]], weight[self.real & member], grid) / total


def _zoom(axis: Tensor, index: int, points: int) -> Tensor:
    low, high = axis[max(index - 1, 0)], axis[min(index + 1, len(axis) - 1)]
    steps = torch.linspace(0, 1, points, dtype=axis.dtype)
    return torch.cat([axis[index : index + 1], low + (high - low) * steps[1:]]).sort().values


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
