"""What the searches of this room have in common: they ask for designs and are told their values."""

import math
import time
from abc import abstractmethod
from typing import Any, final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError, SimulationError
from mode_opt.events import Events
from mode_opt.gradients import Advance, DesignSearch, Pipeline
from mode_opt.objectives import Estimate
from mode_opt.search.box import Box
from mode_opt.search.evaluations import Evaluations, evaluate

TRIES = 10
"""Times in a row that nothing may come back before a search gives up."""

EVENTS = {True: 20, False: 500}
"""Events of an evaluation if nothing else is said, by whether the objective is additive."""


def positive(key: str, value: Any, least: float = 0.0, whole: bool = False) -> Any:
    """The value of ``gradient.key`` if it is a number above ``least`` (whole numbers: at least ``least``).

    Raises:
        ConfigurationError: if not.
    """
    kinds: Any = int if whole else (int, float)
    good = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    if not good or (value < least if whole else value <= least):
        expected = f"a whole number of at least {least:g}" if whole else f"a number above {least:g}"
        raise ConfigurationError(f"gradient.{key}", value, expected)
    return value


def seed_of(generator: torch.Generator) -> int:
    """A seed for libraries that keep random numbers of their own."""
    return int(torch.randint(2**31 - 1, (1,), generator=generator, device=generator.device))


