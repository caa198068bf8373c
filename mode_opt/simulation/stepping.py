"""What estimators do around every step of a branching program."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import SimulationError
from mode_opt.simulation.choices import Chooser, Drawing, Law, Recording, Site
from mode_opt.simulation.controls import ControlSums, Noting
from mode_opt.simulation.particles import Particles, Step


class SteppingAction(ABC):
    """What happens around every step, besides the simulation: how derivatives are kept."""

    @abstractmethod
    def rows(self, phi: DesignPoint, design: Tensor) -> DesignPoint:
        """The design of each particle, ``k x d``, for the next step."""

    @abstractmethod
    def chooser(self, particles: Particles) -> Chooser:
        """Decides the choices of the next step."""

    @abstractmethod
    def settle(self, particles: Particles, step: Step) -> tuple[Step, Mapping[str, Tensor]]:
        """Called after a step: the step to go on with, and the labels of the particles (children inherit them)."""

    @abstractmethod
    def tally(self, event: Tensor, cell: Tensor, value: Tensor, labels: Mapping[str, Tensor]) -> None:
        """Called for every deposit: event and cell ``k'``, value ``k' x f`` and labels of who left it."""


class Untallied(SteppingAction):
    """An action that does not look at deposits."""

    @final
    def tally(self, event: Tensor, cell: Tensor, value: Tensor, labels: Mapping[str, Tensor]) -> None:
        return None


@final
class Values(Untallied):
    """Values only, with the outcomes that a chooser decides (None: draws)."""

    def __init__(self, chooser: Chooser | None = None) -> None:
        self._chooser = chooser or Drawing()

    def rows(self, phi: DesignPoint, design: Tensor) -> DesignPoint:
        values = phi.values.detach()
        # One design is seen by all particles without a copy of it for each.
        rows = values.expand(design.numel(), -1) if phi.designs == 1 else values[design]
        return DesignPoint(rows, phi.layout)

    def chooser(self, particles: Particles) -> Chooser:
        return self._chooser

    def settle(self, particles: Particles, step: Step) -> tuple[Step, Mapping[str, Tensor]]:
        return step, particles.inherited


@final
class Taped(Untallied):
    """Everything recorded by automatic differentiation, over all steps."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser

    def rows(self, phi: DesignPoint, design: Tensor) -> DesignPoint:
        return DesignPoint(phi.values[design], phi.layout)

    def chooser(self, particles: Particles) -> Chooser:
        return self._chooser

    def settle(self, particles: Particles, step: Step) -> tuple[Step, Mapping[str, Tensor]]:
        return step, particles.inherited


class LocalRows:
    """The design of each particle as a leaf of its own: one backward pass over a step gives the derivatives of
    every particle's choices separately, and the record of a step is dropped when the step is over."""

    def __init__(self) -> None:
        self.values = torch.empty(0)

    def renew(self, phi: DesignPoint, design: Tensor) -> DesignPoint:
        """Fresh rows, ``k x d``."""
        self.values = phi.values.detach().index_select(0, design).requires_grad_()
        return DesignPoint(self.values, phi.layout)

    def slope(self, value: Tensor) -> Tensor:
        """Derivative of ``value`` (each element a function of one row) with respect to the rows, ``k x d``."""
        if not value.requires_grad:
            return torch.zeros_like(self.values)
        (slope,) = torch.autograd.grad(value.sum(), self.values, retain_graph=True, allow_unused=True)
        return torch.zeros_like(self.values) if slope is None else slope

    def slopes(self, law: Law, site: Site, owner: Tensor) -> "CallSlopes":
        """Derivatives for one call; ``owner`` is the particle of each of its choices."""
        return CallSlopes(self, law, site, owner)


@final
class CallSlopes:
    """Derivatives of functions of the parameters of one call with respect to the rows of the design.

    A law with one parameter λ for each particle needs one backward pass through the step, whatever is asked for:
    ``df/dφ = df/dλ dλ/dφ``, and ``df/dλ`` is elementwise.
    """

    def __init__(self, rows: LocalRows, law: Law, site: Site, owner: Tensor) -> None:
        self._rows, self._owner, self._parameter = rows, owner, law.parameters[0]
        single = len(law.parameters) == 1 and self._parameter.shape == site.word.shape == site.lineages.key.shape
        self._slope = rows.slope(self._parameter) if single else None

    def of(self, value: Tensor) -> Tensor:
        """Derivative of the sum of ``value`` over the choices of each particle, ``k x d``."""
        if self._slope is None:
            return self._rows.slope(value)
        if value is self._parameter:
            return self._slope
        if not value.requires_grad:
            return torch.zeros_like(self._slope)
        (factor,) = torch.autograd.grad(value.sum(), self._parameter, retain_graph=True, allow_unused=True)
        if factor is None:
            return torch.zeros_like(self._slope)
        if factor.numel() < len(self._slope):  # a call of some of the particles
            factor = factor.new_zeros(len(self._slope)).index_copy(0, self._owner, factor)
        return self._slope * factor.unsqueeze(1)


@final
class LocalScores(Untallied):
    """Sums ∇ log p of each event, and its controls, step by step.

    Args:
        recording: takes the sums in the end.
        phi: ``b`` designs.
        count: events of each.
        controls: names of the states that weigh the controls (`ControlSums`).
    """

    def __init__(self, recording: Recording, phi: DesignPoint, count: int, controls: tuple[str, ...] = ()) -> None:
        self._recording, self._phi, self._local = recording, phi, LocalRows()
        events = phi.designs * count
        self._value = phi.values.new_zeros(events)
        self._score = phi.values.new_zeros(events, phi.values.shape[1])
        self._controls = ControlSums(controls, events, phi.values)
        self._step = Noting()

    def rows(self, phi: DesignPoint, design: Tensor) -> DesignPoint:
        return self._local.renew(phi, design)

    def chooser(self, particles: Particles) -> Chooser:
        self._step = Noting()
        return self._step

    def settle(self, particles: Particles, step: Step) -> tuple[Step, Mapping[str, Tensor]]:
        for number, (law, outcome, site) in enumerate(self._step.calls):
            owner = particles.owner(site)
            slopes, expected = self._local.slopes(law, site, owner), law.expected
            log_probability = law.log_probability(outcome)
            self._value.index_add_(0, particles.lineages.event[owner], log_probability.detach().flatten())
            self._score.index_add_(0, particles.lineages.event, slopes.of(log_probability))
            residual = (law.encode(outcome) - expected.detach()).flatten()
            self._controls.add(number, particles, owner, residual, -slopes.of(expected))
        return discrete(step), particles.inherited

    def finish(self) -> None:
        """Hand over the sums of each event: the right values, and the right first derivatives."""
        count = self._value.numel() // self._phi.designs
        owner = torch.arange(self._phi.designs, device=self._value.device).repeat_interleave(count)
        shift = (self._phi.values - self._phi.values.detach())[owner]
        controls = self._controls.total(self._phi, owner, self._controls.width)
        self._recording.extend(self._value + (self._score * shift).sum(1), controls)


def discrete(step: Step) -> Step:
    """The step itself, if nothing in it carries a derivative.

    Raises:
        SimulationError: if a state or a deposit carries one, which would be lost.
    """
    moving = [name for name, value in step.state.items() if value.requires_grad]
    moving += [f"child {name}" for born in step.children for name, value in born.state.items() if value.requires_grad]
    moving += ["deposit" for deposits in step.deposits if deposits.value.requires_grad]
    if moving:
        raise SimulationError(
            f"{', '.join(moving)} depends on the design along given choices: declare the program continuous=True, "
            "or let the dependence pass through a choice"
        )
    return step
