"""Looking at every random choice of a program, and running it again with one of them changed."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mode_opt.simulation.choices import Alternatives, Chooser, Law, Recording, Site, dtype_of

RACE, FRESH = 7, 8
"""Purposes of the uniform numbers that choose a site and that draw alternatives."""

DIRECTIONS = 8
"""With more design parameters than this, sensitivities are measured along random directions."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Alternatives of choices, flat: ``m`` of them.

    Attributes:
        event: of the choice.
        key: of the stream that drew it.
        counter: its place in the stream.
        element: its place in the call.
        value: the other outcome, encoded as one number.
        tangent: what the derivative owes to the alternative; carries the derivative.
        uniform: fresh number for the choice between candidates.
    """

    event: Tensor
    key: Tensor
    counter: Tensor
    element: Tensor
    value: Tensor
    tangent: Tensor
    uniform: Tensor

    @classmethod
    def cat(cls, parts: list["Candidates"]) -> "Candidates":
        """All of them."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def candidates(law: Law, outcome: Tensor, site: Site) -> list[Candidates]:
    """The alternatives of an array of choices, one entry for each of the law's J."""
    uniform = site.uniform(dtype_of(law), FRESH)
    alternatives = law.alternatives(outcome, uniform)
    lineages = site.lineages
    inner = site.word.shape[lineages.key.ndim :].numel()
    element = torch.arange(inner, device=site.word.device).repeat(lineages.key.numel())
    found = []
    for number, (other, tangent) in enumerate(zip(alternatives.outcome, alternatives.tangent, strict=True)):
        found.append(
            Candidates(
                site.spread(lineages.event).flatten(),
                site.spread(lineages.key).flatten(),
                site.spread(lineages.counter).flatten(),
                element,
                law.encode(other).flatten(),
                tangent.flatten(),
                site.uniform(torch.float64, RACE + 2 + number).flatten(),
            )
        )
    return found


@final
class Surveying(Chooser):
    """Draws as usual, and keeps the alternatives of every choice that carries a derivative.

    Args:
        recording: keeps the controls.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.found: list[Candidates] = []

    def choose(self, law: Law, site: Site) -> Tensor:
        outcome = self.recording.choose(law, site)
        if law.depends:
            self.found += candidates(law, outcome, site)
        return outcome


@final
class Overriding(Chooser):
    """Repeats what was drawn before, but for one choice in each event.

    Args:
        changes: one entry for every event in order (an entry that meets no choice changes nothing).
        inner: draws all other choices.
    """

    def __init__(self, changes: Candidates, inner: Chooser) -> None:
        self.changes, self.inner = changes, inner

    def choose(self, law: Law, site: Site) -> Tensor:
        lineages, changes = site.lineages, self.changes
        event = lineages.event
        here = (changes.key[event] == lineages.key) & (changes.counter[event] == lineages.counter)
        if not bool(here.any()):
            return self.inner.choose(law, site)
        inner = site.word.shape[event.ndim :]
        element = torch.arange(inner.numel(), device=event.device).reshape(inner)
        forced = site.spread(here) & (site.spread(changes.element[event]) == element)
        other = site.spread(changes.value[event]).to(dtype_of(law))
        return self.inner.choose(_Decided(law, forced, other), site)


@final
class _Decided(Law):
    """A law some of whose outcomes are decided already; probabilities are those of the law."""

    def __init__(self, law: Law, forced: Tensor, value: Tensor) -> None:
        super().__init__(**law.named)
        self.parameters = law.parameters
        self._law, self._forced, self._value = law, forced, value

    @property
    def shape(self) -> torch.Size:
        return self._law.shape

    @property
    def expected(self) -> Tensor:
        return self._law.expected

    def draw(self, uniform: Tensor) -> Tensor:
        drawn = self._law.draw(uniform)
        number = torch.where(self._forced, self._value, self._law.encode(drawn))
        return self._law.decode(number)

    def encode(self, outcome: Tensor) -> Tensor:
        return self._law.encode(outcome)

    def log_probability(self, outcome: Tensor) -> Tensor:
        return self._law.log_probability(outcome)

    def alternatives(self, outcome: Tensor, uniform: Tensor) -> Alternatives:
        return self._law.alternatives(outcome, uniform)


def sensitivity(tangent: Tensor, values: Tensor, scale: Tensor, generator: torch.Generator) -> Tensor:
    """Size of the derivative of each tangent with respect to the design, ``sqrt(Σ_k (scale_k d/dφ_k)²)``.

    Forward derivatives by two backward passes: with ``g(u) = uᵀ d tangent/dφ``, ``dg/du · v`` is the derivative of
    every element along v. One direction a parameter, or `DIRECTIONS` random ones if there are more parameters.

    Args:
        tangent: ``m``, differentiable in ``values``.
        values: ``1 x d``.
        scale: ``d``, natural size of a change of each.
        generator: of the directions.
    """
    seed = torch.ones_like(tangent, requires_grad=True)
    (gradient,) = torch.autograd.grad(tangent, values, seed, create_graph=True, allow_unused=True)
    if gradient is None or not gradient.requires_grad:
        return torch.zeros_like(tangent)
    parameters = scale.numel()
    basis = torch.eye(parameters, dtype=scale.dtype, device=scale.device)
    if parameters > DIRECTIONS:
        basis = torch.randn(DIRECTIONS, parameters, generator=generator, dtype=scale.dtype, device=scale.device)
    square = torch.zeros_like(tangent)
    for direction in basis * scale:
        (along,) = torch.autograd.grad((gradient[0] * direction).sum(), seed, retain_graph=True)
        square = square + along**2
    return square.sqrt()
