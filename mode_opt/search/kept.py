"""Events of evaluated designs, kept so that a reconstruction that has learnt since can judge them again."""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from mode_opt.events import Events
from mode_opt.gradients import Pipeline
from mode_opt.search.evaluations import NO_VALUE, Evaluations, measured
from mode_opt.search.front import non_dominated

MIB = 2**20


class KeptEvents:
    """Events by the number of their evaluation, within a limit of memory.

    Args:
        memory: in MiB; 0 keeps none. Beyond it dominated designs lose their events first, then the oldest.
    """

    def __init__(self, memory: float) -> None:
        self.memory = memory
        self.events: dict[int, Events] = {}

    def add(self, row: int, events: Events) -> None:
        """Keep a copy of the events of evaluation number ``row``, ``1 x n``."""
        if self.memory > 0:
            self.events[row] = replace(events, log_probability=None, controls=None)._map(torch.clone)

    def limit(self, told: Evaluations) -> None:
        """Drop what is beyond the limit."""
        sizes = {row: _size(events) for row, events in self.events.items()}
        flags = non_dominated(told.goals)
        surplus = sum(sizes.values()) - self.memory * MIB
        for row in sorted(self.events, key=lambda row: (bool(flags[row]), row)):
            if surplus <= 0:
                return
            surplus -= sizes[row]
            del self.events[row]

    def judged_anew(self, pipeline: Pipeline, told: Evaluations, fresh: int) -> tuple[Evaluations, int]:
        """The evaluations with the present values of all kept events, and of how many designs these are.

        One design is measured first: if its values are what they were, so are all, and nothing else is done.

        Args:
            pipeline: with the present reconstruction.
            told: all evaluations.
            fresh: how many of them, at the end, were made with the present reconstruction.
        """
        older = [row for row in self.events if row < told.count - fresh]
        if not older or not self._changed(pipeline, told, older[-1]):
            return told, 0
        columns = torch.cat([told.values[:, None], told.goals], 1)
        errors, done = torch.cat([told.errors[:, None], told.goal_errors], 1), 0
        for row in older:
            found = self._measured(pipeline, told, row)
            if found is not None:
                columns[row], errors[row], done = *found, done + 1
        told = replace(told, values=columns[:, 0], goals=columns[:, 1:])
        return replace(told, errors=errors[:, 0], goal_errors=errors[:, 1:]), done

    def _changed(self, pipeline: Pipeline, told: Evaluations, row: int) -> bool:
        found = self._measured(pipeline, told, row)
        known = torch.cat([told.values[row, None], told.goals[row]])
        return found is None or not torch.equal(found[0], known)

    def _measured(self, pipeline: Pipeline, told: Evaluations, row: int) -> tuple[Tensor, Tensor] | None:
        """Values and errors, ``1 + k`` each; None if there are none now."""
        phi = pipeline.design.point(told.psi[row : row + 1].to(pipeline.design.psi)).detach()
        try:
            values, errors = measured(pipeline, self.events[row], phi)
        except NO_VALUE:
            return None
        return (values, errors) if bool(values.isfinite().all()) else None

    def state(self) -> dict[str, Any]:
        """To be saved: tensors and numbers."""
        names = [field.name for field in fields(Events)]
        return {"rows": list(self.events), "events": [{n: getattr(e, n) for n in names} for e in self.events.values()]}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.events = {row: Events(**columns) for row, columns in zip(state["rows"], state["events"], strict=True)}


def _size(events: Events) -> int:
    """Bytes."""
    tensors = (events.truth, events.hits, events.mask, events.weight)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
