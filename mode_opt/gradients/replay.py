"""What a local search has simulated so far."""

from dataclasses import dataclass, fields
from typing import Any, Self, final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.design.point import Layout
from mode_opt.events import Events


@dataclass(frozen=True, eq=False)
class Batch:
    """Designs that were simulated with the same number of events.

    Attributes:
        psi: ``b x d``.
        phi: ``b`` designs, as they were simulated (drawn, if the design is discrete).
        inputs: what went into the part that was simulated, ``b x n``.
        outputs: what came out of it, ``b x n``.
    """

    psi: Tensor
    phi: DesignPoint
    inputs: Events
    outputs: Events

    @property
    def calls(self) -> int:
        """Simulated events."""
        return self.outputs.designs * self.outputs.count

    def __getitem__(self, rows: Tensor) -> Self:
        """Some of the designs."""
        values = [part._map(lambda tensor: tensor[rows]) for part in (self.inputs, self.outputs)]
        return type(self)(self.psi[rows], DesignPoint(self.phi.values[rows], self.phi.layout), *values)

    @classmethod
    def cat(cls, parts: list["Batch"]) -> Self:
        """All designs of several batches with equal numbers of events."""
        phi = DesignPoint(torch.cat([part.phi.values for part in parts]), parts[0].phi.layout)
        inputs, outputs = (Events.cat([getattr(p, name) for p in parts], 0) for name in ("inputs", "outputs"))
        return cls(torch.cat([part.psi for part in parts]), phi, inputs, outputs)


@final
class Replay:
    """A store of batches, of which the designs near a centre are used again.

    Args:
        capacity: simulated events that are kept; those farthest from the last centre go first.
    """

    def __init__(self, capacity: int = 200_000) -> None:
        self.capacity = capacity
        self.batches: list[Batch] = []

    @property
    def calls(self) -> int:
        """Simulated events in the store."""
        return sum(batch.calls for batch in self.batches)

    def add(self, batch: Batch) -> None:
        """Keep a batch; equal numbers of events are stored together."""
        same = [b for b in self.batches if b.outputs.count == batch.outputs.count]
        others = [b for b in self.batches if b.outputs.count != batch.outputs.count]
        joined = Batch.cat([*same, batch])
        excess = joined.calls + sum(b.calls for b in others) - self.capacity
        if excess > 0 and len(joined.psi) > 1:
            drop = min(-(-excess // joined.outputs.count), len(joined.psi) - 1)
            near = ((joined.psi - batch.psi.mean(0)) ** 2).sum(1).argsort()[: len(joined.psi) - drop]
            joined = joined[near.sort().values]
        self.batches = [*others, joined]

    def near(self, centre: Tensor, calls: int) -> Batch:
        """The designs nearest to ``centre`` (``1 x d``) in ψ, with at most ``calls`` events.

        Only batches with the number of events of the last one are used.

        Args:
            centre: of the neighbourhood.
            calls: events at most.
        """
        batch = self.batches[-1]
        distance = (batch.psi - centre.detach()).norm(dim=1)
        return batch[distance.argsort()[: max(calls // batch.outputs.count, 1)]]

    def state(self) -> list[dict[str, Any]]:
        """Tensors by name, for a checkpoint."""
        return [
            {"psi": b.psi, "phi": b.phi.values, "inputs": _tensors(b.inputs), "outputs": _tensors(b.outputs)}
            for b in self.batches
        ]

    def load(self, state: list[dict[str, Any]], layout: Layout) -> None:
        """Take over what `state` gave."""
        self.batches = [
            Batch(s["psi"], DesignPoint(s["phi"], layout), Events(**s["inputs"]), Events(**s["outputs"])) for s in state
        ]


def _tensors(events: Events) -> dict[str, Tensor | None]:
    return {f.name: getattr(events, f.name) for f in fields(events)}
