"""A search for a start that hands over to another method."""

import math
from typing import Any, final

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.gradients import Advance, DesignSearch, GradientEstimator, Pathwise, Pipeline
from mode_opt.objectives import Estimate
from mode_opt.search.base import positive
from mode_opt.search.bayesian import BayesianOptimisation

MEMORY = 8.0
"""η of the average of the iterates, as in `Alternation`."""


@final
class StartPoint(DesignSearch):
    r"""Looks for a start far and wide, then goes on from its answer with a method that only knows its surroundings.

    The first method ends after ``steps`` steps, or as soon as the improvement that it expects of one more evaluation
    is below the standard error with which it knows its best design (`BayesianOptimisation` says both).

    If the second is a `DesignSearch`, every further step is one of its steps. If it is a gradient estimator, a step
    simulates ``events`` events and makes one step of Adam with the estimator's derivative, and the answer is the
    average of the iterates that forgets its beginning, :math:`\bar\psi_k = (1 - \gamma_k) \bar\psi_{k-1} + \gamma_k
    \psi_k` with :math:`\gamma_k = 9/(k + 8)`.

    Args:
        search: looks for the start; None: `BayesianOptimisation`.
        then: goes on; None: `Pathwise`.
        steps: of ``search``, at most.
        events: behind one gradient, if ``then`` is an estimator.
        learning_rate: of Adam, in ψ, if ``then`` is an estimator.

    Raises:
        ConfigurationError: for numbers that are not positive, methods that are none, and, before the first step, an
            estimator that cannot use the simulator.
    """

    def __init__(
        self,
        search: DesignSearch | None = None,
        then: DesignSearch | GradientEstimator | None = None,
        steps: int = 50,
        events: int = 2048,
        learning_rate: float = 0.05,
    ) -> None:
        super().__init__()
        self.search = BayesianOptimisation() if search is None else search
        self.then = Pathwise() if then is None else then
        if not isinstance(self.search, DesignSearch):
            raise ConfigurationError("gradient.search", type(self.search).__name__, "a search")
        if not isinstance(self.then, DesignSearch | GradientEstimator):
            raise ConfigurationError("gradient.then", type(self.then).__name__, "a search or a gradient estimator")
        self.steps = positive("steps", steps, 1, whole=True)
        self.events, self.rate = positive("events", events, 2, whole=True), positive("learning_rate", learning_rate)
        self.done, self.handed_over = 0, False
        self.descended = 0
        self.moments = self.average = torch.zeros(0)

    def prepare(self, pipeline: Pipeline, generator: torch.Generator) -> None:
        if isinstance(self.then, GradientEstimator):
            self.then.check(pipeline.simulator)
        self.search.prepare(pipeline, generator)

    def advance(self, pipeline: Pipeline, generator: torch.Generator) -> Advance:
        if self.handed_over:
            return self._further(pipeline, generator)
        step = self.search.advance(pipeline, generator)
        self.done += 1
        reason = self._enough(step)
        if reason is None:
            return step
        self._hand_over(pipeline, generator)
        return Advance(step.objective, step.columns, (*step.notes, f"the start is found: {reason}"))

    def _enough(self, step: Advance) -> str | None:
        gain = step.columns.get("expected_improvement", math.inf)
        error = step.columns.get("best_value_standard_error", 0.0)
        if gain < error:
            return f"the expected improvement, {gain:.2g}, is below the error of the best value, {error:.2g}"
        return f"{self.steps} steps are made" if self.done >= self.steps else None

    @torch.no_grad()
    def _hand_over(self, pipeline: Pipeline, generator: torch.Generator) -> None:
        design = pipeline.design
        design.psi.copy_(self.search.answer(design))
        self.handed_over, self.descended = True, 0
        self.average = design.psi.detach().clone()
        self.moments = torch.zeros(2, design.psi.shape[1]).to(design.psi)
        if isinstance(self.then, DesignSearch):
            self.then.prepare(pipeline, generator)

    def _further(self, pipeline: Pipeline, generator: torch.Generator) -> Advance:
        if isinstance(self.then, DesignSearch):
            return self.then.advance(pipeline, generator)
        if self.moments.shape[1] != pipeline.design.psi.shape[1]:  # after moving to values that can be built
            self._hand_over_at(pipeline.design)
        return self._descend(self.then, pipeline, generator)

    def _hand_over_at(self, design: Design) -> None:
        self.average, self.descended = design.psi.detach().clone(), 0
        self.moments = torch.zeros(2, design.psi.shape[1]).to(design.psi)

    def _descend(self, estimator: GradientEstimator, pipeline: Pipeline, generator: torch.Generator) -> Advance:
        """One step of Adam with β = (0.9, 0.999)."""
        psi = pipeline.design.psi
        value, slope = self._gradient(estimator, pipeline, generator)
        self.descended += 1
        first, second = self.moments[:1].lerp(slope, 0.1), self.moments[1:].lerp(slope.square(), 0.001)
        self.moments = torch.cat([first, second])
        corrected = first / (1 - 0.9**self.descended), second / (1 - 0.999**self.descended)
        with torch.no_grad():
            psi.sub_(self.rate * corrected[0] / (corrected[1].sqrt() + 1e-8))
        self.average = self.average.lerp(psi.detach(), (MEMORY + 1) / (self.descended + MEMORY))
        return Advance(value, {"gradient_norm": float(slope.norm())})

    def _gradient(
        self, estimator: GradientEstimator, pipeline: Pipeline, generator: torch.Generator
    ) -> tuple[Estimate, Tensor]:
        design, seen = pipeline.design, []

        def score(events: Events, phi: DesignPoint) -> Tensor:
            values = pipeline.score(events, phi)
            seen.append(values.detach())
            return values

        primaries = pipeline.primaries.sample(self.events, generator)
        loss = estimator.loss(pipeline.simulator, design, primaries, score, generator)
        total = loss + pipeline.penalty(design()).sum()
        (slope,) = torch.autograd.grad(total, design.psi)
        if not bool(torch.isfinite(total) & torch.isfinite(slope).all()):
            raise NonFiniteError(f"the objective is {float(loss.detach())} after the start was found, or its gradient")
        return Estimate(float(loss.detach()), math.nan), slope

    def answer(self, design: Design) -> Tensor:
        """Of the method that is at work; of an estimator the average of the iterates."""
        if not self.handed_over:
            return self.search.answer(design)
        if isinstance(self.then, DesignSearch):
            return self.then.answer(design)
        return self.average.to(design.psi) if self.average.shape == design.psi.shape else design.psi.detach().clone()

    def recorded(
        self, pipeline: Pipeline, designs: int, events: int, generator: torch.Generator
    ) -> tuple[DesignPoint, Events] | None:
        at_work = self.then if self.handed_over else self.search
        return at_work.recorded(pipeline, designs, events, generator) if isinstance(at_work, DesignSearch) else None

    def get_extra_state(self) -> dict[str, Any]:
        names = ("done", "handed_over", "descended", "moments", "average")
        return {name: getattr(self, name) for name in names}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
