"""Score functions in which a deposit answers only for its own ancestors."""

from collections.abc import Mapping
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.gradients.variates import explained_columns
from mode_opt.gradients.weighted import without_itself
from mode_opt.simulation import BranchingProgram, Promise, Simulator, Step
from mode_opt.simulation.choices import Chooser, Lineages, Recording, fork
from mode_opt.simulation.controls import Noting
from mode_opt.simulation.particles import Particles
from mode_opt.simulation.program import draw_seed
from mode_opt.simulation.running import count, parts, run_part, written_in_choices
from mode_opt.simulation.stepping import LocalRows, SteppingAction, discrete


@final
class LineageCredit(GradientEstimator):
    """Score function with credit along lineages, for branching programs, whose hits S are sums of deposits.

    Of a deposit r only the choices L of the particle that left it and of its ancestors can have changed the mean:
    ``dE[Σ_h r_h] = E[Σ_h r_h ∇L_h]``, without the choices of all other branches, which are noise. An objective
    that is not linear in the hits is split: with the influence a of an event and coefficients G of a regression
    of a on S that leaves the event out,

        ``dJ = Σ_i w_i ((a_i − G_i·S_i) ∇log p_i + G_i·(Σ_h r_h ∇L_h)_i)``,

    which is unbiased for any G that does not know event i. The first term has the batch mean as baseline (leave
    one out); in the second, each choice has as baseline what particles leave on average from that step on, in
    proportion to the first state named in the program's ``controls`` (the energy, say), in the other half of the
    events. Choices of later parts of a chain count as in `ScoreFunction`.

    Needs ``n x (cells x features + steps) x d`` numbers.

    Raises:
        ConfigurationError: if the simulator does not begin with a branching program, or that is continuous; for
            a single event.

    Source: docs/gradients.md; the decomposition of rewards by causality is that of R. S. Sutton et al.,
    NeurIPS 1999 (policy gradients), along a tree instead of a path.
    """

    @property
    def requires(self) -> Promise:
        return Promise.STOCHASTIC

    def check(self, simulator: Simulator) -> None:
        super().check(simulator)
        written_in_choices(simulator)
        _taken_apart(simulator)

    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        if primaries.count < 2:
            expected = "at least 2 for lineage_credit, whose baseline is a matter of the other events"
            raise ConfigurationError("events per step", primaries.count, expected)
        phi = design()
        credits, sums, events = _simulated(simulator, phi, primaries, draw_seed(generator, phi.values.device))
        weight = events.weight.detach().clone().requires_grad_()
        value = score(replace(events, weight=weight), phi)
        (influence,) = torch.autograd.grad(value.sum(), weight, retain_graph=True, allow_unused=True)
        if influence is None:
            return value.mean()  # an objective of the design alone
        per_event, through = credits.derivative(influence[0], weight[0].detach(), sums)
        surrogate = (through * (phi.values - phi.values.detach())).sum()
        if events.log_probability is not None:  # of the later parts
            surrogate = surrogate + (per_event * (events.log_probability - events.log_probability.detach())[0]).sum()
        return value.mean() + surrogate


def _taken_apart(simulator: Simulator) -> tuple[BranchingProgram, list[Simulator]]:
    """The branching program, and the parts that follow it.

    Raises:
        ConfigurationError: if there is none at the beginning, or it is continuous.
    """
    first, *later = parts(simulator)
    if isinstance(first, BranchingProgram) and not first.continuous:
        return first, later
    raise ConfigurationError(
        "gradient",
        "lineage_credit",
        f"score_function, because {type(first).__name__} is no branching program whose states depend on the design "
        "through choices alone",
    )


def _simulated(
    simulator: Simulator, phi: DesignPoint, primaries: Events, seed: int
) -> tuple["Credits", Tensor, Events]:
    """Credits and sums ``n x (h f)`` of the branching program, and the events at the end of the chain."""
    program, later = _taken_apart(simulator)
    events, first = primaries.expand(1), fork(seed, 0)
    lineages = Lineages.of_events(1, events.count, first, phi.values.device)
    owner = torch.zeros(events.count, dtype=torch.int64, device=phi.values.device)
    credits = Credits(program, phi, events.count)
    hits = program.transport(phi, owner, program.enter(phi, events, lineages), credits)
    events = program.events(events, hits.to(phi.values.dtype))
    sums = events.hits[0].flatten(1)
    for index, part in enumerate(later, start=1):
        recording = Recording(events.count)
        events = run_part(part, phi, events, recording, fork(seed, index))
        chosen = recording.log_probability(events.truth).reshape(1, -1)
        events = replace(events, controls=None).with_choices(chosen)
    count(simulator, events.count)
    return credits, sums, events


