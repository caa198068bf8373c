"""Running the parts of a simulator one by one, with somebody else in charge of the random choices."""

from typing import cast

import torch

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation.chain import Chain
from mode_opt.simulation.choices import Choices, Chooser, Lineages, fork
from mode_opt.simulation.counted import Counted
from mode_opt.simulation.program import Program
from mode_opt.simulation.simulator import Simulator, StochasticSimulator


def parts(simulator: Simulator) -> list[Simulator]:
    """The simulators that do the work, in order: chains taken apart, counters taken off."""
    if isinstance(simulator, Counted):
        return parts(simulator.simulator)
    if isinstance(simulator, Chain):
        return [inner for part in simulator.parts.values() for inner in parts(cast(Simulator, part))]
    return [simulator]


def count(simulator: Simulator, events: int) -> None:
    """Add ``events`` simulated events to every counter around, or inside, the simulator."""
    if isinstance(simulator, Counted):
        simulator.calls += events
        count(simulator.simulator, events)
    elif isinstance(simulator, Chain):
        for part in simulator.parts.values():
            count(cast(Simulator, part), events)


def written_in_choices(simulator: Simulator) -> None:
    """Refuse a simulator with a stochastic part whose choices cannot be taken over.

    Raises:
        ConfigurationError: naming the part.
    """
    for part in parts(simulator):
        if isinstance(part, StochasticSimulator) and not isinstance(part, Program):
            raise ConfigurationError(
                "simulator",
                type(part).__name__,
                "a simulator written in random choices (mode_opt.simulation.Program), whose outcomes this "
                "gradient can decide; a recorded log-probability alone serves score functions only",
            )


def run_part(part: Simulator, phi: DesignPoint, primaries: Events, chooser: Chooser, seed: int) -> Events:
    """Run one of `parts`: a program with this chooser, anything else with a generator of this seed."""
    device = phi.values.device
    if not isinstance(part, Program):
        written_in_choices(part)
        events: Events = part(phi, primaries, torch.Generator(device).manual_seed(seed))
        return events
    primaries = primaries.expand(phi.designs)
    lineages = Lineages.of_events(phi.designs, primaries.count, seed, device)
    return part.run(phi, primaries, Choices(lineages, chooser))


def run(simulator: Simulator, phi: DesignPoint, primaries: Events, chooser: Chooser, seed: int) -> Events:
    """Simulate, with the random choices of all programs decided by ``chooser``.

    Part k draws from streams with the root ``fork(seed, k)``, whatever the chooser did before: two runs with the
    same seed share all random numbers except those that a chooser replaces. The log-probability of the choices
    is the chooser's business; the calls are counted.

    Args:
        simulator: a program or a differentiable simulator, or a chain of them, perhaps counted.
        phi: ``b`` designs.
        primaries: events of 1 or ``b`` designs.
        chooser: decides.
        seed: from 0 to 2⁶² − 1.

    Raises:
        ConfigurationError: for a stochastic simulator that is no program, naming it.
    """
    written_in_choices(simulator)
    events = primaries
    for index, part in enumerate(parts(simulator)):
        events = run_part(part, phi, events, chooser, fork(seed, index))
    count(simulator, events.designs * events.count)
    return events
