"""Control variates of branching programs: weighted sums of what choices deviate from their means."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.simulation.choices import Chooser, Law, Site, dtype_of
from mode_opt.simulation.choices.recording import COLUMNS
from mode_opt.simulation.particles import Particles


@final
class Noting(Chooser):
    """Draws, and keeps what each call of one step drew, if it carries a derivative.

    Attributes:
        calls: law, outcome and site of each.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Law, Tensor, Site]] = []

    def choose(self, law: Law, site: Site) -> Tensor:
        outcome = law.draw(site.uniform(dtype_of(law)))
        if law.depends:
            self.calls.append((law, outcome, site))
        return outcome


@final
class ControlSums:
    """``Σ (x − E[x]) h`` of each event: one sum for each call of a step and each weight h.

    The weights are 1 and the states that tell how much a choice matters (the energy of the particle, say). They are
    known before the choice is made, so that every sum has mean zero at every design.

    Args:
        names: of these states.
        events: number of events.
        like: gives type and device.
    """

    def __init__(self, names: tuple[str, ...], events: int, like: Tensor) -> None:
        self._names = names
        self._zeros = like.new_zeros(events)
        self._values: list[Tensor] = []
        self._slopes: dict[int, Tensor] = {}

    @property
    def width(self) -> int:
        """Number of sums so far."""
        return len(self._values)

    def add(
        self,
        number: int,
        particles: Particles,
        owner: Tensor,
        residual: Tensor,
        slope: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> None:
        """Add the residuals of one call; calls beyond the first `COLUMNS` of a step share the last sums.

        Args:
            number: of the call in its step.
            particles: the k that made the step, in their state before it.
            owner: which of them each residual belongs to.
            residual: of any number of choices.
            slope: ``k x d``, derivative of the sum of each particle's residuals, or None.
            kept: ``k``, False for particles that do not count.
        """
        residual = residual.detach().to(self._zeros.dtype)
        event = particles.lineages.event
        if kept is not None:
            residual = residual * kept[owner]
            slope = None if slope is None else slope * kept.unsqueeze(1)
        of_event, weights = event[owner], [None, *(particles.state[name] for name in self._names)]
        for column, weight in enumerate(weights, start=min(number, COLUMNS - 1) * len(weights)):
            while column >= len(self._values):
                self._values.append(self._zeros.clone())
            weight = None if weight is None else weight.to(residual.dtype)
            self._values[column].index_add_(0, of_event, residual if weight is None else residual * weight[owner])
            if slope is not None:
                if column not in self._slopes:
                    self._slopes[column] = slope.new_zeros(self._zeros.numel(), slope.shape[1])
                self._slopes[column].index_add_(0, event, slope if weight is None else slope * weight.unsqueeze(1))

    def clear(self, events: Tensor) -> None:
        """Set the sums of some events to zero."""
        for value in self._values:
            value[events] = 0

    def values(self, width: int) -> Tensor:
        """``events x width``, without derivatives; sums that never occurred are zero."""
        columns = [*self._values, *(self._zeros for _ in range(width - self.width))]
        return torch.stack(columns, 1) if columns else self._zeros.new_zeros(self._zeros.numel(), 0)

    def total(self, phi: DesignPoint, owner: Tensor, width: int) -> Tensor:
        """``events x width`` with their first derivatives; ``owner`` is the design of each event."""
        values = self.values(width)
        shift = (phi.values - phi.values.detach())[owner]
        moved = [
            value + (self._slopes[column] * shift).sum(1) if column in self._slopes else value
            for column, value in enumerate(values.unbind(1))
        ]
        return torch.stack(moved, 1) if moved else values
