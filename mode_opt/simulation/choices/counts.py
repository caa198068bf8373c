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


LARGE = 40.0
"""Rates above this are found from a normal approximation instead of term by term."""


def _term_by_term(rate: Tensor, uniform: Tensor) -> Tensor:
    """Poisson counts by adding probabilities up, for those that still have to go on."""
    count = torch.zeros_like(rate)
    going = torch.arange(rate.numel(), device=rate.device)
    term = torch.exp(-rate)
    total, k = term.clone(), 0
    # Beyond the last term that is more than rounding the sum no longer grows: the search ends there at the latest.
    while going.numel() and k < LARGE + 30 * LARGE**0.5:
        on = (total < uniform).nonzero().squeeze(1)
        going, term, total, rate, uniform = going[on], term[on], total[on], rate[on], uniform[on]
        k += 1
        count[going] = k
        term = term * rate / k
        total = total + term
    return count


def _from_normal(rate: Tensor, uniform: Tensor) -> Tensor:
    """Poisson counts near the Cornish–Fisher quantile, which is within one or two of them at any large rate."""
    z = torch.special.ndtri(uniform)
    guess = (rate + rate.sqrt() * z + (z * z - 1) / 6).round()
    return smallest_count(lambda k: torch.special.gammaincc(k + 1, rate), uniform, guess)


def _failures(times: Tensor, probability: Tensor) -> Tensor:
    """``k ln(1 − p)``: for k = 0 it is 0, with derivative 0 at p = 1 too (torch has NaN there)."""
    return torch.special.xlog1py(times, torch.where(times > 0, -probability, torch.zeros_like(probability)))


def _binomial(n: Tensor, x: Tensor, p: Tensor) -> Tensor:
    """Log-probability of x successes in n trials."""
    coefficient = torch.lgamma(n + 1) - torch.lgamma(x + 1) - torch.lgamma(n - x + 1)
    successes = torch.xlogy(x, torch.where(x > 0, p, torch.ones_like(p)))
    return coefficient + successes + _failures(n - x, p)


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
        rate, u = self.rate.detach().double().flatten(), uniform.double().flatten()
        count = torch.zeros_like(rate)
        few, many = (rate <= LARGE).nonzero().squeeze(1), (rate > LARGE).nonzero().squeeze(1)
        count[few] = _term_by_term(rate[few], u[few])
        if many.numel():
            count[many] = _from_normal(rate[many], u[many])
        return count.reshape(uniform.shape).to(uniform.dtype)

    def log_probability(self, outcome: Tensor) -> Tensor:
        safe = torch.where(self.rate > 0, self.rate, torch.ones_like(self.rate))
        impossible = torch.where(outcome > 0, -torch.inf, 0.0).to(self.rate.dtype)
        chosen = torch.where(self.rate > 0, outcome * safe.log(), impossible)
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
        self.named = {"count": self.count, **self.named}

    def valid(self) -> Tensor:
        whole = (self.count >= 0) & (self.count < torch.inf) & (self.count == self.count.round())
        return whole & (self.probability >= 0) & (self.probability <= 1)

    @property
    def expected(self) -> Tensor:
        return self.count.to(self.probability.dtype) * self.probability

    def draw(self, uniform: Tensor) -> Tensor:
        p, u = self.probability.detach().double(), uniform.double()
        # The rarer side is counted, from where the smallest number cannot reach: there nothing underflows.
        flipped = p > 0.5
        q, n = torch.where(flipped, 1 - p, p), self.count.double()
        target = torch.where(flipped, 1 - u, u)
        drawn = (n * q - 9 * (n * q * (1 - q)).sqrt()).floor().clamp_min(0)
        term = _binomial(n, drawn, q).exp()
        total = term.clone()
        # Beyond the mean, terms that round to nothing end the sum if it falls short of 1 by rounding.
        while bool((going := (total < target) & (drawn < n) & ((drawn < n * q) | (term > 1e-17))).any()):
            term = torch.where(going, term * (n - drawn) / (drawn + 1) * q / (1 - q), term)
            drawn = drawn + going
            total = torch.where(going, total + term, total)
        return torch.where(flipped, n - drawn, drawn).to(uniform.dtype)

    def log_probability(self, outcome: Tensor) -> Tensor:
        return _binomial(self.count.to(outcome.dtype), outcome, self.probability)

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
        return self.probability.log() + _failures(outcome, self.probability)

    def alternatives(self, outcome: Tensor, uniform: Tensor) -> Alternatives:
        tangent = -(outcome + 1) * self.probability / self.probability.detach()
        return Alternatives((outcome + 1).unsqueeze(0), tangent.unsqueeze(0))
