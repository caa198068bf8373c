"""CMA-ES, through the package ``cma``."""

import math
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.gradients import Pipeline
from mode_opt.objectives import Estimate
from mode_opt.search.base import AskTell, positive, seed_of
from mode_opt.search.box import bounded_columns
from mode_opt.search.evaluations import Evaluations

MOST_EVENTS = 100
"""Times the given events that a design may be given where the noise hides the ranks."""


@final
class CovarianceAdaptation(AskTell):
    """Evolution strategy with adapted covariance matrix; a step is a generation.

    With ``noise_handling`` some designs of each generation are simulated twice. Where the ranks then differ by more
    than chance allows, the step size and the events of each evaluation grow (these up to 100 times), and the events
    fall slowly where ranks agree. ψ stands at the mean of the distribution, which is also the answer: the best design
    of a generation is mostly a lucky one. ``best_value`` is the mean over the last generation, as is the objective of
    the step. Only parameters with two bounds are limited (to [−2, 2] in ψ, and as far as the start).
    Failed designs are the worst of their generation.

    Args:
        events: of an evaluation, at first; None: 5 if a single event has a value, else 500.
        spread: standard deviation of the first generation, in ψ.
        population: designs of a generation; None: ``4 + 3 ln d``.
        noise_handling: adapt the number of events.
        common_primaries: all designs have the same primaries.

    Raises:
        ConfigurationError: for an option that is not positive, or if the package ``cma`` is not installed.

    Source: N. Hansen, arXiv 1604.00772; N. Hansen et al., IEEE Trans. Evol. Comput. 13 (2009) 180 (noise).
    """

    def __init__(
        self,
        events: int | None = None,
        spread: float = 0.3,
        population: int | None = None,
        noise_handling: bool = True,
        common_primaries: bool = False,
    ) -> None:
        super().__init__(events, 1.0, common_primaries)
        _package()
        self.spread, self.noise_handling = positive("spread", spread), noise_handling
        self.population = None if population is None else positive("population", population, 4, whole=True)
        # Strategy and noise handler as ``cma`` pickles them. A checkpoint is loaded by torch without pickles; these
        # bytes are trusted as far as the run directory is.
        self.strategy, self.drawn = torch.zeros(0, dtype=torch.uint8), torch.zeros(0, 0, dtype=torch.float64)
        self.factor, self.repeated = 1.0, 0

    def begin(self, design: Design, generator: torch.Generator) -> Tensor:
        cma, at = _package(), self.start[0]
        bounded = bounded_columns(design)
        edges = (at.clamp_max(-2.0) - 1e-9, at.clamp_min(2.0) + 1e-9)
        lists = [[float(x) if b else None for x, b in zip(side, bounded, strict=True)] for side in edges]
        options: dict[str, Any] = {"verbose": -9, "seed": math.nan}
        if bool(bounded.any()):
            options["bounds"] = lists
        if self.population is not None:
            options["popsize"] = self.population
        if len(at) == 1:  # the package refuses one dimension; a second one without meaning serves
            at = torch.cat([at, at.new_zeros(1)])
            options["bounds"] = [[*lists[0], -1.0], [*lists[1], 1.0]]
        self.factor = 1.0
        with _numpy_from(seed_of(generator)):
            strategy = cma.CMAEvolutionStrategy(at.numpy(), self.spread, options)
            handler = cma.NoiseHandler(len(at), [1, 1, MOST_EVENTS])
            handler.evaluations = 1
            return self._generation(strategy, handler)

    def _generation(self, strategy: Any, handler: Any) -> Tensor:
        """Draw designs, with the first few again at the end, and keep the state."""
        designs = torch.as_tensor(np.array(strategy.ask()))
        self.repeated = int(2 + len(designs) / 20) if self.noise_handling else 0
        self.drawn = designs
        self.strategy = torch.frombuffer(bytearray(pickle.dumps((strategy.pickle_dumps(), handler))), dtype=torch.uint8)
        asked = torch.cat([designs, designs[: self.repeated]])
        return asked[:, : self.start.shape[1]]

    def ask(self, pipeline: Pipeline, fresh: Evaluations, generator: torch.Generator) -> Tensor:
        _package()
        packed, handler = pickle.loads(self.strategy.numpy().tobytes())
        strategy = pickle.loads(packed)
        losses = self.losses(pipeline, fresh)
        first, again = losses[: len(self.drawn)], losses[len(self.drawn) :]
        with _numpy_from(seed_of(generator)):
            if bool(fresh.succeeded[: len(self.drawn)].any()):
                merged = first.clone()
                merged[: len(again)] = (merged[: len(again)] + again) / 2
                strategy.tell(list(self.drawn.numpy()), merged.tolist())
                self._handle_noise(strategy, handler, first, again)
                self.best_value = Estimate(float(first.mean()), float(first.std() / len(first) ** 0.5))
            self.best = torch.as_tensor(np.array(strategy.result.xfavorite))[None, : self.start.shape[1]]
            return self._generation(strategy, handler)

    def _handle_noise(self, strategy: Any, handler: Any, first: Tensor, again: Tensor) -> None:
        if not len(again):
            return
        handler.idx = np.arange(len(again))
        handler.fit = first.tolist()
        handler.fitre = [*again.tolist(), *first[len(again) :].tolist()]
        handler.update_measure()
        strategy.sigma *= handler.treat()
        self.factor = float(handler.evaluations)

    def stand(self) -> Tensor:
        return self.best

    def events_of(self, pipeline: Pipeline) -> int:
        first = 5 if self.events is None and pipeline.additive else super().events_of(pipeline)
        return math.ceil(first * self.factor)

    def own_columns(self) -> dict[str, float]:
        return {"events_per_design": self.factor}

    def own_state(self) -> dict[str, Any]:
        tensors = {"strategy": self.strategy, "drawn": self.drawn}
        return {**tensors, "factor": self.factor, "repeated": self.repeated}

    def load_own_state(self, state: dict[str, Any]) -> None:
        self.strategy, self.drawn = state["strategy"], state["drawn"]
        self.factor, self.repeated = state["factor"], state["repeated"]


def _package() -> Any:
    """The module ``cma``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import cma
    except ImportError as error:
        expected = "the package cma, which is not installed: pip install mode-opt[cma]"
        raise ConfigurationError("gradient", "cma_es", expected) from error
    return cma


@contextmanager
def _numpy_from(seed: int) -> Iterator[None]:
    """NumPy's global random numbers, which ``cma`` draws, from this seed; given back afterwards. No warnings."""
    before = np.random.get_state()  # noqa: NPY002
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
