"""Remembering the probability of what was drawn."""

from typing import final

import torch
from torch import Tensor

from mode_opt.errors import SimulationError
from mode_opt.simulation.choices.chooser import Chooser, Site, dtype_of
from mode_opt.simulation.choices.laws import Law

COLUMNS = 8
"""Most control variates of a program: one a call, the calls beyond share the last."""


@final
class Recording(Chooser):
    """Draws, and sums over each event what its choices with a derivative are worth.

    Two sums: the log-probability, and the controls ``Σ (x − E[x])``, one for each call in the program's order.
    The mean of a control is zero at every design, whatever the earlier choices were (it is a martingale), which
    makes it a control variate for any estimator: with ``f − γ·M`` in the place of f nothing is biased.

    Args:
        events: number of events over all designs.
    """

    def __init__(self, events: int) -> None:
        self.events = events
        self._log_probability: Tensor | None = None
        self._controls: list[Tensor] = []

    def choose(self, law: Law, site: Site) -> Tensor:
        outcome = law.draw(site.uniform(dtype_of(law)))
        if law.depends:
            event = site.spread(site.lineages.event)
            self.add(event, law.log_probability(outcome), law.encode(outcome) - law.expected)
        return outcome

    def add(self, event: Tensor, log_probability: Tensor, residual: Tensor) -> None:
        """Count the log-probability and the residual of an array of choices to their events."""
        flat = event.flatten()
        zeros = log_probability.new_zeros(self.events)
        before = zeros if self._log_probability is None else self._log_probability
        self._log_probability = before.index_add(0, flat, log_probability.flatten())
        if len(self._controls) < COLUMNS:
            self._controls.append(zeros)
        self._controls[-1] = self._controls[-1].index_add(0, flat, residual.flatten())

    def extend(self, log_probability: Tensor, controls: Tensor) -> None:
        """Count sums that were made elsewhere: ``events`` and ``events x c``."""
        before = self._log_probability
        self._log_probability = log_probability if before is None else before + log_probability
        self._controls += list(controls.unbind(1))

    def log_probability(self, like: Tensor) -> Tensor:
        """Sum for each event; zeros if nothing depended on the design.

        Raises:
            SimulationError: if an outcome of probability zero was drawn (a rounding accident at p near 0 or 1).
        """
        total = like.new_zeros(self.events) if self._log_probability is None else self._log_probability
        if not bool(torch.isfinite(total).all()):
            bad = int((~torch.isfinite(total)).sum())
            raise SimulationError(f"the log-probability of the choices is not finite in {bad} of {self.events} events")
        return total

    def controls(self) -> Tensor | None:
        """``events x c``, or None if nothing depended on the design."""
        return torch.stack(self._controls, 1) if self._controls else None
