"""The loop of all methods that learn a model near the present design and descend on it."""

import math
import time
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError, SimulationError
from mode_opt.events import Events
from mode_opt.gradients.feasibility import Feasibility
from mode_opt.gradients.replay import Batch, Replay
from mode_opt.gradients.sampling import Sampling
from mode_opt.gradients.search import Advance, DesignSearch, Pipeline
from mode_opt.gradients.trust_region import TrustRegion, Verdict
from mode_opt.objectives import Estimate
from mode_opt.simulation import Simulator, attempt

CLOSE = 20
"""One in so many of the designs that train the model corrects its value at the design itself."""
UNLIKELY = 0.2
"""Probability of success below which a sample is taken on the other side of the centre."""
GIVE_UP = 5
"""Batches in a row of which nothing came back, after which the search ends."""


class LocalSearch(DesignSearch):
    """Sample designs around ψ, simulate, test the last model on them, learn the next, descend on it within its region.

    Simulated events serve three times: they judge the step that led to them (`TrustRegion`), they train the model, and
    those of all earlier neighbourhoods that are near are used again (`Replay`). Designs that failed say where others
    would (`Feasibility`): samples and steps keep away from there. The answer is the average of the later half of the
    iterates since the last significant gain that came true.

    Args:
        region: radius of the neighbourhood.
        sampling: how much is simulated.
        window: simulated events, nearest to the present design, from which the model is learnt.
        capacity: simulated events that are kept.
    """

    def __init__(self, region: TrustRegion, sampling: Sampling, window: int, capacity: int = 200_000) -> None:
        super().__init__()
        if window < 20:
            raise ConfigurationError("gradient.window", window, "at least 20 simulated events")
        self.region, self.sampling, self.window = region, sampling, window
        self.replay, self.feasible = Replay(max(capacity, window)), Feasibility()
        self._calls, self._first = 0.0, 0.0  # of the next batch and of the first; 0 before that is known
        self._pending: dict[str, Any] | None = None
        self._step: Step | None = None
        self._plateau: list[Tensor] = []
        self._former: list[Tensor] = []  # the plateau before, until its end is confirmed
        self._lost = 0

    @abstractmethod
    def learn(self, pipeline: Pipeline, batch: Batch, centre: Tensor, generator: torch.Generator) -> tuple[str, ...]:
        """Fit the model to these simulations, nearest first; returns what a user should know of the fit."""

    @abstractmethod
    def residual(self, pipeline: Pipeline, batch: Batch, generator: torch.Generator) -> Estimate:
        """Mean over a batch of (simulated − predicted) objective, of a model that has not seen it."""

    @abstractmethod
    def minimise(self, pipeline: Pipeline, centre: Tensor, generator: torch.Generator) -> tuple[Tensor, Estimate]:
        """The best ψ in the region around ``centre``, ``1 x d``, and the gain over the centre that it promises."""

    @abstractmethod
    def value(self, pipeline: Pipeline, psi: Tensor, generator: torch.Generator) -> Estimate:
        """The model's J at one design, without penalty."""

    @abstractmethod
    def gain(self, pipeline: Pipeline, start: Tensor, end: Tensor, generator: torch.Generator) -> Estimate:
        """The model's ``J(start) − J(end)``, penalties included."""

    @abstractmethod
    def part(self, simulator: Simulator) -> Simulator:
        """What is simulated for a batch: the simulator, or a part of it."""

    def inputs(self, pipeline: Pipeline, phi: DesignPoint, primaries: Events, generator: torch.Generator) -> Events:
        """What goes into `part`: the primaries, or what earlier parts make of them."""
        return primaries

    def charge(self, simulator: Simulator, events: int) -> None:
        """Count simulated events that `part` has not counted itself."""

    def diagnostics(self) -> dict[str, float]:
        """Columns about the last fit."""
        return {}

    @property
    def untrained(self) -> bool:
        """Whether there is no model yet."""
        return self._step is None

    def prepare(self, pipeline: Pipeline, generator: torch.Generator) -> None:
        """A first batch for the reconstruction, if there may be one: its warm-up then simulates nothing."""
        self._resume(pipeline.design)
        if not pipeline.additive and not self.replay.batches:
            batch, _, _ = self.simulated(pipeline, generator)
            if batch is not None:
                self.replay.add(batch)

    def advance(self, pipeline: Pipeline, generator: torch.Generator) -> Advance:
        design = pipeline.design
        self._resume(design)
        batch, columns, notes = self.simulated(pipeline, generator)
        if batch is None:
            return self._nothing(pipeline, columns, notes, generator)
        verdict = self._judge(pipeline, batch, generator)
        self.replay.add(batch)
        centre = design.psi.detach().clone()
        begin = time.monotonic()
        notes += self.learn(pipeline, self.replay.near(centre, self.window), centre, generator)
        if verdict is not None and not verdict.accepted and self._step is not None:
            back = self.gain(pipeline, centre, self._step.start, generator)
            centre = self._step.start if back.value > 0 else centre
        self._reconsider(verdict)
        end, promised = self._within(pipeline, centre, *self.minimise(pipeline, centre, generator), generator)
        promised = self.region.calibrated(promised)
        seconds = time.monotonic() - begin
        objective = self.measured(pipeline, centre, generator)
        self._settle(end, promised)
        self._allot(promised)
        self._step = Step(centre, promised)
        with torch.no_grad():
            design.psi.copy_(end)
        columns |= {"radius": self.region.radius, "surrogate_seconds": seconds, **_gains(promised, verdict)}
        return Advance(objective, columns | self.diagnostics(), notes)

    def answer(self, design: Design) -> Tensor:
        late = self._plateau[len(self._plateau) // 2 :]  # the first of them are still on their way
        return torch.stack(late).mean(0) if late else design.psi.detach().clone()

    def recorded(
        self, pipeline: Pipeline, designs: int, events: int, generator: torch.Generator
    ) -> tuple[DesignPoint, Events] | None:
        self._resume(pipeline.design)
        if not self.replay.batches:
            return None
        near = self.replay.near(pipeline.design.psi, self.window)
        device = near.psi.device
        chosen = torch.randint(len(near.psi), (designs,), generator=generator, device=generator.device).to(device)
        some = near[chosen]
        count = min(events, some.outputs.count)
        picked = torch.randperm(some.outputs.count, generator=generator, device=generator.device)[:count].to(device)
        with torch.no_grad():
            return some.phi, self.finished(pipeline, some.phi, some.outputs.select(picked), generator)

    def finished(self, pipeline: Pipeline, phi: DesignPoint, outputs: Events, generator: torch.Generator) -> Events:
        """What later parts make of the outputs of `part`."""
        return outputs

    def simulated(
        self, pipeline: Pipeline, generator: torch.Generator
    ) -> tuple[Batch | None, dict[str, float], tuple[str, ...]]:
        """A batch of fresh designs around the present one, which is the first of them."""
        psi = self._around(pipeline, generator)
        design, n = pipeline.design, self.sampling.per_design(pipeline.additive)
        phi = design.point(psi).detach()
        phi = design.drawn(phi, generator) if design.discrete else phi
        primaries = pipeline.primaries.sample(len(psi) * n, generator)
        primaries = primaries._map(lambda tensor: tensor.reshape(len(psi), n, *tensor.shape[2:]))
        with torch.no_grad():
            inputs = self.inputs(pipeline, phi, primaries, generator).detach()
        tried = attempt(self.part(pipeline.simulator), phi, inputs, generator)
        self.charge(pipeline.simulator, len(psi) * n)
        columns = {"failed_designs": float(tried.failures)}
        notes = tuple(f"designs that failed: {reason}" for reason in tried.reasons)
        self.feasible.note(psi, tried.succeeded)
        if tried.events is None:
            return None, columns, notes
        good = tried.succeeded.to(psi.device)
        kept = inputs._map(lambda tensor: tensor[good])
        return Batch(psi[good], DesignPoint(phi.values[good], phi.layout), kept, tried.events), columns, notes

    def measured(self, pipeline: Pipeline, psi: Tensor, generator: torch.Generator) -> Estimate:
        """J at one design: the model's value, and the mean residual of the simulated designs closest to it.

        The model stands in for the distance of those designs only, so that its bias hardly matters.
        """
        value, near = self.value(pipeline, psi, generator), self.replay.near(psi, self.window)
        close = self.replay.near(psi, max(len(near.psi) // CLOSE, 10) * near.outputs.count)
        residual = self.residual(pipeline, close, generator)
        if not math.isfinite(residual.value + residual.standard_error):
            return value
        return Estimate(value.value + residual.value, math.hypot(value.standard_error, residual.standard_error))

    def _around(self, pipeline: Pipeline, generator: torch.Generator) -> Tensor:
        psi, n = pipeline.design.psi.detach(), self.sampling.per_design(pipeline.additive)
        if self._calls == 0.0:
            self._calls = self._first = float(self.sampling.first(pipeline.additive, psi.shape[1]))
        b = max(int(self._calls) // n, 2)
        unit = 2 * torch.rand(b, psi.shape[1], generator=generator, dtype=psi.dtype, device=psi.device) - 1
        unit[0] = 0.0
        likely = self.feasible.probability(psi + self.region.radius * unit, psi, self.region.radius) > UNLIKELY
        unit = torch.where(likely.to(psi.device)[:, None], unit, -unit)  # to the other side, as far from the centre
        return psi + self.region.radius * unit

    def _within(
        self, pipeline: Pipeline, centre: Tensor, end: Tensor, promised: Estimate, generator: torch.Generator
    ) -> tuple[Tensor, Estimate]:
        """A step that ends before designs are expected to fail, and what it promises."""
        shortened = self.feasible.shortened(centre, end, self.region.radius)
        if torch.equal(shortened, end):
            return end, promised
        return shortened.to(end), self.gain(pipeline, centre, shortened.to(end), generator)

    def _judge(self, pipeline: Pipeline, batch: Batch, generator: torch.Generator) -> Verdict | None:
        self._lost = 0
        if self._step is None:
            return None
        residual = self.residual(pipeline, batch, generator)
        if not math.isfinite(residual.value + residual.standard_error):
            self.region.scale(TrustRegion.SHRINK)
            return None
        return self.region.judge(self._step.promised, residual)

    def _nothing(
        self, pipeline: Pipeline, columns: dict[str, float], notes: tuple[str, ...], generator: torch.Generator
    ) -> Advance:
        """All designs failed: back to where the last step began, and closer to it."""
        self._lost += 1
        if self._lost >= GIVE_UP or self._step is None:
            raise SimulationError(f"no design near the present one can be simulated ({'; '.join(notes)})")
        with torch.no_grad():
            pipeline.design.psi.copy_(self._step.start)
        self.region.scale(0.5)
        objective = self.value(pipeline, self._step.start, generator)
        return Advance(objective, columns | {"radius": self.region.radius, "accepted": 0.0}, notes)

    def _reconsider(self, verdict: Verdict | None) -> None:
        """A promise that did not come true ends no average."""
        if verdict is not None and not verdict.came_true:
            self._plateau = [*self._former, *self._plateau]
        self._former = []

    def _settle(self, end: Tensor, promised: Estimate) -> None:
        """Average the iterates for as long as no step is significant."""
        if _significant(promised):
            self._former, self._plateau = self._plateau, []
        self._plateau = [*self._plateau, end.clone()][-50:]

    def _allot(self, promised: Estimate) -> None:
        """The number of events of the next batch."""
        gain, error = promised.value, promised.standard_error
        factor = 1.25 if gain < error else 0.7 if gain > 4 * error else 1.0
        self._calls = min(max(self._calls * factor, self._first), self.sampling.most * self._first)

    def get_extra_state(self) -> dict[str, Any]:
        step = self._step
        return {
            "replay": self.replay.state(),
            "region": self.region.state(),
            "feasible": self.feasible.state(),
            "calls": self._calls,
            "first": self._first,
            "plateau": list(self._plateau),
            "former": list(self._former),
            "lost": self._lost,
            "model": self.model_state(),
            "start": None if step is None else step.start,
            "promised": None if step is None else [step.promised.value, step.promised.standard_error],
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self._pending = state  # the layout of its designs is known when the design is

    def _resume(self, design: Design) -> None:
        """Take over a loaded state."""
        state, self._pending = self._pending, None
        if state is None:
            return
        layout = design.buildable().layout if design.discrete else design.layout  # that of `simulated`
        self.replay.load(state["replay"], layout)
        self.region.load(state["region"])
        self.feasible.load(state["feasible"])
        self._calls, self._first, self._lost = state["calls"], state["first"], state["lost"]
        self._plateau, self._former = list(state["plateau"]), list(state["former"])
        self._step = None if state["start"] is None else Step(state["start"], Estimate(*state["promised"]))
        self.restore(state["model"])

    def model_state(self) -> dict[str, Any]:
        """What the model needs to continue, if not all of it is in parameters and buffers."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `model_state` gave."""


@dataclass(frozen=True)
class Step:
    """A step that has been taken: where it began, and what gain it promised."""

    start: Tensor
    promised: Estimate


def _significant(promised: Estimate) -> bool:
    return promised.value > 2 * promised.standard_error


def _gains(promised: Estimate, verdict: Verdict | None) -> dict[str, float]:
    columns = {"predicted_gain": promised.value, "predicted_gain_standard_error": promised.standard_error}
    if verdict is not None:
        columns |= {"actual_gain": verdict.actual.value, "actual_gain_standard_error": verdict.actual.standard_error}
        columns |= {"accepted": float(verdict.accepted), "pull": verdict.pull}
    return columns
