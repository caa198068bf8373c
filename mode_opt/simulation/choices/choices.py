"""The vocabulary of random choices from which a simulator is written."""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError, ShapeError, SimulationError
from mode_opt.simulation.choices.chooser import Chooser, Lineages, Site
from mode_opt.simulation.choices.coins import Bernoulli, Categorical
from mode_opt.simulation.choices.counters import hashed
from mode_opt.simulation.choices.counts import Binomial, Geometric, Poisson
from mode_opt.simulation.choices.laws import Law
from mode_opt.simulation.choices.lengths import Exponential, Gaussian


@final
class Choices:
    """Where a program gets its random numbers, bound to S lineages: ``b x n`` events or ``k`` particles.

    Arguments have the shape ``S`` or ``S x ...``; outcomes are floats of the same shape. An outcome carries no
    derivative unless the estimator says otherwise: the derivative of what follows passes through its
    log-probability, its alternatives or its relaxation. Parameters may depend on the design; anything that
    does not is better drawn with `uniform` and `normal`.

    In single precision, probabilities are resolved to 1.2e-7: give rare processes to double precision.

    All numbers are functions of (key of the lineage, counter), so that a second run with one choice changed
    shares all others, and the order, batch and device of the events do not matter.

    Args:
        lineages: the streams; their counters advance.
        chooser: decides the outcomes.
    """

    def __init__(self, lineages: Lineages, chooser: Chooser) -> None:
        self.lineages, self.chooser = lineages, chooser

    @property
    def shape(self) -> torch.Size:
        """S."""
        return self.lineages.key.shape

    def bernoulli(self, probability: Tensor) -> Tensor:
        """1.0 with this probability, else 0.0."""
        return self._choose(Bernoulli(probability))

    def categorical(self, probabilities: Tensor) -> Tensor:
        """A class, one-hot: ``S x ... x C`` for probabilities (any positive normalisation) of that shape."""
        return self._choose(Categorical(probabilities))

    def poisson(self, rate: Tensor) -> Tensor:
        """A number of independent occurrences with this mean."""
        return self._choose(Poisson(rate))

    def binomial(self, count: Tensor, probability: Tensor) -> Tensor:
        """How many of ``count`` trials succeed."""
        return self._choose(Binomial(count, probability))

    def geometric(self, probability: Tensor) -> Tensor:
        """Failures before the first success."""
        return self._choose(Geometric(probability))

    def exponential(self, rate: Tensor) -> Tensor:
        """A free path (or a waiting time) with this rate, in the inverse of its unit."""
        return self._choose(Exponential(rate))

    def gaussian(self, mean: Tensor, deviation: Tensor) -> Tensor:
        """A normal number whose mean or standard deviation may depend on the design."""
        return self._choose(Gaussian(mean, deviation))

    def uniform(self, *extra: int, dtype: torch.dtype | None = None) -> Tensor:
        """Noise, uniform in (0, 1), ``S x extra``, that does not depend on the design."""
        return self._site(torch.Size((*self.shape, *extra))).uniform(dtype or torch.get_default_dtype())

    def normal(self, *extra: int, dtype: torch.dtype | None = None) -> Tensor:
        """Noise, standard normal, ``S x extra``, that does not depend on the design."""
        return torch.special.ndtri(self.uniform(*extra, dtype=dtype))

    def accepted(
        self,
        propose: Callable[["Choices", Tensor], Tensor],
        probability: Callable[[Tensor, Tensor], Tensor],
        limit: int = 10_000,
    ) -> Tensor:
        """Draw until accepted: every acceptance and every rejection is a recorded choice.

        Args:
            propose: of choices bound to the k lineages that still wait and their flat indices, ``k x ...`` values.
            probability: of proposals and indices, the probability ``k`` to accept each.
            limit: rounds after which the loop is given up.

        Returns:
            The accepted values, ``S x ...``.

        Raises:
            SimulationError: if proposals are still rejected after ``limit`` rounds.
        """
        waiting = torch.arange(self.lineages.key.numel(), device=self.lineages.key.device)
        result: Tensor | None = None
        for _ in range(limit):
            part = self._select(waiting)
            proposal = propose(part, waiting)
            kept = part.bernoulli(probability(proposal, waiting)) > 0.5
            self.lineages.counter.view(-1)[waiting] = part.lineages.counter
            empty = proposal.new_zeros((self.lineages.key.numel(), *proposal.shape[1:])) if result is None else result
            result = empty.index_put((waiting[kept],), proposal[kept])
            waiting = waiting[~kept]
            if waiting.numel() == 0:
                return result.reshape(*self.shape, *proposal.shape[1:])
        raise SimulationError(f"{waiting.numel()} proposals were still rejected after {limit} rounds of accept/reject")

    def _select(self, index: Tensor) -> "Choices":
        return Choices(self.lineages.flat(index), self.chooser)

    def _choose(self, law: Law) -> Tensor:
        law.check()
        return self.chooser.choose(law, self._site(law.shape))

    def _site(self, shape: torch.Size) -> Site:
        mine = self.lineages
        if shape[: mine.key.ndim] != self.shape:
            raise ShapeError("random choice", shape, f"{tuple(self.shape)} (events or particles) x ...")
        word, counter = hashed(mine.key, mine.counter), mine.counter.clone()
        if len(shape) > mine.key.ndim:
            extra = shape[mine.key.ndim :]
            element = torch.arange(extra.numel(), device=word.device).reshape(extra)
            word = hashed(word.reshape(*mine.key.shape, *(1 for _ in extra)), element)
        mine.counter.add_(1)
        return Site(Lineages(mine.event, mine.key, counter), word)


def fork(seed: int, part: int) -> int:
    """Seed of one part of a chain.

    Raises:
        ConfigurationError: if the seed does not fit into 62 bits.
    """
    if not 0 <= seed < 2**62:
        raise ConfigurationError("seed", seed, "an integer from 0 to 2^62 - 1")
    return int(hashed(torch.tensor(seed), part)) & (2**62 - 1)
