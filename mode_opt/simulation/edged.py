"""Simulators whose outcome jumps at an edge that the design moves."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.simulation.simulator import BlackBoxSimulator


@dataclass(frozen=True, eq=False)
class Edge:
    """Points on one edge, one an event, seen from both sides.

    With density q of the points on the edge, density p of the events there, and the velocity v of the edge
    relative to them along its normal n, ``d E[f] = E[Σ_edges d flux · (f(gained) − f(lost))]`` with
    ``d flux = p v·n / q``, besides the derivative of f itself.

    Attributes:
        gained: ``b x n``, the events just inside the region that grows for ``d flux > 0``.
        lost: ``b x n``, the same events just outside of it.
        flux: ``b x n``; only its derivative means something.
    """

    gained: Events
    lost: Events
    flux: Tensor


class EdgedSimulator(BlackBoxSimulator):
    """Values that jump where an edge passes over an event: hard geometric acceptance, the slab in which a path ends.

    Implement `simulate` with derivatives at fixed random numbers, and `edges`. To estimators that do not know about
    edges it promises values only, since the derivative of the values alone misses the jumps.
    """

    @abstractmethod
    def edges(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Sequence[Edge]:
        """One random point on each edge for every event; arguments as in `Simulator.forward`."""
