"""Declaring a simulator, or parts of it, a black box."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast, final

import torch

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation.chain import Chain
from mode_opt.simulation.counted import Counted
from mode_opt.simulation.simulator import BlackBoxSimulator, Simulator


@final
class Opaque(BlackBoxSimulator):
    """The same events as those of the simulator inside, as somebody else's program would return them: values only.

    Neither derivatives nor log-probabilities and controls of its random choices leave it; those that the primaries
    bring along pass, without derivatives. No estimator looks inside (`running.parts` returns it as one part).

    Args:
        simulator: of any promise; counters in it go on counting.
    """

    def __init__(self, simulator: Simulator) -> None:
        super().__init__()
        self.simulator = simulator

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events: Events = self.simulator(phi, primaries, generator)
        known = primaries.expand(phi.designs)
        return replace(events, log_probability=known.log_probability, controls=known.controls)


def opaque(simulator: Simulator, parts: str | Sequence[str] | None = None) -> Simulator:
    """Hide the derivatives of a simulator, or of some parts of a chain.

    Args:
        simulator: is not changed; the result shares its parts.
        parts: names of parts of the chain (``shower``; ``transport.shower`` in a chain within it); None: all of it.

    Returns:
        An `Opaque` simulator, or the chain with these parts replaced. A counter around it is shared.

    Raises:
        ConfigurationError: for a name that is no part, or if there are no parts.
    """
    if parts is None:
        return Opaque(simulator)
    wanted, known = [parts] if isinstance(parts, str) else list(parts), list(_names(simulator))
    for name in wanted:
        if name not in known:
            expected = (
                f"parts among {', '.join(known)}" if known else "true or null: the simulator is no chain of parts"
            )
            raise ConfigurationError("opaque", name, expected)
    if not wanted:
        raise ConfigurationError("opaque", [], "at least one part, true (all of it) or null")
    return _hidden(simulator, wanted)


def _names(simulator: Simulator) -> Iterator[str]:
    """Names of the parts, those of chains within as ``outer.inner``."""
    if isinstance(simulator, Counted):
        yield from _names(simulator.simulator)
    elif isinstance(simulator, Chain):
        for name, part in simulator.parts.items():
            yield name
            yield from (f"{name}.{inner}" for inner in _names(cast(Simulator, part)))


def _hidden(simulator: Simulator, wanted: Iterable[str], prefix: str = "") -> Simulator:
    if isinstance(simulator, Counted):
        counter = Counted(_hidden(simulator.simulator, wanted, prefix))
        counter.calls = simulator.calls  # one number, seen from both
        return counter
    if not isinstance(simulator, Chain):
        return simulator
    return Chain({name: _part(cast(Simulator, part), wanted, prefix + name) for name, part in simulator.parts.items()})


def _part(part: Simulator, wanted: Iterable[str], path: str) -> Simulator:
    return Opaque(part) if path in wanted else _hidden(part, wanted, path + ".")
