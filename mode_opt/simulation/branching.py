"""Simulators whose particles multiply: the loop over steps, and the hooks that estimators use."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, SimulationError
from mode_opt.events import Events
from mode_opt.simulation.choices import Choices, Chooser, Law, Lineages, Recording, Site, hashed
from mode_opt.simulation.particles import Deposits, Particles, State, Step
from mode_opt.simulation.program import Program
from mode_opt.simulation.stepping import LocalScores, SteppingAction, Taped, Values


class BranchingProgram(Program):
    """Particles that move, leave deposits, multiply and stop, all events at once, generation by generation.

    Implement `start` and `step`. The hits are the sums of the deposits, ``b x n x cells x features``.

    In `step`, choices whose parameters depend on the design have the shape ``k``, one a particle and call. If
    states and deposits, at given outcomes of the choices, do not depend on the design (``continuous=False``),
    derivatives need no record of the steps: each adds its part of ∇ log p, and memory does not grow with their
    number. Otherwise the whole computation is recorded.

    Args:
        cells: number of cells h.
        features: number of features f that a deposit has.
        capacity: most particles alive at one time, over all events of a call.
        max_steps: steps after which a simulation that does not end is given up.
        continuous: whether states or deposits depend on the design other than through choices.
        controls: names of states that tell how much a choice matters, such as the energy of the particle; they
            weigh the control variates with which estimators lower their noise.

    Raises:
        ConfigurationError: for numbers that are not positive.
    """

    def __init__(
        self,
        cells: int,
        features: int = 1,
        capacity: int = 4_000_000,
        max_steps: int = 100_000,
        continuous: bool = False,
        controls: Sequence[str] = (),
    ) -> None:
        super().__init__()
        for name, value in {"cells": cells, "features": features, "capacity": capacity, "max_steps": max_steps}.items():
            if value < 1:
                raise ConfigurationError(f"simulator.{name}", value, "a positive whole number")
        self.cells, self.features, self.continuous = cells, features, continuous
        self.capacity, self.max_steps, self.controls = capacity, max_steps, tuple(controls)

    @abstractmethod
    def start(self, phi: DesignPoint, primaries: Events, choices: Choices) -> tuple[Tensor, State]:
        """The particles that enter: flat event number of each (``design * n + event``) and their state.

        ``choices`` is bound to the ``b x n`` events; only noise may be drawn here.
        """

    @abstractmethod
    def step(self, phi: DesignPoint, state: State, choices: Choices) -> Step:
        """One step of all particles.

        Args:
            phi: the design of each particle: ``phi["thickness"]`` is ``k x size``.
            state: of the k particles.
            choices: bound to them.
        """

    @final
    def run(self, phi: DesignPoint, primaries: Events, choices: Choices) -> Events:
        chooser = choices.chooser
        action: SteppingAction
        if not torch.is_grad_enabled() or not phi.values.requires_grad:
            action = Values(chooser)
        elif isinstance(chooser, Recording) and not self.continuous:
            action = LocalScores(chooser, phi, primaries.count, self.controls)
        else:
            action = Taped(chooser)
        particles = self.enter(phi, primaries, choices.lineages)
        owner = torch.arange(phi.designs, device=phi.values.device).repeat_interleave(primaries.count)
        hits = self.transport(phi, owner, particles, action)
        if isinstance(action, LocalScores):
            action.finish()
        return self.events(primaries, hits.to(phi.values.dtype))

    @final
    def enter(self, phi: DesignPoint, primaries: Events, lineages: Lineages) -> Particles:
        """The particles of the first step; several of one event have streams of their own."""
        event, state = self.start(phi, primaries, Choices(lineages, _NoiseOnly()))
        order = torch.argsort(event, stable=True)
        event, state = event[order], {name: value[order] for name, value in state.items()}
        first = torch.searchsorted(event, event)
        ordinal = torch.arange(event.numel(), device=event.device) - first
        key = hashed(lineages.key.flatten()[event], -1 - ordinal)
        return Particles(Lineages(event, key, torch.zeros_like(key)), state, torch.zeros_like(key))

    @final
    def events(self, primaries: Events, hits: Tensor) -> Events:
        """Hits ``(b n) x h x f`` as events of these primaries."""
        hits = hits.reshape(primaries.designs, primaries.count, self.cells, self.features)
        return replace(primaries, hits=hits, mask=torch.ones_like(hits[..., 0], dtype=torch.bool))

    @final
    def transport(self, phi: DesignPoint, owner: Tensor, particles: Particles, action: SteppingAction) -> Tensor:
        """Step until no particle is left.

        Args:
            phi: ``b`` designs.
            owner: design of each of N events.
            particles: whose events are numbers below N.
            action: called around every step.

        Returns:
            Sums of the deposits, ``N x h x f``, in double precision: sums of single-precision deposits do not depend
            on their order then, and what a subtree left can be taken out again without a rest.

        Raises:
            SimulationError: if there are more particles than ``capacity``, or still some after ``max_steps``.
        """
        hits = phi.values.new_zeros((owner.numel() * self.cells, self.features), dtype=torch.float64)
        for number in range(self.max_steps + 1):
            if particles.count == 0:
                return hits.reshape(owner.numel(), self.cells, self.features)
            if particles.count > self.capacity:
                raise SimulationError(
                    f"{type(self).__name__}: {particles.count} particles in {owner.numel()} events exceed the "
                    f"capacity of {self.capacity}; raise simulator.capacity or simulate fewer events in one call"
                )
            if number == self.max_steps:
                break
            rows = action.rows(phi, owner[particles.lineages.event])
            choices = Choices(particles.lineages, action.chooser(particles))
            step, labels = action.settle(particles, self.step(rows, particles.state, choices))
            particles = particles.labelled(labels)
            for deposits in step.deposits:
                hits = self._count(hits, particles, deposits, action)
            particles = particles.after(step)
        raise SimulationError(
            f"{type(self).__name__}: {particles.count} particles are still alive after {self.max_steps} steps"
        )

    def _count(self, hits: Tensor, particles: Particles, deposits: Deposits, action: SteppingAction) -> Tensor:
        event, labels = particles.lineages.event, particles.inherited
        if deposits.particle is not None:
            event = event[deposits.particle]
            labels = {name: value[deposits.particle] for name, value in labels.items()}
        value = deposits.value if deposits.value.ndim == 2 else deposits.value.unsqueeze(1)
        outside = (deposits.cell < 0) | (deposits.cell >= self.cells)
        if bool(outside.any()):  # it would land in another event
            raise SimulationError(
                f"{type(self).__name__}: got a deposit in cell {int(deposits.cell[outside][0])}, expected cells 0 to "
                f"{self.cells - 1}"
            )
        action.tally(event, deposits.cell, value, labels)
        index, value = event * self.cells + deposits.cell, value.double()
        return hits.index_add(0, index, value) if value.requires_grad else hits.index_add_(0, index, value)


class _NoiseOnly(Chooser):
    def choose(self, law: Law, site: Site) -> Tensor:
        raise SimulationError("start() of a branching program may draw noise only; make choices in step()")
