"""Small programs whose gradients have a closed form."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.events import Events
from mode_opt.gradients import Score
from mode_opt.simulation import BranchingProgram, Children, Choices, Deposits, Program, Simulator, Step

Draw = Callable[[DesignPoint, Choices], Tensor]


class Formula(Program):
    """One hit an event, ``b x n`` or ``b x n x f`` numbers of a formula of choices."""

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        self.draw = draw

    def run(self, phi: DesignPoint, primaries: Events, choices: Choices) -> Events:
        hits = self.draw(phi, choices)
        hits = (hits if hits.ndim == 3 else hits.unsqueeze(-1)).unsqueeze(2)
        return replace(primaries, hits=hits, mask=torch.ones(hits.shape[:3], dtype=torch.bool))


class Offspring(BranchingProgram):
    """Each particle splits with probability p, else goes on (or dies); those after n steps are counted."""

    def __init__(self, generations: int, dies: bool) -> None:
        super().__init__(cells=1)
        self.generations, self.dies = generations, dies

    def start(self, phi, primaries, choices):
        particles = torch.arange(phi.designs * primaries.count)
        return particles, {"age": torch.zeros(len(particles), dtype=torch.int64)}

    def step(self, phi, state, choices):
        split = choices.bernoulli(phi["p"][:, 0]) > 0.5
        age = state["age"] + 1
        last = age >= self.generations
        left = 2.0 * split if self.dies else 1.0 + split
        deposits = Deposits(torch.zeros_like(age), torch.where(last, left, torch.zeros_like(left)))
        parents = (split & ~last).nonzero().squeeze(1)
        alive = ~last & split if self.dies else ~last
        return Step({"age": age}, alive, [Children(parents, {"age": age[parents]})], [deposits])


def mean(function: Callable[[Tensor], Tensor]) -> Score:
    """The weighted mean over events of a function of the hit, ``b x n``."""

    def score(events: Events, phi: DesignPoint) -> Tensor:
        values = function(events.hits[:, :, 0, 0])
        return (events.weight * values).sum(-1) / events.weight.sum(-1)

    return score


@dataclass(frozen=True)
class Problem:
    """A program, an objective and what is known about it.

    Attributes:
        name: for messages.
        simulator: the program.
        start: the design, by parameter.
        score: the objective.
        value: J.
        exact_gradient: dJ/dφ, one a parameter.
        plain: what automatic differentiation of the drawn values makes of it.
        twin: a smooth simulator that draws the same choices, or None if there is no useful one.
        labels: whether the truth of every other event is 1, else all are 0.
    """

    name: str
    simulator: Simulator
    start: dict[str, float]
    score: Score
    value: float
    exact_gradient: tuple[float, ...]
    plain: tuple[float, ...]
    twin: Simulator | None = None
    labels: bool = False

    def design(self) -> Design:
        """Wide bounds: what matters is the derivative at the start."""
        spec = {name: {"start": start, "bounds": [0.0, 4.0 * start]} for name, start in self.start.items()}
        return Design(spec)

    def primaries(self, count: int) -> Events:
        """Events without hits; with ``labels``, the truth is 1 for every other one."""
        truth = torch.zeros(1, count, 1)
        if self.labels:
            truth[:, ::2] = 1.0
        return Events.of(truth, torch.zeros(1, count, 1, 1))


def row(phi: DesignPoint, name: str, choices: Choices) -> Tensor:
    """A parameter, ``b x n``."""
    return phi[name].expand(choices.shape)


def bernoulli() -> Problem:
    """f(0) = 1, f(1) = 4: J = 1 + 3p."""
    program = Formula(lambda phi, choices: choices.bernoulli(row(phi, "p", choices)))
    return Problem("Bernoulli", program, {"p": 0.3}, mean(lambda x: (x + 1) ** 2), 1.9, (3.0,), (0.0,), program)


def categorical() -> Problem:
    """Classes with probabilities p, p², 1 − p − p² and hits 1, 5, 2; mean square hit."""
    hits = torch.tensor([1.0, 5.0, 2.0])

    def draw(phi: DesignPoint, choices: Choices) -> Tensor:
        p = row(phi, "p", choices)
        return choices.categorical(torch.stack([p, p**2, 1 - p - p**2], -1)) @ hits

    p, program = 0.3, Formula(draw)
    value, slope = p + 25 * p**2 + 4 * (1 - p - p**2), -3 + 42 * p
    return Problem("categorical", program, {"p": p}, mean(torch.square), value, (slope,), (0.0,), program)


def two_coins() -> Problem:
    """The probability of the second coin depends on the first: ``p₂ = p/2 + b₁/4``; f = (1 + b₁ + 2 b₂)²."""

    def draw(phi: DesignPoint, choices: Choices) -> Tensor:
        p = row(phi, "p", choices)
        first = choices.bernoulli(p)
        return 1 + first + 2 * choices.bernoulli(p / 2 + first / 4)

    p, program = 0.4, Formula(draw)
    q0, q1 = p / 2, p / 2 + 0.25
    f0, f1 = 1 + 8 * q0, 4 + 12 * q1
    slope = f1 - f0 + 0.5 * (8 * (1 - p) + 12 * p)
    value = (1 - p) * f0 + p * f1
    return Problem("two coins", program, {"p": p}, mean(torch.square), value, (slope,), (0.0,), program)


def binomial() -> Problem:
    n, p = 5, 0.3
    program = Formula(lambda phi, choices: choices.binomial(torch.full(choices.shape, 5.0), row(phi, "p", choices)))
    value, slope = n * p * (1 - p) + (n * p) ** 2, n * (1 - 2 * p) + 2 * n**2 * p
    return Problem("binomial", program, {"p": p}, mean(torch.square), value, (slope,), (0.0,))


def geometric() -> Problem:
    p = 0.4
    program = Formula(lambda phi, choices: choices.geometric(row(phi, "p", choices)))
    return Problem("geometric", program, {"p": p}, mean(lambda x: x), (1 - p) / p, (-1 / p**2,), (0.0,))


def poisson(kind: str) -> Problem:
    """N², 1/(1 + N) or P(N ≥ 2)."""
    rate = 2.0
    e = math.exp(-rate)
    function, value, slope = {
        "square": (torch.square, rate + rate**2, 2 * rate + 1),
        "inverse": (lambda n: 1 / (1 + n), (1 - e) / rate, (e * (rate + 1) - 1) / rate**2),
        "tail": (lambda n: (n >= 2).to(n.dtype), 1 - e * (1 + rate), e * rate),
    }[kind]
    program = Formula(lambda phi, choices: choices.poisson(row(phi, "rate", choices)))
    return Problem(f"Poisson {kind}", program, {"rate": rate}, mean(function), value, (slope,), (0.0,))


def compound_poisson() -> Problem:
    """Σ of N ~ Poisson(λ) exponential marks of mean μ, squared: 2λμ² + λ²μ². The marks are reparameterised."""
    most = 20  # P(N > 20) ~ 1e-16

    def draw(phi: DesignPoint, choices: Choices) -> Tensor:
        count = choices.poisson(row(phi, "rate", choices))
        marks = -choices.uniform(most).log() * phi["mark"].unsqueeze(-1)
        return (marks * (torch.arange(most) < count.unsqueeze(-1))).sum(-1)

    rate, mu = 1.5, 0.8
    value = (2 * rate + rate**2) * mu**2
    slope = (2 + 2 * rate) * mu**2, 2 * (2 * rate + rate**2) * mu
    start = {"rate": rate, "mark": mu}
    return Problem("compound Poisson", Formula(draw), start, mean(torch.square), value, slope, (0.0, slope[1]))


def threshold() -> Problem:
    """x ~ N(m, s): P(x > 1); the twin has a soft cut."""

    def normal(phi: DesignPoint, choices: Choices) -> Tensor:
        return choices.gaussian(row(phi, "m", choices), row(phi, "s", choices))

    m, s = 0.5, 1.2
    u = (m - 1) / s
    density = math.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    program = Formula(lambda phi, choices: (normal(phi, choices) > 1).float())
    soft = Formula(lambda phi, choices: torch.sigmoid(4 * (normal(phi, choices) - 1)))
    value, slope = 0.5 * math.erfc(-u / math.sqrt(2)), (density / s, -u * density / s)
    return Problem("threshold", program, {"m": m, "s": s}, mean(lambda x: x), value, slope, (0.0, 0.0), soft)


def rejection() -> Problem:
    """Propose N(m, 1), accept with exp(−c x²/2): N(m/(1+c), 1/(1+c)); E x² = 1/(1+c) + m²/(1+c)²."""

    def draw(phi: DesignPoint, choices: Choices) -> Tensor:
        m, c = (row(phi, name, choices).flatten() for name in ("m", "c"))
        return choices.accepted(
            lambda some, index: some.gaussian(m[index], torch.ones_like(m[index])),
            lambda x, index: torch.exp(-c[index] * x**2 / 2),
        )

    m, c = 0.8, 1.0
    value = 1 / (1 + c) + m**2 / (1 + c) ** 2
    slope = 2 * m / (1 + c) ** 2, -1 / (1 + c) ** 2 - 2 * m**2 / (1 + c) ** 3
    start = {"m": m, "c": c}
    return Problem("accept/reject", Formula(draw), start, mean(torch.square), value, slope, (0.0, 0.0))


def _asimov(s: Tensor, b: Tensor) -> Tensor:
    return (2 * ((s + b) * torch.log1p(s / b) - s)).sqrt()


class Selection(Program):
    """Signal (truth 1) passes with probability 1 − t², background with 1 − t."""

    def run(self, phi: DesignPoint, primaries: Events, choices: Choices) -> Events:
        t, signal = row(phi, "t", choices), primaries.truth[..., 0] > 0.5
        passed = choices.bernoulli(torch.where(signal, 1 - t**2, 1 - t))
        return replace(primaries, hits=passed[..., None, None])


def significance() -> Problem:
    """−Z (Asimov) of yields s = 20 (1 − t²) and b = 30 (1 − t): a functional of the population."""

    def score(events: Events, phi: DesignPoint) -> Tensor:
        signal, passed = events.truth[..., 0], events.hits[:, :, 0, 0] * events.weight
        fraction = [(passed * of).sum(-1) / (events.weight * of).sum(-1) for of in (signal, 1 - signal)]
        return -_asimov(20 * fraction[0], 30 * fraction[1])

    t = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    value = -_asimov(20 * (1 - t**2), 30 * (1 - t))
    (slope,) = torch.autograd.grad(value, t)
    program = Selection()
    exact = (slope.item(),)
    return Problem("Asimov", program, {"t": 0.6}, score, value.item(), exact, (0.0,), program, labels=True)


def growth() -> Problem:
    """Split or go on, p = 0.3, six generations: E[N] = (1 + p)⁶."""
    p, n = 0.3, 6
    slope = n * (1 + p) ** (n - 1)
    score = mean(lambda x: x)
    return Problem("Galton-Watson mean", Offspring(n, False), {"p": p}, score, (1 + p) ** n, (slope,), (0.0,))


def extinction() -> Problem:
    """Split or die, p = 0.6: P(N₆ = 0) by iteration of the generating function 1 − p + p s²."""
    p, n, q, slope = 0.6, 6, 0.0, 0.0
    for _ in range(n):
        q, slope = 1 - p + p * q**2, -1 + q**2 + 2 * p * q * slope
    score = mean(lambda x: (x == 0).to(x.dtype))
    return Problem("Galton-Watson extinction", Offspring(n, True), {"p": p}, score, q, (slope,), (0.0,))


def mixed() -> Problem:
    """Hit t ε (1 + b), b ~ Bernoulli(t/2), squared: J = t² (1 + 3t/2); plain: 2t (1 + 3t/2)."""

    def draw(phi: DesignPoint, choices: Choices) -> Tensor:
        t = row(phi, "t", choices)
        return t * choices.normal() * (1 + choices.bernoulli(t / 2))

    t, program = 0.8, Formula(draw)
    value, slope, plain = t**2 * (1 + 1.5 * t), 2 * t + 4.5 * t**2, 2 * t + 3 * t**2
    return Problem("mixed", program, {"t": t}, mean(torch.square), value, (slope,), (plain,), program)


def problems() -> list[Problem]:
    """All of them."""
    return [
        *(bernoulli(), categorical(), two_coins(), binomial(), geometric()),
        *(poisson(kind) for kind in ("square", "inverse", "tail")),
        *(compound_poisson(), threshold(), rejection(), significance(), growth(), extinction(), mixed()),
    ]