class AskTell(DesignSearch):
    """Evaluates the designs that it asked for, learns from their values, asks for further ones and stands at the first.

    A step simulates ``events`` events of each asked design; ψ is then the next to be evaluated, so that a
    reconstruction that is trained around ψ knows the design before it is measured. The objective counts with the
    present penalty of nonlinear constraints, also for earlier designs. A design that fails is remembered, counts as
    the worst value seen so far, and another one is evaluated in the same step.

    A reconstruction that is still learning makes earlier values stale; these methods do not know of it.

    A design with another number of free parameters (after moving to values that can be built) begins anew.

    Args:
        events: of an evaluation; None: 20 if a single event has a value (`Pipeline.additive`), else 500.
        box: half width, in ψ, of the box around the start for parameters without two bounds; those with are looked
            for in [−2, 2].
        common_primaries: all designs have the same primaries. Less noise between designs, at the price of the
            optimum for these primaries alone.

    Raises:
        ConfigurationError: for an option that is not positive.
    """

    def __init__(self, events: int | None, box: float, common_primaries: bool) -> None:
        super().__init__()
        self.events = None if events is None else positive("events", events, 1, whole=True)
        self.width = positive("box", box)
        self.common_primaries = common_primaries
        self.told = Evaluations.none(0)
        self.start = self.pending = self.best = torch.zeros(0, 0, dtype=torch.float64)
        self.best_value = Estimate(math.nan, math.nan)
        self.seed = 0

    @abstractmethod
    def ask(self, pipeline: Pipeline, fresh: Evaluations, generator: torch.Generator) -> Tensor:
        """Learn from ``told``, whose last ones are ``fresh``, keep ``best``, and ask for further designs, ``q x d``."""

    def begin(self, design: Design, generator: torch.Generator) -> Tensor:
        """The designs asked for first, ``q x d``, and a state that knows nothing: by default the start."""
        return self.start

    def stand(self) -> Tensor:
        """Where ψ is put, ``1 x d``: by default the first of the asked designs."""
        return self.pending[:1]

    def keep(self, row: int, events: Events) -> None:
        """See the events of design number ``row`` of ``pending``, ``1 x n``, before its value is told."""

    def own_columns(self) -> dict[str, float]:
        """Further columns of ``history.csv``."""
        return {}

    def own_state(self) -> dict[str, Any]:
        """What a subclass keeps besides, to be saved."""
        return {}

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Take back what `own_state` returned."""

    def advance(self, pipeline: Pipeline, generator: torch.Generator) -> Advance:
        if self.start.shape != pipeline.design.psi.shape:
            self._restart(pipeline.design, generator)
        failed, seconds, notes = 0, 0.0, dict[str, None]()
        for _ in range(TRIES):
            fresh, reasons = self._evaluated(pipeline, generator)
            failed += fresh.failures
            notes |= dict.fromkeys(reasons)
            begin = time.perf_counter()
            self.pending = self.ask(pipeline, fresh, generator)
            seconds += time.perf_counter() - begin
            if bool(fresh.succeeded.any()):
                break
        else:
            raise SimulationError(f"nothing came back of {failed} designs in a row: {'; '.join(notes)}")
        with torch.no_grad():
            pipeline.design.psi.copy_(self.stand().to(pipeline.design.psi))
        columns = {"evaluations": float(self.told.count), "failed_designs": float(failed)}
        columns |= {"best_value": self.best_value.value, "surrogate_seconds": seconds, **self.own_columns()}
        finite = {name: value for name, value in columns.items() if math.isfinite(value)}
        return Advance(_mean(fresh), finite, tuple(f"a design failed: {reason}" for reason in notes))

    def _restart(self, design: Design, generator: torch.Generator) -> None:
        self.start = self.best = design.psi.detach().double().cpu().clone()
        self.told, self.best_value = Evaluations.none(self.start.shape[1]), Estimate(math.nan, math.nan)
        self.seed = seed_of(generator)
        self.pending = self.begin(design, generator)

    def _evaluated(self, pipeline: Pipeline, generator: torch.Generator) -> tuple[Evaluations, tuple[str, ...]]:
        seed = self.seed if self.common_primaries else None
        fresh, reasons = evaluate(pipeline, self.pending, self.events_of(pipeline), generator, seed, self.keep)
        self.told = self.told.with_further(fresh)
        return fresh, reasons

    def events_of(self, pipeline: Pipeline) -> int:
        """Events of an evaluation.

        Raises:
            ConfigurationError: for a single event where it has no value.
        """
        events = EVENTS[pipeline.additive] if self.events is None else self.events
        if events < 2 and not pipeline.additive:
            raise ConfigurationError("gradient.events", events, "at least 2: the objective is no mean over events")
        return int(events)

    def box(self, design: Design) -> Box:
        """Where this search looks."""
        return Box.of(design, self.start, self.width)

    @torch.no_grad()
    def losses(self, pipeline: Pipeline, told: Evaluations | None = None) -> Tensor:
        """``m`` values with the present penalty; a failed design has the worst of them."""
        told = self.told if told is None else told
        phi = pipeline.design.point(told.psi.to(pipeline.design.psi))
        values = told.values
        if pipeline.combined is not None:  # the multipliers of its limits are others now
            known = told.goals.isfinite().all(1)
            values = torch.where(known, pipeline.combined(told.goals).double().cpu(), values)
        values = values + pipeline.penalty(phi).detach().double().cpu()
        worst = values[values.isfinite()].max() if bool(values.isfinite().any()) else values.new_zeros(())
        return torch.where(values.isfinite(), values, worst)

    @final
    def answer(self, design: Design) -> Tensor:
        """`best`; the present design before anything is known."""
        known = self.best.shape == design.psi.shape
        return self.best.to(design.psi) if known else design.psi.detach().clone()

    @final
    def get_extra_state(self) -> dict[str, Any]:
        tensors = {"start": self.start, "pending": self.pending, "best": self.best}
        numbers = {"best_value": list(self.best_value.as_dict().values()), "seed": self.seed}
        return {**tensors, **numbers, "told": self.told.state(), "own": self.own_state()}

    @final
    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.start, self.pending, self.best = state["start"], state["pending"], state["best"]
        self.best_value, self.seed = Estimate(*state["best_value"]), state["seed"]
        self.told = Evaluations.of(state["told"])
        self.load_own_state(state["own"])


def _mean(fresh: Evaluations) -> Estimate:
    """Of the evaluated designs that came back."""
    good = fresh.succeeded
    error = fresh.errors[good].square().sum().sqrt() / good.sum()
    return Estimate(float(fresh.values[good].mean()), float(error))
