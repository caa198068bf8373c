"""What a search is: a method that moves ψ itself instead of leaving a derivative to an optimiser."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from mode_opt.design import Design, DesignPoint
from mode_opt.events import Events
from mode_opt.gradients.base import Score
from mode_opt.objectives import Estimate
from mode_opt.simulation import PrimarySource, Promise, Simulator


def no_penalty(phi: DesignPoint) -> Tensor:
    """``b`` zeros, for a design without nonlinear constraints."""
    return phi.values.new_zeros(phi.designs)


@dataclass(frozen=True)
class Pipeline:
    """What a search may use of an experiment.

    Attributes:
        simulator: its calls are counted: one simulator call is one simulated event.
        design: owns ψ.
        primaries: a search decides itself how many it needs.
        score: events and designs to ``b`` objective values, with derivatives.
        additive: whether the objective is a mean over events (`Objective.additive`), so that one event has a value.
        penalty: ``b`` values for ``b`` designs, of nonlinear constraints, added to the objective.
        goals: names of the ``k`` objectives that this one is made of (`Objective.parts`); empty if it is simple.
        scores: events and designs to the values of the objective and of its goals, ``b x (1 + k)``, from one
            reconstruction of the events; None if there are no goals.
        combined: values of the goals, ``m x k``, to those of the objective as it counts now, ``m``; None if it is the
            same function all the time.
    """

    simulator: Simulator
    design: Design
    primaries: PrimarySource
    score: Score
    additive: bool = False
    penalty: Callable[[DesignPoint], Tensor] = no_penalty
    goals: tuple[str, ...] = ()
    scores: Score | None = None
    combined: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Advance:
    """What happened in one step of a search.

    Attributes:
        objective: the estimate of J (without penalty) that the step made, of the design from which it was made.
        columns: further entries of a row of ``history.csv``; a number that was not measured is absent. Names that
            several searches share: ``failed_designs``, ``radius``, ``predicted_gain``, ``actual_gain`` (each with
            ``_standard_error``), ``accepted`` (1 or 0), ``surrogate_calibration``, ``surrogate_seconds``.
        notes: what a user should be told, in words.
    """

    objective: Estimate
    columns: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class DesignSearch(nn.Module, ABC):
    """Moves ψ from values of the objective, or from a model of the simulator that it keeps.

    All that changes from step to step is in ``state_dict()`` (buffers, or ``get_extra_state`` for what grows:
    tensors, numbers, texts and containers of them), so that a saved state continues bit for bit.
    """

    @property
    @final
    def requires(self) -> Promise:
        """Any simulator will do."""
        return Promise.BLACK_BOX

    def prepare(self, pipeline: Pipeline, generator: torch.Generator) -> None:
        """Called once, before the reconstruction is warmed up and before the first step: a first look if needed."""

    @abstractmethod
    def advance(self, pipeline: Pipeline, generator: torch.Generator) -> Advance:
        """One step: simulate, learn, and set ``pipeline.design.psi`` in place.

        A design that fails to simulate is survived and counted in ``failed_designs``.

        Raises:
            SimulationError: if nothing came back.
        """

    def answer(self, design: Design) -> Tensor:
        """The best ψ so far by this method's own judgement, ``1 x d``: by default the present one."""
        return design.psi.detach().clone()

    def recorded(
        self, pipeline: Pipeline, designs: int, events: int, generator: torch.Generator
    ) -> tuple[DesignPoint, Events] | None:
        """Simulated events near the present design that this search has kept, to train a reconstruction on.

        Args:
            pipeline: as for `advance`.
            designs: ``b``, at most.
            events: ``n``, of each.
            generator: chooses.

        Returns:
            Designs and events, ``b x n``; None if it keeps none, and the caller has to simulate.
        """
        return None
