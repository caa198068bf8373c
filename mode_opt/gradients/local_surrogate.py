"""Local generative surrogates: a differentiable copy of the black box near the present design."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.gradients.automatic import Automatic
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.gradients.local_search import LocalSearch, Sampling
from mode_opt.gradients.replay import Batch
from mode_opt.gradients.search import Pipeline
from mode_opt.gradients.segments import Segments
from mode_opt.gradients.trust_region import TrustRegion
from mode_opt.objectives import Estimate
from mode_opt.simulation import PrimarySource, Simulator
from mode_opt.simulation.program import draw_seed
from mode_opt.simulation.running import count
from mode_opt.surrogates import Surrogate, gaussian

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
        steps: of Adam.
        rate: first step in units of the radius; falls to a tenth of it.

    Raises:
        ConfigurationError: for numbers that are not positive.
    """

    events: int = 2048
    steps: int = 40
    rate: float = 0.15

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigurationError(f"gradient.descent.{name}", value, "a positive number")


@final
class LocalSurrogate(LocalSearch, GradientEstimator):
    """Replace the black box by a conditional generative model p(y | x, φ) of its neighbourhood, and descend through it.

    Only the black-box part of a chain is replaced: what comes out of the parts before it is the condition x, the parts
    after it run on the surrogate's samples, and all keep their own derivatives (pathwise, or by scores if they are
    stochastic), so that design parameters of all parts move together. Primaries are the same for all designs of a
    descent and for start and end, so that their variance cancels.

    Several surrogates are trained, each on its own bootstrap of the designs. A step is taken as far as the mean gain less
    ``caution`` times its standard error (their scatter) is largest, and not at all where it is nowhere positive.

    As a gradient estimator (`loss`), it simulates one neighbourhood, trains one surrogate and differentiates it.

    Args:
        surrogate: makes an unfitted surrogate that suits the first designs, inputs and events; `gaussian` by default.
        radius: of the first neighbourhood, in ψ.
        largest_radius: of any.
        sampling: how much is simulated before each step.
        window: simulated events, nearest to the present design, on which surrogates are trained.
        members: surrogates.
        descent: how ψ descends.
        caution: see above.
        estimator: for the chain with the surrogate in it; None is pathwise, or scores if a part is stochastic.

    Source: S. Shirobokov et al., "Black-Box Optimization with Local Generative Surrogates", NeurIPS 2020,
    arXiv 2002.04632; trust region, reuse, conditioning on inputs and ensemble differ from it.
    """

    def __init__(
        self,
        surrogate: SurrogateFactory | None = None,
        radius: float = 0.25,
        largest_radius: float = 0.6,
        sampling: Sampling | None = None,
        window: int = 4000,
        members: int = 2,
        descent: Descent | None = None,
        caution: float = 0.5,
        estimator: GradientEstimator | None = None,
    ) -> None:
        region = TrustRegion(radius, min(0.01, radius), max(largest_radius, radius))
        super().__init__(region, sampling or Sampling(), window)
        if members < 1:
            raise ConfigurationError("gradient.members", members, "at least 1")
        self.factory: SurrogateFactory = surrogate or gaussian
        self.number, self.caution, self.descent = members, caution, descent or Descent()
        self.estimator = estimator or Automatic()
        self.members = nn.ModuleList()
        self.fits = 0

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

    def learn(self, pipeline: Pipeline, batch: Batch, centre: Tensor, generator: torch.Generator) -> None:
        if not self.members:
            self.members = self._new(batch).to(batch.psi.device)
        for member in self.members:
            self._fit(cast(Surrogate, member), batch, generator)

    def residual(self, pipeline: Pipeline, batch: Batch, generator: torch.Generator) -> Estimate:
        copies = COPIES if pipeline.additive and batch.outputs.count == 1 else 1
        inputs = batch.inputs._map(lambda tensor: tensor.repeat_interleave(copies, 1))
        with torch.no_grad():
            simulated = pipeline.score(self.finished(pipeline, batch.phi, batch.outputs, generator), batch.phi)
            expected = [
                pipeline.score(
                    self.finished(pipeline, batch.phi, m(batch.phi, inputs, generator), generator), batch.phi
                )
                for m in self.members
            ]
        residual = simulated - torch.stack(expected).mean(0)
        return Estimate(float(residual.mean()), float(residual.std() / len(residual) ** 0.5))

    def minimise(self, pipeline: Pipeline, centre: Tensor, generator: torch.Generator) -> tuple[Tensor, Estimate]:
        primaries = pipeline.primaries.sample(self.descent.events, generator)
        seed = draw_seed(generator)
        best = self._descend(pipeline, centre, primaries, seed)
        candidates = [centre + share * (best - centre) for share in SHARES]
        gains = [self._difference(pipeline, centre, end, primaries, seed) for end in candidates]
        sure = [gain.value - self.caution * gain.standard_error for gain in gains]
        chosen = max(range(len(sure)), key=sure.__getitem__)
        if sure[chosen] > 0:
            return candidates[chosen], gains[chosen]
        return centre, Estimate(0.0, gains[chosen].standard_error)

    def value(self, pipeline: Pipeline, psi: Tensor, generator: torch.Generator) -> Estimate:
        primaries, seed = pipeline.primaries.sample(self.descent.events, generator), draw_seed(generator)
        values = self._values(pipeline, psi, primaries, seed)
        return Estimate(float(values.mean()), _scatter(values))

    def gain(self, pipeline: Pipeline, start: Tensor, end: Tensor, generator: torch.Generator) -> Estimate:
        primaries, seed = pipeline.primaries.sample(self.descent.events, generator), draw_seed(generator)
        return self._difference(pipeline, start, end, primaries, seed)

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
        pipeline = Pipeline(simulator, design, _Given(primaries), score, additive=True)
        batch, _, notes = fresh.simulated(pipeline, source)
        if batch is None:
            raise NonFiniteError(f"no design near the present one can be simulated ({'; '.join(notes)})")
        fresh.learn(pipeline, batch, design.psi.detach(), source)
        chain = segments.with_surrogate(cast(Surrogate, fresh.members[0]))
        return self.estimator.loss(chain, design, primaries, score, source)

    def model_state(self) -> dict[str, Any]:
        return {"fits": self.fits, "members": [member.state_dict() for member in self.members]}

    def restore(self, state: dict[str, Any]) -> None:
        self.fits = int(state["fits"])
        if state["members"]:
            self.members = self._new(self.replay.batches[-1])
            for member, weights in zip(self.members, state["members"], strict=True):
                member.load_state_dict(weights)

    def _new(self, batch: Batch) -> nn.ModuleList:
        make = partial(self.factory, batch.phi, batch.inputs, batch.outputs)
        return nn.ModuleList(make() for _ in range(self.number))

    def _fit(self, member: Surrogate, batch: Batch, generator: torch.Generator) -> None:
        """Refit; one that diverges is fitted anew, and keeps its last weights if that fails too."""
        seen = batch.outputs.reweighted(_bootstrap(batch, generator)) if self.number > 1 else batch.outputs
        before = {name: value.clone() for name, value in member.state_dict().items()}
        for warm in (self.fits >= self.number, False):
            try:
                member.fit(batch.phi, batch.inputs, seen, seed=draw_seed(generator), warm=warm)
                self.fits += 1
                return
            except NonFiniteError:
                member.load_state_dict(before)
        if self.fits < self.number:
            raise NonFiniteError("the local surrogate cannot be fitted to the first neighbourhood: its loss diverges")
        self.region.scale(TrustRegion.SHRINK)

    def _descend(self, pipeline: Pipeline, centre: Tensor, primaries: Events, seed: int) -> Tensor:
        """Adam in ψ through the mean of the surrogates, within the region."""
        design, radius = pipeline.design, self.region.radius
        optimiser = torch.optim.Adam([design.psi], lr=self.descent.rate * radius, betas=(0.8, 0.95))
        decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.1 ** (1 / self.descent.steps))
        kept = design.psi.detach().clone()
        chains = self._chains(pipeline)
        try:
            design.psi.data.copy_(centre)
            for _ in range(self.descent.steps):
                optimiser.zero_grad()
                loss = self._loss(pipeline, chains, primaries, seed)
                loss.backward(inputs=[design.psi])
                if design.psi.grad is None or not bool(design.psi.grad.isfinite().all()):
                    break
                optimiser.step()
                decay.step()
                design.psi.data.copy_(_inside(design.psi.detach(), centre, radius))
            return design.psi.detach().clone()
        finally:
            design.psi.data.copy_(kept)
            design.psi.grad = None

    def _chains(self, pipeline: Pipeline) -> list[Simulator]:
        segments = Segments.of(pipeline.simulator)
        return [segments.with_surrogate(cast(Surrogate, member)) for member in self.members]

    def _loss(self, pipeline: Pipeline, chains: list[Simulator], primaries: Events, seed: int) -> Tensor:
        device = pipeline.design.psi.device
        losses = [
            self.estimator.loss(
                chain, pipeline.design, primaries, pipeline.score, torch.Generator(device).manual_seed(seed)
            )
            for chain in chains
        ]
        return torch.stack(losses).mean() + pipeline.penalty(pipeline.design()).sum()

    def _values(self, pipeline: Pipeline, psi: Tensor, primaries: Events, seed: int) -> Tensor:
        """J of each member at one design."""
        phi = pipeline.design.point(psi).detach()
        device = psi.device
        with torch.no_grad():
            values = [
                pipeline.score(chain(phi, primaries, torch.Generator(device).manual_seed(seed)), phi)[0]
                for chain in self._chains(pipeline)
            ]
            return torch.stack(values) + pipeline.penalty(phi)

    def _difference(self, pipeline: Pipeline, start: Tensor, end: Tensor, primaries: Events, seed: int) -> Estimate:
        gains = self._values(pipeline, start, primaries, seed) - self._values(pipeline, end, primaries, seed)
        return Estimate(float(gains.mean()), _scatter(gains))


