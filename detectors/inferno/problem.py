"""The synthetic problem of INFERNO: a signal over a background whose shape is not known."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import PrimarySource

BENCHMARKS: Final[Mapping[int, Mapping[str, float | None]]] = {
    0: {},
    1: {"shift": None},
    2: {"shift": None, "rate": None},
    3: {"shift": 0.4, "rate": 1.0},
    4: {"shift": 0.4, "rate": 1.0, "yield": 100.0},
}
"""Unknown parameters of the background and the standard deviation of what is known of them; None: nothing."""


@dataclass(frozen=True)
class Mixture:
    r"""Densities of one event :math:`x = (x_0, x_1, x_2)` of signal and background.

    .. math:: f_s = N\big((0, 0), 1\big) \times \mathrm{Exp}(2), \qquad
        f_b = N\big((2 + r, 0), \operatorname{diag}(5, 9)\big) \times \mathrm{Exp}(\lambda)

    with r = 0 and λ = 3, which are unknown (``shift`` and ``rate``), as may be the number of background events
    (``yield``). The text of the paper says that the signal is at (1, 1); the code of its authors, whose numbers the
    paper gives, has it at (0, 0).

    Attributes:
        signal: expected signal events, s, the parameter of interest.
        background: expected background events, b.
        distance: of the background from the signal in :math:`x_0`.
        variances: of the background in :math:`x_0, x_1`; those of the signal are 1.
        signal_rate: of the exponential of the signal.
        rate: λ.

    Source: P. de Castro and T. Dorigo, "INFERNO: inference-aware neural optimisation", Comput. Phys. Commun. 244
    (2019) 170, arXiv 1806.04743, section 5.1.
    """

    signal: float = 50.0
    background: float = 1000.0
    distance: float = 2.0
    variances: tuple[float, float] = (5.0, 9.0)
    signal_rate: float = 2.0
    rate: float = 3.0

    def log_ratio(self, hits: Tensor) -> Tensor:
        """``ln f_s − ln f_b``, ``...``, of ``... x 3`` observables that are measured without error."""
        x, y, z = hits.unbind(-1)
        one, other = self.variances
        shapes = ((x - self.distance) ** 2 / one + y**2 / other - x**2 - y**2) / 2
        constant = math.log(one * other) / 2 + math.log(self.signal_rate / self.rate)
        return shapes + constant + (self.rate - self.signal_rate) * z


def known(benchmark: int) -> Mapping[str, float | None]:
    """Unknown parameters of a benchmark, as in `BENCHMARKS`.

    Raises:
        ConfigurationError: for a benchmark that there is not.
    """
    if benchmark not in BENCHMARKS:
        raise ConfigurationError("detector.benchmark", benchmark, "one of 0, 1, 2, 3, 4")
    return BENCHMARKS[benchmark]


@final
class MixtureSource(PrimarySource):
    """As many signal as background events, on average; truth ``signal`` (1 or 0), one hit with the three observables.

    Args:
        mixture: the densities.
    """

    def __init__(self, mixture: Mixture | None = None) -> None:
        super().__init__()
        self.mixture = mixture or Mixture()

    @property
    def truth_names(self) -> tuple[str, ...]:
        return ("signal",)

    @property
    def truth_units(self) -> tuple[str, ...]:
        return ("",)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Events:
        device = "cpu" if generator is None else generator.device
        uniform = torch.rand(2, count, generator=generator, device=device)
        normal = torch.randn(2, count, generator=generator, device=device)
        is_signal = uniform[0] < 0.5
        one, other = (math.sqrt(variance) for variance in self.mixture.variances)
        x = torch.where(is_signal, normal[0], self.mixture.distance + one * normal[0])
        y = torch.where(is_signal, normal[1], other * normal[1])
        z = -torch.log1p(-uniform[1]) / torch.where(is_signal, self.mixture.signal_rate, self.mixture.rate)
        truth = is_signal.to(x.dtype).reshape(1, count, 1)
        return Events.of(truth, torch.stack([x, y, z], -1).reshape(1, count, 1, 3))
