"""Values of the objective at designs, as measured, and the record of them."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import NonFiniteError
from mode_opt.events import Events
from mode_opt.gradients import Pipeline
from mode_opt.objectives import jackknife_of
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
    """

    psi: Tensor
    values: Tensor
    errors: Tensor

    @classmethod
    def none(cls, dimension: int) -> Self:
        """No designs of this many columns."""
        empty = torch.zeros(0, dtype=torch.float64)
        return cls(empty.reshape(0, dimension), empty, empty)

    @classmethod
    def of(cls, state: dict[str, Tensor]) -> Self:
        """From what `state` returned."""
        return cls(state["psi"], state["values"], state["errors"])

    def state(self) -> dict[str, Tensor]:
        """Tensors to be saved."""
        return {"psi": self.psi, "values": self.values, "errors": self.errors}

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
        pairs = zip(self.state().items(), other.state().values(), strict=True)
        return Evaluations(**{name: torch.cat([ours, theirs]) for (name, ours), theirs in pairs})

    def since(self, first: int) -> "Evaluations":
        """Those from number ``first`` on."""
        return Evaluations(self.psi[first:], self.values[first:], self.errors[first:])

    def variances(self, events: int) -> Tensor | None:
        r"""Variances of the values, ``m``; None where an evaluation of one event tells none.

        An error from few events is itself uncertain, and by chance small where the value is by chance extreme. Each
        is therefore drawn towards the mean of all, :math:`(\nu s^2 + \nu_0 \bar s^2)/(\nu + \nu_0)` with
        :math:`\nu_0 = 10`; failed designs have the mean.

        Args:
            events: of each evaluation; ``ν = n − 1``, at most that of the jackknife.
        """
        known = self.errors.isfinite()
        if not bool(known.any()):
            return None
        mean = self.errors[known].square().mean()
        freedom = float(events - 1)
        shrunk = (freedom * self.errors.square() + 10 * mean) / (freedom + 10)
        # A simulator without noise has zeros here, with which the covariance of the process would be singular.
        scale = self.values[self.succeeded].var(correction=0)
        return torch.where(known, shrunk, mean).clamp_min(1e-8 * float(scale) + 1e-30)


def evaluate(
    pipeline: Pipeline, psi: Tensor, events: int, generator: torch.Generator, primaries_seed: int | None = None
) -> tuple[Evaluations, tuple[str, ...]]:
    """Simulate ``q`` designs and measure the objective of each.

    Args:
        pipeline: of the experiment.
        psi: ``q x d``.
        events: ``n``, of each design.
        generator: of simulator and primaries.
        primaries_seed: each design has the same primaries, drawn from this seed; None: each design its own.

    Returns:
        The values, and the ways in which designs failed.
    """
    psi = psi.to(pipeline.design.psi)
    phi = pipeline.design.point(psi).detach()
    tried = attempt(
        pipeline.simulator, phi, _primaries(pipeline, len(psi), events, generator, primaries_seed), generator
    )
    values = torch.full((len(psi),), torch.nan, dtype=torch.float64)
    errors, reasons = values.clone(), dict.fromkeys(tried.reasons)
    for index, row in enumerate(tried.succeeded.nonzero()[:, 0].tolist()):
        assert tried.events is not None
        try:
            value, error = _measured(pipeline, tried.events.design(index), phi.design(row))
        except NO_VALUE as failure:
            reasons[f"{type(failure).__name__}: {failure}"[:160]] = None
            continue
        if torch.isfinite(torch.tensor(value)):
            values[row], errors[row] = value, error
        else:
            reasons["an objective that is NaN or infinite"] = None
    return Evaluations(psi.detach().double().cpu(), values, errors), tuple(reasons)


def _primaries(pipeline: Pipeline, designs: int, events: int, generator: torch.Generator, seed: int | None) -> Events:
    if seed is not None:
        return pipeline.primaries.sample(events, stream(generator.device, seed, "common primaries"))
    return Events.cat([pipeline.primaries.sample(events, generator) for _ in range(designs)], 0)


@torch.no_grad()
def _measured(pipeline: Pipeline, events: Events, phi: DesignPoint) -> tuple[float, float]:
    """Value and standard error of one design."""
    if not pipeline.additive:
        estimate = jackknife_of(pipeline.score, events, phi, GROUPS).estimate()
        return estimate.value, estimate.standard_error
    count = events.count
    alone = events._map(lambda tensor: tensor.transpose(0, 1))  # each event as a design of its own
    weight = events.weight[0].double()
    whole = alone.reweighted(1 / torch.where(alone.weight == 0, 1.0, alone.weight)) if bool(weight.all()) else None
    if whole is None:  # events without weight have no value alone
        estimate = jackknife_of(pipeline.score, events, phi, min(count, GROUPS)).estimate()
        return estimate.value, estimate.standard_error
    parts = pipeline.score(whole, DesignPoint(phi.values.expand(count, -1), phi.layout)).double()
    mean = (weight * parts).sum() / weight.sum()
    if count == 1:
        return float(mean), float("nan")
    variance = (weight * (parts - mean)).square().sum() / weight.sum() ** 2 * count / (count - 1)
    return float(mean), float(variance.sqrt())