@final
class Credits(SteppingAction):
    """Keeps ∇ log p of each event, of each particle's lineage, and of every cell what its deposits answer for.

    For the baseline: the deposits of each step and the weighted scores of its choices, halved into events of even
    and odd number, so that an event's baseline is a matter of the others.

    Args:
        program: gives the shape of the hits, and the weight: the first of its ``controls``, or 1.
        phi: one design.
        events: number of events n.
    """

    def __init__(self, program: BranchingProgram, phi: DesignPoint, events: int) -> None:
        self._local, self._step, self._weight = LocalRows(), Noting(), program.controls[:1]
        self._zeros = phi.values.new_zeros(events, phi.values.shape[1])
        self._score = self._zeros.clone()
        self._credit = phi.values.new_zeros(events, program.cells, program.features, phi.values.shape[1])
        self._deposits: list[Tensor] = []
        self._weights: list[Tensor] = []
        self._scores: list[Tensor] = []

    def rows(self, phi: DesignPoint, design: Tensor) -> DesignPoint:
        return self._local.renew(phi, design)

    def chooser(self, particles: Particles) -> Chooser:
        self._step = Noting()
        return self._step

    def settle(self, particles: Particles, step: Step) -> tuple[Step, Mapping[str, Tensor]]:
        event = particles.lineages.event
        lineage = particles.inherited.get("score", torch.zeros_like(self._local.values))
        slope = torch.zeros_like(self._local.values)
        if self._step.calls:
            total = torch.stack([law.log_probability(outcome).sum() for law, outcome, _ in self._step.calls]).sum()
            slope = self._local.slope(total)
        weight = particles.state[self._weight[0]] if self._weight else torch.ones_like(slope[:, 0])
        self._score.index_add_(0, event, slope)
        self._scores.append(self._zeros.index_add(0, event, slope * weight.unsqueeze(1)))
        self._weights.append(weight.new_zeros(2).index_add(0, event % 2, weight))
        self._deposits.append(torch.zeros_like(self._credit[:2, :, :, 0]))
        return discrete(step), {"score": lineage + slope}

    def tally(self, event: Tensor, cell: Tensor, value: Tensor, labels: Mapping[str, Tensor]) -> None:
        owed = value.unsqueeze(2) * labels["score"].unsqueeze(1)
        self._credit.index_put_((event, cell), owed, accumulate=True)
        self._deposits[-1].index_put_((event % 2, cell), value, accumulate=True)

    def derivative(self, influence: Tensor, weight: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """What each event's later choices count ``n``, and dJ/dφ through the choices of the program, ``d``."""
        own, share = without_itself(weight), weight / weight.sum()
        counts = influence * weight * own
        coefficients = explained_columns(influence * weight.sum(), sums, influence.numel())
        if coefficients is None:
            return counts, counts @ self._score
        coefficients = coefficients * share.unsqueeze(1)
        linear = (coefficients * (sums - share @ sums)).sum(1) * own
        through = (counts - linear) @ self._score
        through = through + torch.einsum("nc,ncd->d", coefficients, self._credit.flatten(1, 2))
        return counts, through - self._baseline(coefficients)

    def _baseline(self, coefficients: Tensor) -> Tensor:
        """``Σ_i V_i ∇log p_i`` over all steps of all particles."""
        later = torch.stack(self._deposits).flip(0).cumsum(0).flip(0).flatten(2)
        total = torch.stack(self._weights)
        rate = torch.where(total > 0, 1 / total, torch.zeros_like(total)).unsqueeze(2) * later
        result = self._zeros[0]
        for half in (0, 1):
            value = rate[:, 1 - half] @ coefficients[half::2].T
            scores = torch.stack([score[half::2] for score in self._scores])
            result = result + torch.einsum("tn,tnd->d", value, scores)
        return result
