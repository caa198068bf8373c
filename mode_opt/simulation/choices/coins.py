"""Coins and classes: hit or miss, which process."""

from typing import final

import torch
from torch import Tensor

from mode_opt.simulation.choices.laws import Alternatives, RelaxableLaw


def _logit(uniform: Tensor) -> Tensor:
    return uniform.log() - torch.log1p(-uniform)


@final
class Bernoulli(RelaxableLaw):
    """``P(1) = p``; outcomes are 0.0 and 1.0.

    The alternative is the other side, whatever was drawn: ``dE[f]/dp = E[f|1] − E[f|0]`` for either outcome, with
    weights that stay bounded as p → 0 or 1.

    Relaxation: ``sigmoid((logit p + logit u)/T)``, Maddison et al., arXiv 1611.00712. Given the outcome, u is
    uniform in ``(1 − p, 1)`` or ``(0, 1 − p)``, Tucker et al., arXiv 1703.07370.
    """

    def __init__(self, probability: Tensor) -> None:
        super().__init__(probability=probability)
        self.probability = probability

    def valid(self) -> Tensor:
        return (self.probability >= 0) & (self.probability <= 1)

    def draw(self, uniform: Tensor) -> Tensor:
        return (uniform > 1 - self.probability.detach()).to(uniform.dtype)

    def log_probability(self, outcome: Tensor) -> Tensor:
        # Of two branches only the drawn one is evaluated at a probability that can be zero.
        drawn = torch.where(outcome > 0.5, self.probability, 1 - self.probability)
        return drawn.log()

    def alternatives(self, outcome: Tensor, uniform: Tensor) -> Alternatives:
        other = 1 - outcome
        return Alternatives(other.unsqueeze(0), ((1 - 2 * outcome) * self.probability).unsqueeze(0))

    @property
    def mean(self) -> Tensor:
        return self.probability

    @property
    def expected(self) -> Tensor:
        return self.probability

    def relaxed(self, uniform: Tensor, temperature: float) -> Tensor:
        tiny = torch.finfo(uniform.dtype).eps
        p = self.probability.clamp(tiny, 1 - tiny)
        return torch.sigmoid((_logit(p) + _logit(uniform)) / temperature)

    @property
    def width(self) -> int | None:
        return None

    def hardened(self, uniform: Tensor) -> Tensor:
        return self.draw(uniform)

    def given(self, outcome: Tensor, uniform: Tensor) -> Tensor:
        # One: (1 − u)/p stays. Zero: u/(1 − p) stays. The probability of what was not drawn may be zero.
        drawn = torch.where(outcome > 0.5, self.probability, 1 - self.probability).detach()
        place = torch.where(outcome > 0.5, 1 - uniform, uniform) / drawn
        return uniform - place * (self.probability - self.probability.detach())


@final
class Categorical(RelaxableLaw):
    """``P(c) = p_c`` over the last axis; the outcome is one-hot.

    The parameters are probabilities, normalised here. Alternatives are all classes, with tangent p_c: since the
    tangents of a normalised vector sum to zero, ``Σ_c dp_c (f(c) − f(x))`` is unbiased whatever x is.

    Relaxation: ``softmax((ln p + G)/T)`` with Gumbel numbers ``G = −ln(−ln u)``, Jang et al., arXiv 1611.01144. The
    largest key is the first arrival of independent exponential clocks with rates p_c; given it, the other clocks
    start anew there, Tucker et al., arXiv 1703.07370, appendix C.
    """

    def __init__(self, probabilities: Tensor) -> None:
        super().__init__(probabilities=probabilities)
        self.probabilities = probabilities / probabilities.sum(-1, keepdim=True)

    @property
    def shape(self) -> torch.Size:
        return self.probabilities.shape[:-1]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.probabilities.shape[-1]

    def valid(self) -> Tensor:
        p = self.named["probabilities"]
        valid = (p >= 0) & (p < float("inf"))
        return valid & (~valid.all(-1, keepdim=True) | (p.sum(-1, keepdim=True) > 0))

    def draw(self, uniform: Tensor) -> Tensor:
        cumulative = self.probabilities.detach().cumsum(-1)
        index = (uniform.unsqueeze(-1) * cumulative[..., -1:] > cumulative).sum(-1).clamp_max(self.classes - 1)
        return torch.nn.functional.one_hot(index, self.classes).to(uniform.dtype)

    def log_probability(self, outcome: Tensor) -> Tensor:
        return torch.where(outcome > 0.5, self.probabilities, torch.zeros_like(outcome)).sum(-1).log()

    def alternatives(self, outcome: Tensor, uniform: Tensor) -> Alternatives:
        one_hot = torch.eye(self.classes, dtype=outcome.dtype, device=outcome.device)
        shape = (self.classes, *(1 for _ in self.shape), self.classes)
        others = one_hot.reshape(shape).expand(self.classes, *outcome.shape)
        return Alternatives(others, self.probabilities.movedim(-1, 0))

    def encode(self, outcome: Tensor) -> Tensor:
        return outcome.argmax(-1).to(outcome.dtype)

    def decode(self, number: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(number.long(), self.classes).to(number.dtype)

    @property
    def mean(self) -> Tensor:
        return self.probabilities

    @property
    def expected(self) -> Tensor:
        number = torch.arange(self.classes, dtype=self.probabilities.dtype, device=self.probabilities.device)
        return (self.probabilities * number).sum(-1)

    def _logarithms(self, dtype: torch.dtype) -> Tensor:
        return self.probabilities.clamp_min(torch.finfo(dtype).tiny).log()

    def relaxed(self, uniform: Tensor, temperature: float) -> Tensor:
        gumbel = -(-uniform.log()).log()
        return torch.softmax((self._logarithms(uniform.dtype) + gumbel) / temperature, -1)

    @property
    def width(self) -> int | None:
        return self.classes

    def hardened(self, uniform: Tensor) -> Tensor:
        keys = self._logarithms(uniform.dtype).detach() - (-uniform.log()).log()
        return torch.nn.functional.one_hot(keys.argmax(-1), self.classes).to(uniform.dtype)

    def given(self, outcome: Tensor, uniform: Tensor) -> Tensor:
        # Class c arrives at −ln u_c/p_c. The first arrival stays where it is, and so do the times, in units of
        # 1/p_c, that the others come later.
        p = self.probabilities
        waiting = -uniform.log()
        first = ((waiting / p.detach().clamp_min(torch.finfo(p.dtype).tiny)) * outcome).sum(-1, keepdim=True)
        return uniform * torch.exp(-first * (p - p.detach()))
