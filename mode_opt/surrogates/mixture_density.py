"""Mixtures of Gaussians whose samples carry exact pathwise derivatives."""

import math
from typing import final

import torch
from torch import Tensor, nn

from mode_opt.surrogates.density import ConditionalDensity
from mode_opt.surrogates.networks import Perceptron

Mixture = tuple[Tensor, Tensor, Tensor]
"""Weights, means and scales of the components, ``m x components`` each."""


@final
class MixtureDensity(ConditionalDensity):
    """``u_i = Φ⁻¹(F_i(x_i | x_1 … x_{i-1}, c))``, F_i the distribution function of a mixture of Gaussians.

    Samples solve ``F(x) = Φ(u)`` by bisection; their derivative is the implicit one, ``dx/dθ = −(∂F/∂θ) / p(x)``
    (Figurnov, Mohamed and Mnih, NeurIPS 2018, arXiv:1805.08498), in which the choice of a component costs neither
    bias nor a score. A broad component of fixed weight bounds the density between far modes from below, and so the
    variance of that derivative.

    Args:
        features: ``k``.
        conditions: ``c``.
        components: of each feature, besides the broad one.
        hidden: width of the networks.
        background: weight of the broad component, which has mean and variance of all the others together.
    """

    def __init__(
        self, features: int, conditions: int, components: int = 3, hidden: int = 24, background: float = 0.01
    ) -> None:
        super().__init__(features)
        self.components, self.background = components, background
        self.networks = nn.ModuleList(Perceptron(conditions + i, hidden, 3 * components) for i in range(features))
        # Components start apart, as equal ones stay equal, and together have the variance 1.
        self.register_buffer("start", torch.linspace(-0.8, 0.8, components) if components > 1 else torch.zeros(1))

    start: Tensor

    def reset(self, generator: torch.Generator) -> None:
        for network in self.networks:
            assert isinstance(network, Perceptron)
            network.reset(generator)

    def _mixture(self, index: int, condition: Tensor) -> Mixture:
        logits, mean, scale = self.networks[index](condition).chunk(3, dim=1)
        weight, mean = torch.softmax(logits, dim=1), mean + self.start
        scale = (1 - (self.start**2).mean()).sqrt() * torch.exp(2.5 * torch.tanh(scale / 2.5))
        middle = (weight * mean).sum(1, keepdim=True)
        broad = (weight * (scale**2 + (mean - middle) ** 2)).sum(1, keepdim=True).sqrt()
        weight = torch.cat([(1 - self.background) * weight, torch.full_like(middle, self.background)], dim=1)
        return weight, torch.cat([mean, middle], dim=1), torch.cat([scale, broad], dim=1)

    def log_prob(self, x: Tensor, condition: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        for i in range(self.features):
            mixture = self._mixture(i, torch.cat([condition, x[:, :i]], dim=1))
            total = total + _log_density(x[:, i], mixture)
        return total

    def normalise(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        noise, volume = [], x.new_zeros(len(x))
        for i in range(self.features):
            mixture = self._mixture(i, torch.cat([condition, x[:, :i]], dim=1))
            u = torch.special.ndtri(_distribution(x[:, i].double(), mixture).clamp(1e-15, 1 - 1e-15))
            noise.append(u.to(x.dtype))
            volume = volume + _log_density(x[:, i], mixture) + 0.5 * u.to(x.dtype) ** 2
        return torch.stack(noise, dim=1), volume + 0.5 * self.features * math.log(2 * math.pi)

    def generate(self, u: Tensor, condition: Tensor) -> Tensor:
        known = condition
        for i in range(self.features):
            x = _quantile(torch.special.ndtr(u[:, i].double()), self._mixture(i, known))
            known = torch.cat([known, x.to(u.dtype)[:, None]], dim=1)
        return known[:, condition.shape[1] :]


def _log_density(x: Tensor, mixture: Mixture) -> Tensor:
    weight, mean, scale = mixture
    exponent = -0.5 * ((x[:, None] - mean) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)
    return torch.logsumexp(exponent + weight.clamp_min(1e-30).log(), dim=1)


def _distribution(x: Tensor, mixture: Mixture) -> Tensor:
    weight, mean, scale = mixture
    return (weight * torch.special.ndtr((x[:, None] - mean) / scale)).sum(1)


def _quantile(probability: Tensor, mixture: Mixture, halvings: int = 24, polish: int = 3) -> Tensor:
    """``x`` with ``F(x) = probability``, its derivative implicit; in double precision, for the tails."""
    wide = (mixture[0].double(), mixture[1].double(), mixture[2].double())
    weight, mean, scale = wide
    fixed = (weight.detach() / weight.detach().sum(1, keepdim=True), mean.detach(), scale.detach())
    with torch.no_grad():
        p = probability.detach()
        low, high = (mean - 9 * scale).amin(1), (mean + 9 * scale).amax(1)
        for _ in range(halvings):
            middle = 0.5 * (low + high)
            below = _distribution(middle, fixed) < p
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        x = 0.5 * (low + high)
        for _ in range(polish):
            x = (x - (_distribution(x, fixed) - p) / _log_density(x, fixed).exp()).clamp(low, high)
        density = _log_density(x, fixed).exp()
    return x - (_distribution(x, wide) - probability) / density
