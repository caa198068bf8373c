"""A simulator cut in three: what comes before, the part without derivatives, what comes after."""

from collections.abc import Sequence
from dataclasses import dataclass

from mode_opt.simulation import Chain, Promise, Simulator
from mode_opt.simulation.running import parts


@dataclass(frozen=True, eq=False)
class Segments:
    """A chain taken apart around the part that a surrogate replaces.

    Attributes:
        before: simulators upstream, which keep their derivatives.
        replaced: the part that is replaced; its calls are not counted by any counter.
        after: simulators downstream, which keep their derivatives or the record of their choices.
    """

    before: tuple[Simulator, ...]
    replaced: Simulator
    after: tuple[Simulator, ...]

    @classmethod
    def of(cls, simulator: Simulator) -> "Segments":
        """From the first to the last black-box part; the whole simulator if it has none."""
        every = parts(simulator)
        black = [k for k, part in enumerate(every) if part.promise == Promise.BLACK_BOX]
        first, last = (black[0], black[-1]) if black else (0, len(every) - 1)
        return cls(tuple(every[:first]), _row(every[first : last + 1]), tuple(every[last + 1 :]))

    def with_surrogate(self, surrogate: Simulator) -> Simulator:
        """The whole with the surrogate in the place of the part."""
        return _row([*self.before, surrogate, *self.after])


def _row(simulators: Sequence[Simulator]) -> Simulator:
    if len(simulators) == 1:
        return simulators[0]
    return Chain({f"part {k}": part for k, part in enumerate(simulators)})
