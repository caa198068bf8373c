"""Values of the objective at designs, as measured, and the record of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import NonFiniteError
from mode_opt.events import Events
from mode_opt.gradients import Pipeline, Score
from mode_opt.objectives import Replicas, jackknife_of
from mode_opt.simulation import attempt, stream

GROUPS = 10
"""Groups of the jackknife of an objective that is no mean over events."""

NO_VALUE = (NonFiniteError, ArithmeticError, ValueError, RuntimeError)
"""What an objective raises that has no value for these events: the failure of a design, not of the search."""


@dataclass(frozen=True, eq=False)
class Evaluations:
    """What is known of ``m`` designs; float64 on the CPU.

    Attributes:
        psi: ``m x d``.
        values: ``m``, the objective without penalty; NaN where the design failed.
        errors: ``m``, standard errors; NaN where one event tells none.
        goals: ``m x k``, the objectives that it is made of (`Pipeline.goals`).
        goal_errors: ``m x k``, their standard errors.
    """

    psi: Tensor
    values: Tensor
    errors: Tensor
    goals: Tensor
    goal_errors: Tensor

    @classmethod
    def none(cls, dimension: int) -> Self:
        """No designs of this many columns."""
        empty = torch.zeros(0, dtype=torch.float64)
        return cls(empty.reshape(0, dimension), empty, empty, empty.reshape(0, 0), empty.reshape(0, 0))

    @classmethod
    def of(cls, state: dict[str, Tensor]) -> Self:
        """From what `state` returned; that of a version without goals has none."""
        return cls(**{"goals": state["psi"][:, :0], "goal_errors": state["psi"][:, :0], **state})

    def state(self) -> dict[str, Tensor]:
        """Tensors to be saved."""
        return dict(vars(self))

    @property
    def count(self) -> int:
        """``m``."""
        return len(self.values)

    @property
    def succeeded(self) -> Tensor:
        """``m``, which came back."""
        return self.values.isfinite()

    @property
    def failures(self) -> int:
        """Designs that did not come back."""
        return int((~self.succeeded).sum())

    def with_further(self, other: "Evaluations") -> "Evaluations":
        """These, then the other ones."""
        width = max(self.goals.shape[1], other.goals.shape[1])
        pairs = zip(self._widened(width).state().items(), other._widened(width).state().values(), strict=True)
        return Evaluations(**{name: torch.cat([ours, theirs]) for (name, ours), theirs in pairs})

    def _widened(self, goals: int) -> "Evaluations":
        """With unknown values of goals of which nothing is recorded."""
        if self.goals.shape[1] == goals:
            return self
        unknown = self.values.new_full((self.count, goals), torch.nan)
        return replace(self, goals=unknown, goal_errors=unknown)

    def since(self, first: int) -> "Evaluations":
        """Those from number ``first`` on."""
        return Evaluations(**{name: tensor[first:] for name, tensor in self.state().items()})

    def variances(self, events: int) -> Tensor | None:
        r"""Variances of the values, ``m``; None where an evaluation of one event tells none.

        An error from few events is itself uncertain, and by chance small where the value is by chance extreme. Each
        is therefore drawn towards the mean of all, :math:`(\nu s^2 + \nu_0 \bar s^2)/(\nu + \nu_0)` with
        :math:`\nu_0 = 10`; failed designs have the mean.

        Args:
            events: of each evaluation; ``ν = n − 1``, at most that of the jackknife.
        """
        return _variances(self.values, self.errors, events)

    def goal_variances(self, goal: int, events: int) -> Tensor | None:
        """The same of one of the goals."""
        return _variances(self.goals[:, goal], self.goal_errors[:, goal], events)


def _variances(values: Tensor, errors: Tensor, events: int) -> Tensor | None:
    known = errors.isfinite()
    if not bool(known.any()):
        return None
    mean = errors[known].square().mean()
    freedom = float(events - 1)
    shrunk = (freedom * errors.square() + 10 * mean) / (freedom + 10)
    # A simulator without noise has zeros here, with which the covariance of the process would be singular.
    scale = values[values.isfinite()].var(correction=0)
    return torch.where(known, shrunk, mean).clamp_min(1e-8 * float(scale) + 1e-30)


Keep = Callable[[int, Events], None]
"""Told the row of a design that came back, and its events."""


def evaluate(
    pipeline: Pipeline,
    psi: Tensor,
    events: int,
    generator: torch.Generator,
    primaries_seed: int | None = None,
    keep: Keep | None = None,
) -> tuple[Evaluations, tuple[str, ...]]:
    """Simulate ``q`` designs and measure the objective of each, and the goals that it is made of.

    Args:
        pipeline: of the experiment.
        psi: ``q x d``.
        events: ``n``, of each design.
        generator: of simulator and primaries.
        primaries_seed: each design has the same primaries, drawn from this seed; None: each design its own.
        keep: called with the events of each design whose objective has a value.

    Returns:
        The values, and the ways in which designs failed.
    """
    psi = psi.to(pipeline.design.psi)
    phi = pipeline.design.point(psi).detach()
    tried = attempt(
        pipeline.simulator, phi, _primaries(pipeline, len(psi), events, generator, primaries_seed), generator
    )
    values = torch.full((len(psi), 1 + len(pipeline.goals)), torch.nan, dtype=torch.float64)
    errors, reasons = values.clone(), dict.fromkeys(tried.reasons)
    for index, row in enumerate(tried.succeeded.nonzero()[:, 0].tolist()):
        assert tried.events is not None
        seen = tried.events.design(index)
        try:
            value, error = measured(pipeline, seen, phi.design(row))
        except NO_VALUE as failure:
            reasons[f"{type(failure).__name__}: {failure}"[:160]] = None
            continue
        if not bool(value[0].isfinite()):
            reasons["an objective that is NaN or infinite"] = None
            continue
        values[row], errors[row] = value, error
        if keep is not None:
            keep(row, seen)
    at = psi.detach().double().cpu()
    return Evaluations(at, values[:, 0], errors[:, 0], values[:, 1:], errors[:, 1:]), tuple(reasons)


def _primaries(pipeline: Pipeline, designs: int, events: int, generator: torch.Generator, seed: int | None) -> Events:
    if seed is not None:
        return pipeline.primaries.sample(events, stream(generator.device, seed, "common primaries"))
    return Events.cat([pipeline.primaries.sample(events, generator) for _ in range(designs)], 0)


@torch.no_grad()
def measured(pipeline: Pipeline, events: Events, phi: DesignPoint) -> tuple[Tensor, Tensor]:
    """Values and standard errors of one design, ``1 + k`` each: the objective, and the goals that it is made of."""
    scores = pipeline.scores or (lambda seen, designs: pipeline.score(seen, designs).unsqueeze(1))
    if not pipeline.additive:
        return _jackknife(scores, events, phi, GROUPS)
    count = events.count
    alone = events._map(lambda tensor: tensor.transpose(0, 1))  # each event as a design of its own
    weight = events.weight[0].double()
    if not bool(weight.all()):  # events without weight have no value alone
        return _jackknife(scores, events, phi, min(count, GROUPS))
    whole = alone.reweighted(1 / alone.weight)
    parts = scores(whole, DesignPoint(phi.values.expand(count, -1), phi.layout)).double()
    weights = weight.unsqueeze(1)
    mean = (weights * parts).sum(0) / weight.sum()
    if count == 1:
        return mean.cpu(), torch.full_like(mean, torch.nan).cpu()
    variance = (weights * (parts - mean)).square().sum(0) / weight.sum() ** 2 * count / (count - 1)
    return mean.cpu(), variance.sqrt().cpu()


def _jackknife(scores: Score, events: Events, phi: DesignPoint, groups: int) -> tuple[Tensor, Tensor]:
    """As `mode_opt.objectives.Replicas.estimate`, of several values at once."""
    found = jackknife_of(scores, events, phi, groups)
    estimates = [Replicas(*pair).estimate() for pair in zip(found.value, found.left_out.T, strict=True)]
    pairs = torch.tensor([[each.value, each.standard_error] for each in estimates], dtype=torch.float64)
    return pairs[:, 0], pairs[:, 1]
