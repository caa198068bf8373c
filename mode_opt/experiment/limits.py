"""Limits on objectives while a design is optimised: their multipliers, and what that means for earlier validations."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from mode_opt.design import DesignPoint
from mode_opt.experiment.experiment import Experiment
from mode_opt.objectives import Constrained, Objective
from mode_opt.simulation import attempt

PART = "validation/"
"""Before the name of a part of the objective in a row of history: its value in a validation."""


def limits_of(objective: Objective) -> Constrained | None:
    """The objective, if it has limits whose multipliers are kept up to date; those inside another objective are not."""
    return objective if isinstance(objective, Constrained) else None


def multipliers(objective: Objective) -> dict[str, float]:
    """Columns ``multiplier/NAME``, in units of the objective per scale of the limit; none without limits."""
    limits = limits_of(objective)
    return {} if limits is None else {f"multiplier/{name}": value for name, value in limits.by_name().items()}


def updated(
    experiment: Experiment, phi: DesignPoint, count: int, reconstruction: nn.Module, generator: torch.Generator
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Update the multipliers at one design, from fresh events.

    Args:
        experiment: whose objective may have limits.
        phi: one design.
        count: events.
        reconstruction: its beliefs count.
        generator: source of all random numbers.

    Returns:
        Columns ``excess/NAME``, in scales of the limits, and notes.
    """
    limits = limits_of(experiment.objective)
    if limits is None:
        return {}, ()
    tried = attempt(experiment.simulator, phi.detach(), experiment.primaries.sample(count, generator), generator)
    if tried.events is None:
        return {}, (f"multipliers were not updated at a design that fails ({'; '.join(tried.reasons)})",)
    with torch.no_grad():
        events = tried.events.detach()
        excess = limits.excess(events, reconstruction(events, phi), phi, reconstruction)
    if not bool((excess < torch.inf).all()):  # NaN included; where there is no limit it is −∞
        return {}, ("multipliers were not updated at a design without a finite value",)
    limits.update(excess)
    found = limits.by_name(excess.mean(0))
    return {f"excess/{name}": value for name, value in found.items() if math.isfinite(value)}, ()


def parts(objective: Objective, value: Callable[[Objective], Tensor]) -> dict[str, float]:
    """Columns of a validation from which `judged` computes it with other multipliers; none without limits."""
    limits = limits_of(objective)
    return {} if limits is None else {PART + name: float(value(part)) for name, part in limits.parts.items()}


def judged(objective: Objective, row: Mapping[str, float]) -> float:
    """The validation in a row of history, with the present multipliers.

    While multipliers grow, the value of every design that breaks a limit grows, too, so that values of different times
    cannot be compared.
    """
    limits = limits_of(objective)
    if limits is None or any(PART + name not in row for name in limits.parts):
        return row["validation"]
    known = {id(part): torch.tensor([row[PART + name]]) for name, part in limits.parts.items()}
    with torch.no_grad():
        return float(limits.combined(lambda part: known[id(part)].to(limits.multipliers)))
