"""Real numbers: free paths and smeared measurements."""

import math
from typing import final

import torch
from torch import Tensor

from mode_opt.simulation.choices.laws import Alternatives, SmoothLaw


@final
class Exponential(SmoothLaw):
    """``p(s) = λ e^{−λ s}``: a free path for the inverse mean free path λ.

    Weak derivative: ``dE[f]/dλ = (E[f(s)] − E[f(s + s')])/λ`` with s' distributed like s, because ``s + s'``
    follows the Gamma law that is the negative part.

    Source: S. Mohamed et al., "Monte Carlo gradient estimation in machine learning", arXiv 1906.10652, table 1.
    """

    def __init__(self, rate: Tensor) -> None:
        super().__init__(rate=rate)
        self.rate = rate

    def valid(self) -> Tensor:
        return (self.rate > 0) & (self.rate < math.inf)

    @property
    def expected(self) -> Tensor:
        return 1 / self.rate

    def transform(self, uniform: Tensor) -> Tensor:
        return -torch.log1p(-uniform) / self.rate

    def log_probability(self, outcome: Tensor) -> Tensor:
        return self.rate.log() - self.rate * outcome

    def alternatives(self, outcome: Tensor, uniform: Tensor) -> Alternatives:
        rate = self.rate.detach()
        return Alternatives((outcome - uniform.log() / rate).unsqueeze(0), (-self.rate / rate).unsqueeze(0))


@final
class Gaussian(SmoothLaw):
    """Normal law of mean μ and standard deviation σ > 0.

    Weak derivatives: of the mean, ``(E[f(μ + σ W)] − E[f(μ − σ W)])/(σ √(2π))`` with a Rayleigh number W; of σ,
    ``(E[f(μ + σ M)] − E[f(x)])/σ`` with a Maxwell number M of either sign.

    Source: S. Mohamed et al., arXiv 1906.10652, table 1.
    """

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        mean, deviation = torch.broadcast_tensors(mean, deviation)
        super().__init__(mean=mean, deviation=deviation)
        self.mean, self.deviation = mean, deviation

    def valid(self) -> Tensor:
        return torch.isfinite(self.mean) & (self.deviation > 0) & (self.deviation < math.inf)

    @property
    def expected(self) -> Tensor:
        return self.mean

    def transform(self, uniform: Tensor) -> Tensor:
        return self.mean + self.deviation * torch.special.ndtri(uniform)

    def log_probability(self, outcome: Tensor) -> Tensor:
        residual = (outcome - self.mean) / self.deviation
        return -0.5 * residual**2 - self.deviation.log() - 0.5 * math.log(2 * math.pi)

    def alternatives(self, outcome: Tensor, uniform: Tensor) -> Alternatives:
        mean, deviation = self.mean.detach(), self.deviation.detach()
        rayleigh = deviation * (-2 * uniform.log()).sqrt()
        # The Maxwell number is x with the square of a radius added: three normal components instead of one.
        offset = outcome - mean
        radius = (offset**2 + rayleigh**2).sqrt()
        maxwell = torch.where(offset < 0, -radius, radius)
        slope = self.mean / (deviation * math.sqrt(2 * math.pi))
        values = torch.stack([mean + rayleigh, mean - rayleigh, mean + maxwell])
        return Alternatives(values, torch.stack([slope, -slope, self.deviation / deviation]))
