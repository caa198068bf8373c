"""Who decides the outcome of a random choice, and what is remembered of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mode_opt.simulation.choices.counters import hashed, uniform
from mode_opt.simulation.choices.laws import Law


@dataclass(frozen=True, eq=False)
class Lineages:
    """Streams of random numbers, one for each event or particle.

    Attributes:
        event: number of the event each belongs to, counted over designs and events; int64, any shape S.
        key: of the stream, int64, S.
        counter: numbers already drawn from it, int64, S; advanced in place.
    """

    event: Tensor
    key: Tensor
    counter: Tensor

    @classmethod
    def of_events(cls, designs: int, count: int, seed: int, device: torch.device | str = "cpu") -> "Lineages":
        """One stream for each of ``b x n`` events, a function of seed, design and event."""
        root = hashed(torch.tensor(seed, dtype=torch.int64, device=device), torch.arange(designs, device=device))
        key = hashed(root.unsqueeze(1), torch.arange(count, device=device))
        event = torch.arange(designs * count, device=device).reshape(designs, count)
        return cls(event, key, torch.zeros_like(key))

    def flat(self, index: Tensor) -> "Lineages":
        """A copy of some of the streams, as a flat list."""
        return Lineages(self.event.flatten()[index], self.key.flatten()[index], self.counter.flatten()[index])


@dataclass(frozen=True, eq=False)
class Site:
    """Where an array of choices is made.

    Attributes:
        lineages: the streams that draw, S, with the counter of this choice (not advanced while it is handled).
        word: random word of each choice, ``S x ...``.
    """

    lineages: Lineages
    word: Tensor

    def uniform(self, dtype: torch.dtype, purpose: int = 0, width: int | None = None) -> Tensor:
        """Uniform numbers of this site, others for every purpose; with a last axis of ``width`` if it is given."""
        word = self.word if purpose == 0 else hashed(self.word, purpose)
        if width is None:
            return uniform(word, dtype)
        return uniform(hashed(word.unsqueeze(-1), torch.arange(width, device=word.device)), dtype)

    def spread(self, per_lineage: Tensor) -> Tensor:
        """A value of each lineage, ``S``, seen from each choice, ``S x ...``."""
        extra = self.word.ndim - per_lineage.ndim
        return per_lineage.reshape(per_lineage.shape + (1,) * extra).expand(self.word.shape)


class Chooser(ABC):
    """Decides the outcome of each choice: an estimator that has to intervene is one of these."""

    @abstractmethod
    def choose(self, law: Law, site: Site) -> Tensor:
        """The outcome of the choices, in the shape of the law's outcomes."""


@final
class Drawing(Chooser):
    """Draws, and remembers nothing."""

    def choose(self, law: Law, site: Site) -> Tensor:
        return law.draw(site.uniform(dtype_of(law)))


def dtype_of(law: Law) -> torch.dtype:
    """Type of the numbers in which the choice is drawn."""
    return law.parameters[0].dtype
