"""Where the particles that enter come from."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from mode_opt.errors import ConfigurationError
from mode_opt.events import Events


class PrimarySource(nn.Module, ABC):
    """A source of primaries: events of one design (``b = 1``), common to all designs that are simulated with them."""

    @property
    @abstractmethod
    def truth_names(self) -> tuple[str, ...]:
        """Name of each of the ``t`` truth features."""

    @property
    @abstractmethod
    def truth_units(self) -> tuple[str, ...]:
        """Unit of each of the ``t`` truth features."""

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator | None = None) -> Events:
        """``count`` primaries on the device of the generator (the CPU if there is none)."""


@final
class ParticleGun(PrimarySource):
    """One particle an event, normal incidence, energy drawn from a spectrum; truth and hit feature are the energy.

    Args:
        energy: either ``[low, high]`` in MeV, or the list of energies if the spectrum is ``lines``.
        spectrum: ``log_uniform`` (p ∝ 1/E), ``uniform`` or ``lines`` (each energy equally likely).
        stratified: draw the energies one from each of ``count`` equally likely intervals, in random order: the
            same distribution of each event, with less noise in averages.

    Raises:
        ConfigurationError: for energies that are not positive and rising, or an unknown spectrum.
    """

    def __init__(
        self, energy: Sequence[float] = (500.0, 10_000.0), spectrum: str = "log_uniform", stratified: bool = True
    ) -> None:
        super().__init__()
        energies = [float(e) for e in energy]
        if not energies or any(not math.isfinite(e) or e <= 0 for e in energies) or sorted(set(energies)) != energies:
            raise ConfigurationError("primaries.energy", list(energy), "positive, rising energies in MeV")
        if spectrum not in ("log_uniform", "uniform", "lines"):
            raise ConfigurationError("primaries.spectrum", spectrum, "log_uniform, uniform or lines")
        if spectrum != "lines" and len(energies) != 2:
            raise ConfigurationError("primaries.energy", list(energy), f"[low, high] for spectrum {spectrum}")
        self.energies, self.spectrum, self.stratified = energies, spectrum, stratified

    @property
    def truth_names(self) -> tuple[str, ...]:
        return ("energy",)

    @property
    def truth_units(self) -> tuple[str, ...]:
        return ("MeV",)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Events:
        device = "cpu" if generator is None else generator.device
        uniform = torch.rand(count, generator=generator, device=device)
        if self.stratified:
            order = torch.randperm(count, generator=generator, device=device)
            uniform = (order + uniform) / count
        energy = self._quantile(uniform).reshape(1, count, 1)
        return Events.of(truth=energy, hits=energy.unsqueeze(-1))

    def _quantile(self, uniform: torch.Tensor) -> torch.Tensor:
        if self.spectrum == "lines":
            index = (uniform * len(self.energies)).long().clamp_max(len(self.energies) - 1)
            return uniform.new_tensor(self.energies)[index]
        low, high = self.energies
        if self.spectrum == "uniform":
            return low + (high - low) * uniform
        return low * torch.exp(math.log(high / low) * uniform)


@final
class Recorded(PrimarySource):
    """Primaries replayed from recorded events, in a new random order at each call.

    No record comes twice in a sample while there are enough (of far more records than are asked for, hardly any). If
    more are asked for than there are, they come again in the same order, a multiple of `PERIOD` later: the jackknife,
    which puts every K-th event into a group, then has all repetitions of a record in one group, so that a standard
    error is that of the records and not of their repetitions. Of 40 records or more none is left out; a few of them
    come more often to fill up each pass.

    Args:
        events: the recorded primaries, ``b = 1``; their weights and masks are kept.
        names: name of each truth feature.
        units: unit of each truth feature.

    Raises:
        ConfigurationError: for no events, or names and units that do not fit the truth.
    """

    def __init__(self, events: Events, names: Sequence[str], units: Sequence[str]) -> None:
        super().__init__()
        if events.designs != 1 or events.count == 0:
            raise ConfigurationError("primaries.events", tuple(events.truth.shape), "1 design and at least one event")
        if not len(names) == len(units) == events.truth.shape[2]:
            raise ConfigurationError("primaries.names", list(names), f"{events.truth.shape[2]} names and units")
        self.events, self._names, self._units = events, tuple(names), tuple(units)

    @property
    def truth_names(self) -> tuple[str, ...]:
        return self._names

    @property
    def truth_units(self) -> tuple[str, ...]:
        return self._units

    def sample(self, count: int, generator: torch.Generator | None = None) -> Events:
        device = torch.device("cpu") if generator is None else generator.device
        return self.events.to(device).select(_replayed(self.events.count, count, generator, device))


PERIOD = 40
"""What the numbers of groups of the jackknives divide: 8, 10 and 20."""

MANY = 16
"""Times as many records as are asked for, from which on drawing with replacement repeats few."""


def _replayed(known: int, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Positions of ``count`` records out of ``known``."""
    if known >= MANY * count:
        return torch.randint(known, (count,), generator=generator, device=device)
    order = torch.randperm(known, generator=generator, device=device)
    if count <= known:
        return order[:count]
    place = torch.arange(count, device=device)
    if known < PERIOD:
        return order[place % known]
    length = -(-known // PERIOD) * PERIOD  # of a pass through all records, some of them filling it up
    turn, place = place // length, place % length
    back = PERIOD * (1 + turn % (place // PERIOD).clamp_min(1))
    return order[torch.where(place < known, place, place - back)]
