"""A benchmark: a detector and what is known of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.experiment import Detector

Exact = Callable[[DesignPoint], Tensor]
"""Designs (float64) to the expected objective, ``b``, differentiable."""


@final
@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of a problem.

    Attributes:
        optimum: the smallest expected objective (with ``proven`` false: the smallest that is known).
        designs: ``k x d``, float64, φ of known optimal designs in field units; with fewer than all of them.
        start: expected objective of the start design.
        noise: standard deviation of the objective of one event of the start design.
        exact: the expected objective in closed form or by quadrature; see `exact_objective`.
        proven: whether nothing below ``optimum`` exists.
    """

    optimum: float
    designs: Tensor
    start: float
    noise: float
    exact: Exact
    proven: bool = True

    def exact_objective(self, phi: DesignPoint) -> Tensor:
        """The expected objective of ``b`` designs, ``b`` numbers in float64, accurate to 1e-4; differentiable."""
        return self.exact(replace(phi, values=phi.values.double()))

    def exact_gradient(self, design: Design) -> Tensor:
        """dJ/dφ of the present design: ``d`` numbers for the free parameters in the order of ψ, in field units."""
        phi = design().detach()
        values = phi.values.double().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.exact_objective(replace(phi, values=values)).sum(), values)
        names = sorted(design.psi_columns, key=lambda name: design.psi_columns[name].start)
        return torch.cat([slope[0, phi.layout.columns[name]] for name in names])


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """A detector whose optimum is known.

    Attributes:
        detector: as for ``detector=NAME``, with ``exact_gradient``.
        truth: what is known of it; methods under test must not see it.
    """

    detector: Detector
    truth: Truth

    @classmethod
    def of(
        cls,
        detector: Detector,
        exact: Exact,
        noise: Callable[[DesignPoint], Tensor],
        optimum: float,
        designs: Sequence[Tensor] = (),
        proven: bool = True,
    ) -> "Problem":
        """The problem with the values of its start filled in.

        Args:
            detector: without its exact gradient.
            exact: the expected objective.
            noise: of designs (float64), the variance of the objective of one event, ``b``.
            optimum, proven: as in `Truth`.
            designs: known optima, ``d`` numbers each.
        """
        width = detector.design().values.shape[1]
        known = torch.stack(list(designs)).double() if designs else torch.zeros(0, width, dtype=torch.float64)
        with torch.no_grad():
            start = detector.design().detach()
            start = replace(start, values=start.values.double())
            truth = Truth(optimum, known, float(exact(start)), float(noise(start).sqrt()), exact, proven)
        return cls(replace(detector, exact_gradient=truth.exact_gradient), truth)
