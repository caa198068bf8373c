"""One alternative history an event of a branching program, at the price of one subtree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, SimulationError
from mode_opt.events import Events
from mode_opt.gradients.race import Race
from mode_opt.gradients.sites import Candidates, Overriding, candidates
from mode_opt.simulation import BranchingProgram, Step
from mode_opt.simulation.choices import Chooser, Lineages
from mode_opt.simulation.controls import ControlSums, Noting
from mode_opt.simulation.particles import Particles
from mode_opt.simulation.stepping import CallSlopes, LocalRows, SteppingAction, Untallied, discrete


def explore_tree(
    program: BranchingProgram, phi: DesignPoint, primaries: Events, seed: int
) -> tuple[Events, Events, Tensor, int]:
    """Simulate; choose one random choice of each event; simulate what comes of its other outcome.

    The choice is drawn with probability proportional to the size of the derivative of its law. Only the particle
    that made it is followed again, from before that step; what it and its descendants left the first time is
    subtracted. Its random numbers stay its own, so that it does again what the choice does not change.

    Args:
        program: whose states do not depend on the design other than through choices.
        phi: one design.
        primaries: ``1 x n``.
        seed: of the streams.

    Returns:
        Events as drawn (their controls carry derivatives), the alternatives, the tangent of each (``n``, value 0),
        and the number of alternatives that were simulated.

    Raises:
        ConfigurationError: if the program is continuous.

    Source: pruning: G. Arya et al., NeurIPS 2022, arXiv 2210.08572; showers: M. Kagan and L. Heinrich,
    arXiv 2308.16680. Bounded two-sided weights, the coupling through the continuing particle, and the subtraction
    of subtrees: docs/gradients.md.
    """
    if program.continuous:
        raise ConfigurationError(
            "gradient", "pruned_alternative", f"score_function for {type(program).__name__}, which is continuous"
        )
    owner = torch.zeros(primaries.count, dtype=torch.int64, device=phi.values.device)
    lineages = Lineages.of_events(1, primaries.count, seed, phi.values.device)
    drawing = Exploration(program, phi, primaries.count)
    hits = program.transport(phi, owner, program.enter(phi, primaries, lineages), drawing)
    slots = drawing.slots()
    again = Repetition(program, phi, slots)
    changed = program.transport(phi, owner[: slots.count], slots.particles, again)
    width = max(drawing.controls.width, again.controls.width)
    silent = primaries.weight.new_zeros(1, primaries.count)
    controls = drawing.controls.total(phi, owner, width)
    drawn = program.events(primaries, hits.to(phi.values.dtype)).with_choices(silent, controls.unsqueeze(0))
    hits = hits.index_add(0, slots.event, changed - drawing.subtree[slots.event])
    difference = again.controls.values(width) - drawing.subtree_controls.values(width)[slots.event]
    controls = controls.detach().index_add(0, slots.event, difference)
    other = program.events(primaries, hits.to(phi.values.dtype)).with_choices(silent, controls.unsqueeze(0)).detach()
    return drawn, other, slots.tangent(phi, primaries.count), slots.count


@dataclass(frozen=True, eq=False)
class Slots:
    """The chosen choices of M events.

    Attributes:
        event: of each, ``M``.
        particles: who made them, before the step; their events are numbered 0 … M − 1.
        changes: what is to be changed, one entry each.
        slope: derivative of the tangent, ``M x d``, divided by the probability of the choice.
    """

    event: Tensor
    particles: Particles
    changes: Candidates
    slope: Tensor

    @property
    def count(self) -> int:
        """M."""
        return self.event.numel()

    def tangent(self, phi: DesignPoint, events: int) -> Tensor:
        """What the derivative owes to the alternative of each event; value 0."""
        owed = (self.slope * (phi.values - phi.values.detach())).sum(1)
        return owed.new_zeros(events).index_add(0, self.event, owed)


@final
class Exploration(SteppingAction):
    """Keeps one choice an event while the program runs, and what the subtree below it leaves.

    Args:
        program: gives the shape of the hits and the weights of the controls.
        phi: one design.
        events: number of events n.

    Attributes:
        subtree: ``n x h x f``, deposits of the particle that made the kept choice, from that step on.
        controls, subtree_controls: control variates of all particles and of those of the subtree.
    """

    def __init__(self, program: BranchingProgram, phi: DesignPoint, events: int) -> None:
        self._local, self._scale = LocalRows(), phi.values.new_tensor(phi.layout.scale)
        self._race = Race(events, phi.values)
        self._step, self._counter = Noting(), torch.empty(0, dtype=torch.int64)
        self._kept: dict[str, Tensor] = {}
        self._names: tuple[str, ...] = ()
        self.subtree = self._race.total.new_zeros(events, program.cells, program.features)
        self.controls = ControlSums(program.controls, events, phi.values)
        self.subtree_controls = ControlSums(program.controls, events, phi.values)

    def rows(self, phi: DesignPoint, design: Tensor) -> DesignPoint:
        return self._local.renew(phi, design)

    def chooser(self, particles: Particles) -> Chooser:
        self._step, self._counter = Noting(), particles.lineages.counter.clone()
        return self._step

    def settle(self, particles: Particles, step: Step) -> tuple[Step, Mapping[str, Tensor]]:
        event = particles.lineages.event
        tag = particles.inherited.get("subtree", torch.zeros_like(event, dtype=torch.bool))
        owners = [particles.owner(site) for _, _, site in self._step.calls]
        pairs = zip(self._step.calls, owners, strict=True)
        slopes = [self._local.slopes(law, site, owner) for (law, _, site), owner in pairs]
        if self._step.calls:
            tag = self._choose(particles, tag, owners, slopes)
        for number, (law, outcome, _) in enumerate(self._step.calls):
            expected, owner = law.expected, owners[number]
            residual = (law.encode(outcome) - expected.detach()).flatten()
            self.controls.add(number, particles, owner, residual, -slopes[number].of(expected))
            self.subtree_controls.add(number, particles, owner, residual, kept=tag)
        return discrete(step), {"subtree": tag}

    def tally(self, event: Tensor, cell: Tensor, value: Tensor, labels: Mapping[str, Tensor]) -> None:
        below = labels["subtree"]
        self.subtree.index_put_((event[below], cell[below]), value[below].double(), accumulate=True)

    def _choose(
        self, particles: Particles, tag: Tensor, owners: Sequence[Tensor], slopes: Sequence[CallSlopes]
    ) -> Tensor:
        """Let the candidates of this step race; returns who belongs to a kept subtree now."""
        offered, slope, particle = self._offered(particles, owners, slopes)
        weight = torch.linalg.vector_norm(slope * self._scale, dim=1)
        winner = self._race.offer(offered.event, weight, offered.uniform)
        event = offered.event[winner]
        self._keep(event, particles.select(particle[winner]), self._counter[particle[winner]])
        for name in Candidates.__dataclass_fields__:
            self._put(f"change {name}", event, getattr(offered, name)[winner].detach())
        self._put("slope", event, slope[winner] / weight[winner].unsqueeze(1))
        self.subtree[event] = 0
        self.subtree_controls.clear(event)
        won = torch.zeros_like(self._race.total, dtype=torch.bool).index_fill(0, event, True)
        return (tag & ~won[particles.lineages.event]).index_fill(0, particle[winner], True)

    def _offered(
        self, particles: Particles, owners: Sequence[Tensor], slopes: Sequence[CallSlopes]
    ) -> tuple[Candidates, Tensor, Tensor]:
        """All ``m`` candidates of this step, the derivatives of their tangents ``m x d``, and their particles."""
        found, moved, chosen = [], [], []
        for (law, outcome, site), owner, slope in zip(self._step.calls, owners, slopes, strict=True):
            if site.word.ndim > 1 and site.word.shape[1:].numel() > 1:
                raise SimulationError(
                    f"{type(law).__name__} in step(): got {tuple(site.word.shape)} choices that depend on the design, "
                    f"expected ({particles.count},), one a particle and call"
                )
            for candidate in candidates(law, outcome, site):
                found.append(candidate)
                each = slope.of(candidate.tangent)
                moved.append(each if owner.numel() == particles.count else each[owner])
                chosen.append(owner)
        if len(found) == 1:  # what is seen most; nothing is copied
            return found[0], moved[0], chosen[0]
        return Candidates.cat(found), torch.cat(moved), torch.cat(chosen)

    def _keep(self, event: Tensor, particles: Particles, counter: Tensor) -> None:
        self._names = tuple(particles.state)
        for name, value in particles.state.items():
            self._put(f"state {name}", event, value)
        lineages = {"key": particles.lineages.key, "counter": counter, "steps": particles.steps}
        for name, value in lineages.items():
            self._put(name, event, value)

    def _put(self, name: str, event: Tensor, value: Tensor) -> None:
        if name not in self._kept:
            self._kept[name] = value.new_zeros(self._race.total.numel(), *value.shape[1:])
        self._kept[name][event] = value

    def slots(self) -> Slots:
        """What was kept, of the events in which any choice depends on the design."""
        event = (self._race.total > 0).nonzero().squeeze(1)
        if event.numel() == 0:
            return _no_slots(event, self._scale)
        kept = {name: value[event] for name, value in self._kept.items()}
        number = torch.arange(event.numel(), device=event.device)
        lineages = Lineages(number, kept["key"], kept["counter"])
        state = {name: kept[f"state {name}"] for name in self._names}
        changes = Candidates(*(kept[f"change {name}"] for name in Candidates.__dataclass_fields__))
        slope = kept["slope"] * self._race.total[event].unsqueeze(1).to(kept["slope"].dtype)
        return Slots(event, Particles(lineages, state, kept["steps"]), replace(changes, event=number), slope)


@final
class Repetition(Untallied):
    """Repeats particles with one choice changed, keeping the controls."""

    def __init__(self, program: BranchingProgram, phi: DesignPoint, slots: Slots) -> None:
        self._local, self._changes, self._step = LocalRows(), slots.changes, Noting()
        self.controls = ControlSums(program.controls, slots.count, phi.values)

    def rows(self, phi: DesignPoint, design: Tensor) -> DesignPoint:
        return self._local.renew(phi, design)

    def chooser(self, particles: Particles) -> Chooser:
        self._step = Noting()
        return Overriding(self._changes, self._step)

    def settle(self, particles: Particles, step: Step) -> tuple[Step, Mapping[str, Tensor]]:
        for number, (law, outcome, site) in enumerate(self._step.calls):
            residual = (law.encode(outcome) - law.expected).flatten()
            self.controls.add(number, particles, particles.owner(site), residual)
        return discrete(step), particles.inherited


def _no_slots(event: Tensor, scale: Tensor) -> Slots:
    none = scale.new_zeros(0)
    changes = Candidates(event, event, event, event, none, none, none)
    particles = Particles(Lineages(event, event, event), {}, event)
    return Slots(event, particles, changes, scale.new_zeros(0, scale.numel()))