@final
class _Given(PrimarySource):
    """The primaries of one estimate, drawn with replacement."""

    def __init__(self, primaries: Events) -> None:
        super().__init__()
        self.primaries = primaries

    @property
    def truth_names(self) -> tuple[str, ...]:
        return ()

    @property
    def truth_units(self) -> tuple[str, ...]:
        return ()

    def sample(self, count: int, generator: torch.Generator | None = None) -> Events:
        device = "cpu" if generator is None else generator.device
        chosen = torch.randint(self.primaries.count, (count,), generator=generator, device=device)
        return self.primaries.design(0).select(chosen)


def _scatter(values: Tensor) -> float:
    """Standard deviation between members; of a single one the size of the value, for lack of anything better."""
    return float(values.std()) if len(values) > 1 else float(values.abs().max()) / 4


def _inside(psi: Tensor, centre: Tensor, radius: float) -> Tensor:
    """The nearest point of the box, and of the ball that holds most of the designs drawn in it."""
    step = (psi - centre).clamp(-radius, radius)
    limit = 1.2 * radius * (psi.shape[1] / 3) ** 0.5
    return centre + step * min(1.0, limit / max(float(step.norm()), 1e-12))


def _bootstrap(batch: Batch, generator: torch.Generator) -> Tensor:
    """``b x n``, exponential weights of the designs (Bayesian bootstrap, D. Rubin, Ann. Statist. 9 (1981) 130)."""
    uniform = torch.rand(len(batch.psi), 1, generator=generator, device=generator.device).to(batch.psi)
    return -torch.log1p(-uniform).expand(-1, batch.outputs.count)
