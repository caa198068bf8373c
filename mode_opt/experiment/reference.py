"""The gradient that estimators are compared with: exact, or central differences with their errors."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.experiment.directions import Directions, physical_jacobian
from mode_opt.simulation import PrimarySource, Simulator, stream

Score = Callable[[Events, DesignPoint], Tensor]
"""Events and their designs to ``b`` objective values."""

LEAST = 8
"""Batches that are always made: of fewer, an error is hardly known."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What a gradient is taken of: ``J(ψ) = E[score(simulator(φ(ψ)))]`` for a given number of events.

    Attributes:
        simulator: its type is its promise.
        design: owns ψ; its present point is where the gradient is taken.
        primaries: where the particles that enter come from.
        score: reconstruction and objective in one call.
        events: primaries of a batch. An objective that is no plain mean depends on it, to order 1/n.
        seed: of all random numbers.
    """

    simulator: Simulator
    design: Design
    primaries: PrimarySource
    score: Score
    events: int
    seed: int

    def batch(self, purpose: str, index: int) -> tuple[Events, torch.Generator]:
        """Primaries of a batch and the generator of its simulation: the same for every estimator."""
        device = self.design.psi.device
        primaries = self.primaries.sample(self.events, stream(device, self.seed, "gradients", purpose, index, 0))
        return primaries, stream(device, self.seed, "gradients", purpose, index, 1)


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference gradient.

    Attributes:
        kind: ``exact`` or ``central differences``.
        along: derivatives along the ``p`` directions.
        values: what is reported of them, ``p``.
        errors: standard error of each reported value, with that of the step size, ``p``.
        samples: derivatives along the directions of each batch, ``K x p``; None if exact.
    """

    kind: str
    along: Tensor
    values: Tensor
    errors: Tensor
    samples: Tensor | None = None


def exact_reference(gradient: Tensor, design: Design, directions: Directions) -> Reference:
    """A reference from the exact dJ/dφ of the free parameters (``d``, field units, in the order of ψ).

    Raises:
        ConfigurationError: if it has another number of elements or is not finite, or if dφ/dψ has no inverse.
    """
    d = design.psi.shape[1]
    exact = gradient.detach().double().cpu().reshape(-1)
    if exact.numel() != d or not bool(torch.isfinite(exact).all()):
        raise ConfigurationError("detector.exact_gradient", exact.tolist(), f"{d} finite numbers, dJ/dφ in field units")
    jacobian = physical_jacobian(design)
    if jacobian is None:
        raise ConfigurationError("detector.exact_gradient", exact.tolist(), "None where categories are free")
    along = directions.along @ (jacobian.T @ exact)
    return Reference("exact", along, directions.report @ along, torch.zeros(len(along), dtype=torch.float64))


def central_differences(
    problem: Problem,
    directions: Directions,
    batches: int,
    step: float,
    progress: Callable[[float], None] = lambda fraction: None,
    seconds: float = math.inf,
) -> Reference:
    r"""Central differences with common random numbers along each direction v, at the steps h and h/2.

    .. math:: D(h) = \frac{J(\psi + h v) - J(\psi - h v)}{2h}, \qquad R = \frac{4 D(h/2) - D(h)}{3}.

    R (Richardson) is free of the bias of order h². What the step size still does to it is taken to be no larger than
    what it does to D(h/2), ``Δ = (D(h) − D(h/2))/3``: as much of Δ as its own statistical error does not explain is
    added to the standard error over the batches, in quadrature. Costs ``4 p`` simulations a batch.

    Args:
        problem: the objective.
        directions: ``p`` of them.
        batches: independent ones, at least 2.
        step: h in ψ.
        progress: called with the fraction done.
        seconds: after which it ends once it has `LEAST` batches.

    Raises:
        NonFiniteError: if the objective of a displaced design is not finite.
    """
    coarse, fine, begin = [], [], time.perf_counter()
    for index in range(batches):
        coarse.append(_differences(problem, directions, index, step))
        fine.append(_differences(problem, directions, index, step / 2))
        progress((index + 1) / batches)
        if index + 1 >= LEAST and time.perf_counter() - begin > seconds:
            break
    rough, sharp = torch.stack(coarse), torch.stack(fine)
    samples = (4 * sharp - rough) / 3
    shift = (rough - sharp) @ directions.report.T / 3
    unexplained = (shift.mean(0) ** 2 - shift.var(0) / len(samples)).clamp_min(0.0)
    reported = samples @ directions.report.T
    errors = (reported.var(0) / len(samples) + unexplained).sqrt()
    return Reference("central differences", samples.mean(0), reported.mean(0), errors, samples)


@torch.no_grad()
def _differences(problem: Problem, directions: Directions, index: int, step: float) -> Tensor:
    """``D(h)`` along each direction for one batch, ``p``."""
    design = problem.design
    slopes = []
    for vector in directions.along.to(design.psi.device):
        values = []
        for sign in (1.0, -1.0):
            phi = design.point((design.psi.double() + sign * step * vector).to(design.psi.dtype))
            primaries, generator = problem.batch("reference", index)
            values.append(float(problem.score(problem.simulator(phi, primaries, generator), phi).mean()))
        slopes.append((values[0] - values[1]) / (2 * step))
    found = torch.tensor(slopes, dtype=torch.float64)
    if not bool(torch.isfinite(found).all()):
        raise NonFiniteError(f"the objective is not finite within {step:g} (in ψ) of the design, where it is compared")
    return found
