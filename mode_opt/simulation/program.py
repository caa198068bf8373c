"""Simulators written in random choices."""

from abc import abstractmethod
from typing import final

import torch

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.simulation.choices import Choices, Lineages, Recording
from mode_opt.simulation.simulator import StochasticSimulator


def draw_seed(generator: torch.Generator | None, device: torch.device | str = "cpu") -> int:
    """A seed below 2⁶² from a generator: the root of counter-based streams."""
    where = generator.device if generator is not None else device
    return int(torch.randint(2**62, (), generator=generator, device=where))


def recorded(events: Events, recording: Recording) -> Events:
    """The events with what was recorded of their choices."""
    log_probability = recording.log_probability(events.truth).reshape(events.weight.shape)
    controls = recording.controls()
    shaped = None if controls is None else controls.reshape(*events.weight.shape, -1)
    return events.with_choices(log_probability, shaped)


class Program(StochasticSimulator):
    """A stochastic simulator whose random numbers all come from `Choices`.

    Implement `run`; every estimator of mode_opt can then be used: the recorded log-probability serves score
    functions, and an estimator that needs alternatives, relaxations or reruns takes the choices over.
    """

    @abstractmethod
    def run(self, phi: DesignPoint, primaries: Events, choices: Choices) -> Events:
        """Simulate.

        Args:
            phi: ``b`` designs.
            primaries: ``b x n`` events.
            choices: bound to the ``b x n`` events.

        Returns:
            ``b x n`` events; what they carry of log-probabilities is that of the primaries.
        """

    @final  # type: ignore[misc]
    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        events = primaries.expand(phi.designs)
        seed = draw_seed(generator, phi.values.device)
        recording = Recording(phi.designs * events.count)
        lineages = Lineages.of_events(phi.designs, events.count, seed, phi.values.device)
        return recorded(self.run(phi, events, Choices(lineages, recording)), recording)
