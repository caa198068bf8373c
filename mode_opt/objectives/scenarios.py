"""What may be otherwise than simulated, in ways that need no new simulation."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn

from mode_opt.design import DesignPoint
from mode_opt.design.point import Layout
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events


class Scenario(nn.Module, ABC):
    """Events and designs as they would be if something were otherwise.

    A scenario acts after the simulation: on hits (what the readout makes of them), on weights (which events there
    are how many of), on what the design is taken for. Whatever changes what happens inside the detector, such as
    another magnetic field, displaced material, another physics list, another gain before a threshold, is another
    simulator: simulate it, and compare its result.
    """

    @abstractmethod
    def forward(self, events: Events, phi: DesignPoint) -> tuple[Events, DesignPoint]:
        """The events and designs of the scenario."""

    @property
    def seen(self) -> bool:
        """Whether a reconstruction sees it, so that the belief has to be made anew."""
        return True

    @property
    def separate(self) -> bool:
        """Whether each event is changed by itself, at unchanged weight."""
        return True


@final
class Nominal(Scenario):
    """Everything as simulated."""

    @property
    def seen(self) -> bool:
        return False

    def forward(self, events: Events, phi: DesignPoint) -> tuple[Events, DesignPoint]:
        return events, phi


@final
class Miscalibration(Scenario):
    """A hit feature read as ``factor · x + shift``: a gain, a pedestal, a misaligned coordinate.

    Args:
        feature: index of the hit feature.
        factor: of the reading.
        shift: in field units.
        cells: indices of the hits that are concerned; None: all. Padded hits stay 0.
    """

    def __init__(
        self, feature: int = 0, factor: float = 1.0, shift: float = 0.0, cells: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.feature, self.factor, self.shift, self.cells = feature, factor, shift, _indices(cells)

    def forward(self, events: Events, phi: DesignPoint) -> tuple[Events, DesignPoint]:
        concerned = (events.mask & _among(events, self.cells)).unsqueeze(-1)
        concerned = concerned & _only(events, self.feature)
        return replace(events, hits=torch.where(concerned, self.factor * events.hits + self.shift, events.hits)), phi


@final
class DeadCells(Scenario):
    """Channels that give nothing: their hits are 0, and masked.

    Args:
        cells: indices of the hits.
    """

    def __init__(self, cells: Sequence[int]) -> None:
        super().__init__()
        self.cells = _indices(cells) or []

    def forward(self, events: Events, phi: DesignPoint) -> tuple[Events, DesignPoint]:
        alive = ~_among(events, self.cells)
        return replace(events, hits=events.hits * alive.unsqueeze(-1), mask=events.mask & alive), phi


@final
class Noise(Scenario):
    """Gaussian noise added to a feature of every real hit, the same for all designs and at every call.

    Args:
        feature: index of the hit feature.
        sigma: in field units.
        seed: of the noise, which is that of (seed, number of events, number of hits).

    Raises:
        ConfigurationError: for a negative sigma.
    """

    def __init__(self, feature: int = 0, sigma: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        if not sigma >= 0:
            raise ConfigurationError("objective.scenarios.sigma", sigma, "0 or a positive number")
        self.feature, self.sigma, self.seed = feature, sigma, seed

    @property
    def separate(self) -> bool:
        return False

    def forward(self, events: Events, phi: DesignPoint) -> tuple[Events, DesignPoint]:
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randn(events.hits.shape[1:3], generator=generator, dtype=torch.float64)
        noise = self.sigma * drawn.to(events.hits).unsqueeze(-1) * events.mask.unsqueeze(-1)
        return replace(events, hits=events.hits + noise * _only(events, self.feature)), phi


@final
class Spectrum(Scenario):
    """Another spectrum of a truth feature: weights times a factor, linear between points and constant outside.

    Args:
        target: index of the truth feature.
        at: rising values of it, in field units.
        factor: ratio of the other spectrum to the simulated one at these values, not negative.

    Raises:
        ConfigurationError: for points that do not rise, or other than one factor each.
    """

    def __init__(self, target: int = 0, at: Sequence[float] = (0.0,), factor: Sequence[float] = (1.0,)) -> None:
        super().__init__()
        if not at or len(at) != len(factor) or any(a >= b for a, b in pairwise(at)):
            raise ConfigurationError("objective.scenarios.at", list(at), "rising values, as many as factors")
        if any(value < 0 for value in factor):
            raise ConfigurationError("objective.scenarios.factor", list(factor), "numbers that are not negative")
        self.target, self.at, self.factor = target, [float(x) for x in at], [float(x) for x in factor]

    @property
    def seen(self) -> bool:
        return False

    @property
    def separate(self) -> bool:
        return False

    def forward(self, events: Events, phi: DesignPoint) -> tuple[Events, DesignPoint]:
        return events.reweighted(self.ratio(events.truth[..., self.target].detach())), phi

    def ratio(self, truth: Tensor) -> Tensor:
        """The factor at values of the truth, any shape."""
        total = torch.full_like(truth, self.factor[0])
        for k in range(len(self.at) - 1):
            share = ((truth - self.at[k]) / (self.at[k + 1] - self.at[k])).clamp(0.0, 1.0)
            total = total + (self.factor[k + 1] - self.factor[k]) * share
        return total


@final
class MistakenDesign(Scenario):
    """The design is taken for ``factor · φ + shift`` in one parameter, by objective and reconstruction.

    A price that rises, a survey that is wrong. The events stay those of the design as it is; what follows from a
    detector that is built otherwise is another simulation.

    Args:
        parameter: its name.
        factor: of its value.
        shift: in field units.
    """

    def __init__(self, parameter: str, factor: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.parameter, self.factor, self.shift = parameter, factor, shift

    def forward(self, events: Events, phi: DesignPoint) -> tuple[Events, DesignPoint]:
        columns = self._columns(phi.layout)
        concerned = torch.zeros_like(phi.values, dtype=torch.bool)
        concerned[:, columns] = True
        return events, replace(phi, values=torch.where(concerned, self.factor * phi.values + self.shift, phi.values))

    def _columns(self, layout: Layout) -> slice:
        if self.parameter not in layout.columns or self.parameter in layout.options:
            numeric = [name for name in layout.columns if name not in layout.options]
            raise ConfigurationError("objective.scenarios.parameter", self.parameter, f"one of {', '.join(numeric)}")
        return layout.columns[self.parameter]


def _indices(cells: Sequence[int] | None) -> list[int] | None:
    return None if cells is None else [int(index) for index in cells]


def _among(events: Events, cells: list[int] | None) -> Tensor:
    """Which hits are meant, ``h``."""
    meant = torch.full((events.hits.shape[2],), cells is None, dtype=torch.bool, device=events.hits.device)
    if cells is not None:
        if any(not 0 <= index < meant.numel() for index in cells):
            raise ConfigurationError("objective.scenarios.cells", cells, f"indices below {meant.numel()}")
        meant[cells] = True
    return meant


def _only(events: Events, feature: int) -> Tensor:
    """Which features are meant, ``f``."""
    meant = torch.zeros(events.hits.shape[3], dtype=torch.bool, device=events.hits.device)
    meant[feature] = True
    return meant
