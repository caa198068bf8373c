"""Local generative surrogates: a differentiable copy of the black box near the present design."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.gradients.automatic import quietest
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.gradients.local_search import LocalSearch
from mode_opt.gradients.quasi_newton import descended
from mode_opt.gradients.replay import Batch
from mode_opt.gradients.sampling import Sampling
from mode_opt.gradients.search import Pipeline
from mode_opt.gradients.segments import Segments
from mode_opt.gradients.trust_region import TrustRegion
from mode_opt.objectives import Estimate
from mode_opt.simulation import PrimarySource, Recorded, Simulator
from mode_opt.simulation.program import draw_seed
from mode_opt.simulation.running import count
from mode_opt.surrogates import Surrogate, evidence_ridge, mixture

SurrogateFactory = Callable[[DesignPoint, Events, Events], Surrogate]
SHARES = (1.0, 0.5, 0.25)
"""Parts of a step that are tried when the surrogates disagree about the whole of it."""
COPIES = 8
"""Surrogate events for each simulated one in a test of the surrogate, of an objective that is a mean."""


@dataclass(frozen=True)
class Descent:
    """How ψ descends through the surrogate.

    Attributes:
        events: primaries, the same in all steps: J of the surrogate is a fixed function of ψ.
        steps: of Adam, or gradients of the quasi-Newton method at most.
        rate: first step of Adam in units of the radius; falls to a tenth of it.
        method: ``adam``, or ``quasi_newton`` (`descended`) for narrow valleys of few parameters: it goes to the very
            minimum of the surrogate, of which noise in the surrogate makes a poor guide in many dimensions.

    Raises:
        ConfigurationError: for numbers that are not positive, or another method.
    """

    events: int = 2048
    steps: int = 40
    rate: float = 0.15
    method: str = "adam"

    def __post_init__(self) -> None:
        for name in ("events", "steps", "rate"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"gradient.descent.{name}", getattr(self, name), "a positive number")
        if self.method not in ("adam", "quasi_newton"):
            raise ConfigurationError("gradient.descent.method", self.method, "adam or quasi_newton")


@final
class LocalSurrogate(LocalSearch, GradientEstimator):
    """Replace the black box by a conditional generative model p(y | x, φ) of its neighbourhood, and descend through it.

    Only the black-box part of a chain is replaced: what comes out of the parts before it is the condition x, the parts
    after it run on the surrogate's samples, and all keep their own derivatives (pathwise, or by scores if they are
    stochastic), so that design parameters of all parts move together. Primaries are the same for all designs of a
    descent and for start and end, so that their variance cancels.

    Each of several surrogates is trained on its own part of the designs and proposes a step; the step taken is their
    mean. What it promises is measured by surrogates that have not proposed it: the minimum of a noisy function is lower
    than the truth there, the more so in many dimensions, and only an independent one is not misled. A step is taken
    as far as the promised gain less ``caution`` times its standard error is largest, and not at all where that is
    nowhere positive.

    As a gradient estimator (`loss`), it simulates one neighbourhood, trains one surrogate and differentiates it.

    Args:
        surrogate: makes an unfitted surrogate that suits the first designs, inputs and events; `mixture` by default.
        radius: of the first neighbourhood, in ψ.
        largest_radius: of any.
        sampling: how much is simulated before each step.
        window: simulated events, nearest to the present design, on which surrogates are trained.
        members: surrogates.
        descent: how ψ descends.
        caution: see above.
        estimator: for the chain with the surrogate in it; None is `quietest`: pathwise, and for parts with random
            choices one alternative an event.
        corrected: learn from the simulated designs, too, by how much the surrogates' J is off, linearly in ψ, and add
            that to it: a bias of the surrogate that a non-linear objective makes of small errors of many hits, and that
            differs between designs, then costs precision only. None: if the objective is no mean.
        imagined: train a reconstruction on events of the surrogates, which are as many as wanted and cost no calls (on
            the simulated ones until there are surrogates); False: on simulated events, which it may learn by heart.

    Source: S. Shirobokov et al., "Black-Box Optimization with Local Generative Surrogates", NeurIPS 2020,
    arXiv 2002.04632; trust region, reuse, conditioning on inputs and ensemble differ from it.
    """

    def __init__(
        self,
        surrogate: SurrogateFactory | None = None,
        radius: float = 0.4,
        largest_radius: float = 0.6,
        sampling: Sampling | None = None,
        window: int = 4000,
        members: int = 2,
        descent: Descent | None = None,
        caution: float = 0.0,
        estimator: GradientEstimator | None = None,
        corrected: bool | None = None,
        imagined: bool = True,
    ) -> None:
        region = TrustRegion(radius, radius / 10, max(largest_radius, radius))
        super().__init__(region, sampling or Sampling(), window)
        if members < 1:
            raise ConfigurationError("gradient.members", members, "at least 1")
        self.factory: SurrogateFactory = surrogate or mixture
        self.number, self.caution, self.descent = members, caution, descent or Descent()
        self.estimator, self.imagined = estimator, imagined
        self.members: list[Surrogate] = []  # their weights are in the extra state, with what else is needed
        self.fits, self.corrected = 0, corrected
        self._correction: tuple[Tensor, Tensor] | None = None  # centre, 1 x d, and slope, d

    def part(self, simulator: Simulator) -> Simulator:
        return Segments.of(simulator).replaced

    def charge(self, simulator: Simulator, events: int) -> None:
        count(simulator, events)

    def inputs(self, pipeline: Pipeline, phi: DesignPoint, primaries: Events, generator: torch.Generator) -> Events:
        events = primaries
        for part in Segments.of(pipeline.simulator).before:
            events = part(phi, events, generator)
        return events

    def finished(self, pipeline: Pipeline, phi: DesignPoint, outputs: Events, generator: torch.Generator) -> Events:
        events = outputs
        for part in Segments.of(pipeline.simulator).after:
            events = part(phi, events, generator)
        return events

    def recorded(
        self, pipeline: Pipeline, designs: int, events: int, generator: torch.Generator
    ) -> tuple[DesignPoint, Events] | None:
        self._resume(pipeline.design)
        if not self.imagined or not self.members or pipeline.design.discrete:
            return super().recorded(pipeline, designs, events, generator)
        psi = pipeline.design.psi.detach()
        unit = 2 * torch.rand(designs, psi.shape[1], generator=generator, dtype=psi.dtype, device=psi.device) - 1
        phi = pipeline.design.point(psi + self.region.radius * unit).detach()
        primaries = pipeline.primaries.sample(designs * events, generator)
        primaries = primaries._map(lambda tensor: tensor.reshape(designs, events, *tensor.shape[2:]))
        member = int(torch.randint(len(self.members), (1,), generator=generator, device=generator.device))
        with torch.no_grad():
            return phi, self._chains(pipeline)[member](phi, primaries, generator)

    def diagnostics(self) -> dict[str, float]:
        total: dict[str, float] = {}
        for member in self.members:
            for name, value in member.columns().items():
                total[name] = total.get(name, 0.0) + value
        return total

    def learn(self, pipeline: Pipeline, batch: Batch, centre: Tensor, generator: torch.Generator) -> tuple[str, ...]:
        if not self.members:
            self.members = self._new(batch)
        owner, notes = _owners(batch.psi, self.number), set[str]()
        for index, member in enumerate(self.members):
            own = (owner == index).nonzero()[:, 0]
            notes |= self._fit(member, batch[own] if len(own) > 1 else batch, generator)
        self._correction = self._corrected(pipeline, batch, centre, generator)
        return tuple(sorted(notes))

    def residual(self, pipeline: Pipeline, batch: Batch, generator: torch.Generator) -> Estimate:
        residual = self._residuals(pipeline, batch, generator) - self._offset(batch.psi)
        if len(residual) < 2:  # of all other designs nothing came back
            return Estimate(float(residual.mean()), math.inf)
        return Estimate(float(residual.mean()), float(residual.std() / len(residual) ** 0.5))

    def _corrected(
        self, pipeline: Pipeline, batch: Batch, centre: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor] | None:
        """What the surrogates' J lacks of the simulated one, as a slope in ψ at the centre; None: not asked for."""
        wanted = not pipeline.additive if self.corrected is None else self.corrected
        if not wanted or len(batch.psi) < 10:
            return None
        residual = self._residuals(pipeline, batch, generator)
        step = (batch.psi - centre) / self.region.radius
        basis = torch.cat([torch.ones_like(step[:, :1]), step], 1)
        groups = torch.tensor([0] + [1] * step.shape[1], device=step.device)
        if not bool(residual.isfinite().all()):
            return None
        fitted = evidence_ridge(basis, residual[:, None].to(basis), torch.ones_like(residual), groups)
        return centre, fitted[1:, 0] / self.region.radius

    def _offset(self, psi: Tensor) -> Tensor:
        """``b``, the correction at designs ``b x d``; zero at the centre, for only differences matter."""
        if self._correction is None:
            return psi.new_zeros(len(psi))
        centre, slope = self._correction
        return (psi - centre) @ slope

    def _residuals(self, pipeline: Pipeline, batch: Batch, generator: torch.Generator) -> Tensor:
        """Simulated minus predicted objective of each design, ``b``."""
        copies = COPIES if pipeline.additive and batch.outputs.count == 1 else 1
        # Copies of what was simulated, too: parts after it cost nothing, and their noise averages out.
        inputs, outputs = (
            part._map(lambda tensor: tensor.repeat_interleave(copies, 1)) for part in (batch.inputs, batch.outputs)
        )
        with torch.no_grad():
            simulated = pipeline.score(self.finished(pipeline, batch.phi, outputs, generator), batch.phi)
            expected = [
                pipeline.score(
                    self.finished(pipeline, batch.phi, m(batch.phi, inputs, generator), generator), batch.phi
                )
                for m in self.members
            ]
        return simulated - torch.stack(expected).mean(0)

    def minimise(self, pipeline: Pipeline, centre: Tensor, generator: torch.Generator) -> tuple[Tensor, Estimate]:
        primaries, seed = pipeline.primaries.sample(self.descent.events, generator), draw_seed(generator)
        chains = self._chains(pipeline)
        steps = [self._descend(pipeline, chain, centre, primaries, seed) - centre for chain in chains]
        gains = [self._promised(pipeline, chains, centre, steps, share, (primaries, seed)) for share in SHARES]
        sure = [gain.value - self.caution * gain.standard_error for gain in gains]
        best = max(range(len(sure)), key=sure.__getitem__)
        if sure[best] > 0:
            return centre + SHARES[best] * torch.stack(steps).mean(0), gains[best]
        return centre, Estimate(0.0, gains[best].standard_error)

    def _promised(
        self,
        pipeline: Pipeline,
        chains: list[Simulator],
        centre: Tensor,
        steps: list[Tensor],
        share: float,
        common: tuple[Events, int],
    ) -> Estimate:
        """Gain of each surrogate's step according to the others, averaged."""
        before = [self._value(pipeline, chain, centre, *common) for chain in chains]
        gains = [
            before[judge] - self._value(pipeline, chain, centre + share * step, *common)
            for own, step in enumerate(steps)
            for judge, chain in enumerate(chains)
            if judge != own or len(chains) == 1
        ]
        return _estimate(torch.stack(gains))

    def value(self, pipeline: Pipeline, psi: Tensor, generator: torch.Generator) -> Estimate:
        primaries, seed = pipeline.primaries.sample(self.descent.events, generator), draw_seed(generator)
        values = [self._value(pipeline, chain, psi, primaries, seed) for chain in self._chains(pipeline)]
        return _estimate(torch.stack(values) - pipeline.penalty(pipeline.design.point(psi).detach()))

    def gain(self, pipeline: Pipeline, start: Tensor, end: Tensor, generator: torch.Generator) -> Estimate:
        common = pipeline.primaries.sample(self.descent.events, generator), draw_seed(generator)
        chains = self._chains(pipeline)
        gains = [self._value(pipeline, c, start, *common) - self._value(pipeline, c, end, *common) for c in chains]
        return _estimate(torch.stack(gains))

    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        segments = Segments.of(simulator)
        source = generator or torch.Generator(design.psi.device).manual_seed(draw_seed(None))
        fresh = LocalSurrogate(self.factory, self.region.radius, self.region.largest, self.sampling, members=1)
        pipeline = Pipeline(simulator, design, _given(primaries), score, additive=True)
        batch, _, notes = fresh.simulated(pipeline, source)
        if batch is None:
            raise NonFiniteError(f"no design near the present one can be simulated ({'; '.join(notes)})")
        fresh.learn(pipeline, batch, design.psi.detach(), source)
        chain = segments.with_surrogate(fresh.members[0])
        return (self.estimator or quietest(chain)).loss(chain, design, primaries, score, source)

    def model_state(self) -> dict[str, Any]:
        return {
            "fits": self.fits,
            "correction": self._correction,
            "members": [member.state_dict() for member in self.members],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.fits = int(state["fits"])
        self._correction = None if state["correction"] is None else tuple(state["correction"])
        if state["members"]:
            self.members = self._new(self.replay.batches[-1])
            for member, weights in zip(self.members, state["members"], strict=True):
                member.load_state_dict(weights)

    def _new(self, batch: Batch) -> list[Surrogate]:
        make = partial(self.factory, batch.phi, batch.inputs, batch.outputs)
        return [make().to(batch.psi.device) for _ in range(self.number)]

    def _fit(self, member: Surrogate, batch: Batch, generator: torch.Generator) -> set[str]:
        """Refit; one that diverges is fitted anew, and keeps its last weights if that fails too. Returns notes."""
        notes = set[str]()
        before = {name: value.clone() for name, value in member.state_dict().items()}
        for warm in (self.fits >= self.number, False):
            try:
                member.fit(batch.phi, batch.inputs, batch.outputs, seed=draw_seed(generator), warm=warm)
                self.fits += 1
                return notes
            except NonFiniteError as error:
                member.load_state_dict(before)
                notes = {f"a surrogate that diverged was fitted anew: {error}"}
        if self.fits < self.number:
            raise NonFiniteError("the local surrogate cannot be fitted to the first neighbourhood: its loss diverges")
        self.region.scale(TrustRegion.SHRINK)
        return {"a surrogate that diverged twice keeps its last weights, and the neighbourhood shrinks"}

    def _descend(self, pipeline: Pipeline, chain: Simulator, centre: Tensor, primaries: Events, seed: int) -> Tensor:
        """The end of the descent in ψ through one surrogate, within the region."""
        design, radius, settings = pipeline.design, self.region.radius, self.descent
        kept, estimator = design.psi.detach().clone(), self.estimator or quietest(chain)

        def gradient(psi: Tensor) -> Tensor:
            design.psi.data.copy_(psi)
            generator = torch.Generator(centre.device).manual_seed(seed)
            loss = estimator.loss(chain, design, primaries, pipeline.score, generator)
            loss = loss + pipeline.penalty(design()).sum() + self._offset(design.psi).sum()
            (slope,) = torch.autograd.grad(loss, design.psi, allow_unused=True)
            return torch.full_like(psi[0], torch.nan) if slope is None else slope[0]

        def inside(psi: Tensor) -> Tensor:
            return _inside(psi, centre, radius)

        try:
            if settings.method == "adam":
                return _adam(gradient, centre, inside, settings.rate * radius, settings.steps)
            return descended(gradient, centre, inside, radius, settings.steps)
        finally:
            design.psi.data.copy_(kept)

    def _chains(self, pipeline: Pipeline) -> list[Simulator]:
        segments = Segments.of(pipeline.simulator)
        return [segments.with_surrogate(member) for member in self.members]

    def _value(self, pipeline: Pipeline, chain: Simulator, psi: Tensor, primaries: Events, seed: int) -> Tensor:
        """J of one surrogate at one design, penalty included; the same noise for all designs."""
        phi = pipeline.design.point(psi).detach()
        with torch.no_grad():
            events = chain(phi, primaries, torch.Generator(psi.device).manual_seed(seed))
            return pipeline.score(events, phi)[0] + pipeline.penalty(phi)[0] + self._offset(psi)[0]


def _given(primaries: Events) -> PrimarySource:
    """The primaries of one estimate, drawn with replacement."""
    names = [f"truth {k}" for k in range(primaries.truth.shape[2])]
    return Recorded(primaries, names, [""] * len(names))


def _estimate(values: Tensor) -> Estimate:
    """Mean and standard error; of a single value, which says nothing about its error, a quarter of its size."""
    if len(values) == 1:
        return Estimate(float(values[0]), float(values[0].abs()) / 4)
    return Estimate(float(values.mean()), float(values.std() / len(values) ** 0.5))


def _owners(psi: Tensor, members: int) -> Tensor:
    """Which member learns from which design: the same each time, so that the others never see it."""
    return (psi.double().sum(1).mul(1e6).round().long() * 2_654_435_761 >> 16) % members


def _adam(
    gradient: Callable[[Tensor], Tensor], start: Tensor, inside: Callable[[Tensor], Tensor], rate: float, steps: int
) -> Tensor:
    """The end of a descent with a rate that falls to its tenth; a gradient that is not finite ends it."""
    psi = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([psi], lr=rate, betas=(0.8, 0.95))
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.1 ** (1 / steps))
    for _ in range(steps):
        psi.grad = gradient(psi.detach())[None]
        if not bool(psi.grad.isfinite().all()):
            break
        optimiser.step()
        decay.step()
        psi.data.copy_(inside(psi.detach()))
    return psi.detach().clone()


def _inside(psi: Tensor, centre: Tensor, radius: float) -> Tensor:
    """The nearest point of the box, and of the ball that holds most of the designs drawn in it."""
    step = (psi - centre).clamp(-radius, radius)
    limit = 1.2 * radius * (psi.shape[1] / 3) ** 0.5
    return centre + step * min(1.0, limit / max(float(step.norm()), 1e-12))
