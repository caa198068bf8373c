"""Counts: how many particles, how many quanta."""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from mode_opt.simulation.choices.laws import Alternatives, Law


def smallest_count(cumulative: Callable[[Tensor], Tensor], uniform: Tensor, guess: Tensor) -> Tensor:
    """The smallest k ≥ 0 with ``cumulative(k) ≥ uniform``, searched upwards and downwards from a guess."""
    count = guess.clamp_min(0)
    low = cumulative(count) < uniform
    while bool(low.any()):
        count = count + low
        low = low & (cumulative(count) < uniform)
    high = (count > 0) & (cumulative((count - 1).clamp_min(0)) >= uniform)
    while bool(high.any()):
        count = count - high.to(count.dtype)
        high = high & (count > 0) & (cumulative((count - 1).clamp_min(0)) >= uniform)
    return count


@final
class Poisson(Law):
    """``P(N) = e^{−λ} λ^N / N!``; the outcome is a float. ``dE[f]/dλ = E[f(N + 1) − f(N)]``."""

    def __init__(self, rate: Tensor) -> None:
        super().__init__(rate=rate)
        self.rate = rate

    @property
    def expected(self) -> Tensor:
        return self.rate

    def draw(self, uniform: Tensor) -> Tensor:
        rate, u = self.rate.detach().double(), uniform.double()
        # Cornish–Fisher: within one or two of the answer, so that the search is short at any rate.
        z = torch.special.ndtri(u)
        guess = (rate + rate.sqrt() * z + (z * z - 1) / 6).round()
        positive = rate.clamp_min(1e-300)
        count = smallest_count(lambda k: torch.special.gammaincc(k + 1, positive), u, guess)
        return torch.where(rate > 0, count, torch.zeros_like(count)).to(uniform.dtype)

    def log_probability(self, outcome: Tensor) -> Tensor:
        safe = torch.where(self.rate > 0, self.rate, torch.ones_like(self.rate))
        chosen = torch.where(self.rate > 0, outcome * safe.log(), torch.zeros_like(self.rate))
        return chosen - self.rate - torch.lgamma(outcome + 1)

    def alternatives(self, outcome: Tensor, uniform: Tensor) -> Alternatives:
        return Alternatives((outcome + 1).unsqueeze(0), self.rate.unsqueeze(0))


@final
class Binomial(Law):
    """``P(x) = C(n, x) p^x (1 − p)^{n−x}``; the number of trials n is given, the outcome is a float.

    Alternatives are one more, for each of the n − x misses, and one less, for each of the x hits: n coins turned
    over one at a time.
    """

    def __init__(self, count: Tensor, probability: Tensor) -> None:
        super().__init__(probability=probability.expand(torch.broadcast_shapes(count.shape, probability.shape)))
        self.count, self.probability = count.detach().expand(self.shape), self.parameters[0]

    def valid(self) -> Tensor:
        return (self.probability >= 0) & (self.probability <= 1)

    @property
    def expected(self) -> Tensor:
        return self.count.to(self.probability.dtype) * self.probability

    def draw(self, uniform: Tensor) -> Tensor:
        p, u = self.probability.detach().double(), uniform.double()
        # The rarer side is counted, so that the first term does not underflow before p n ~ 700.
        flipped = p > 0.5
        q, n = torch.where(flipped, 1 - p, p), self.count.double()
        target = torch.where(flipped, 1 - u, u)
        term = torch.exp(n * torch.log1p(-q))
        total, drawn = term.clone(), torch.zeros_like(term)
        for k in range(int(n.max()) if n.numel() else 0):
            going = (total < target) & (drawn < n)
            if not bool(going.any()):
                break
            drawn = drawn + going
            term = term * ((n - k) / (k + 1)).clamp_min(0) * q / (1 - q)
            total = total + term
        return torch.where(flipped, n - drawn, drawn).to(uniform.dtype)

    def log_probability(self, outcome: Tensor) -> Tensor:
        n, x = self.count.to(outcome.dtype), outcome
        coefficient = torch.lgamma(n + 1) - torch.lgamma(x + 1) - torch.lgamma(n - x + 1)
        return coefficient + torch.xlogy(x, self.probability) + torch.xlogy(n - x, 1 - self.probability)

    def alternatives(self, outcome: Tensor, uniform: Tensor) -> Alternatives:
        more, fewer = self.count.to(outcome.dtype) - outcome, outcome
        values = torch.stack([(outcome + 1).minimum(self.count.to(outcome.dtype)), (outcome - 1).clamp_min(0)])
        return Alternatives(values, torch.stack([more * self.probability, -fewer * self.probability]))


@final
class Geometric(Law):
    """``P(x) = p (1 − p)^x``: failures before the first success. ``dE[f]/dp = E[(x + 1)/p (f(x) − f(x + 1))]``."""

    def __init__(self, probability: Tensor) -> None:
        super().__init__(probability=probability)
        self.probability = probability

    def valid(self) -> Tensor:
        return (self.probability > 0) & (self.probability <= 1)

    @property
    def expected(self) -> Tensor:
        return (1 - self.probability) / self.probability

    def draw(self, uniform: Tensor) -> Tensor:
        misses = torch.log1p(-uniform.double()) / torch.log1p(-self.probability.detach().double())
        return misses.floor().clamp_min(0).to(uniform.dtype)

    def log_probability(self, outcome: Tensor) -> Tensor:
        return self.probability.log() + torch.special.xlog1py(outcome, -self.probability)

    def alternatives(self, outcome: Tensor, uniform: Tensor) -> Alternatives:
        tangent = -(outcome + 1) * self.probability / self.probability.detach()
        return Alternatives((outcome + 1).unsqueeze(0), tangent.unsqueeze(0))
