"""The surrogate that knows its curvature: value or logit quadratic in the design."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.surrogates.base import Progress, Surrogate, silent
from mode_opt.surrogates.density import PlainCoordinates
from mode_opt.surrogates.neighbourhood import NeighbourhoodSurrogate
from mode_opt.surrogates.quadratic_form import QuadraticClassifier, QuadraticDensity
from mode_opt.surrogates.training import FitReport, Training
from mode_opt.surrogates.trend import Trend


@final
class QuadraticSurrogate(Surrogate):
    """Features whose mean (or, for features that are 0 or 1, whose logit) is quadratic in the design.

    Regression draws features with a learnt noise around ``trend + scale · q(δ, p)``; classification gives the
    probability of a hit in place of the hit. ``q`` is a `QuadraticForm` of the displacement δ from the
    centre of the fitted designs, its coefficients a network of the primaries p.

    Args:
        model: `QuadraticDensity` or `QuadraticClassifier`.
        trend: of a regression; ``identity`` for a classification.
        hits: ``h`` and ``f`` of the events.
        phi: any design; its units are those of the derivatives.
        training: settings of the fit.
    """

    width: Tensor

    def __init__(
        self,
        model: QuadraticDensity | QuadraticClassifier,
        trend: Trend,
        hits: tuple[int, int],
        phi: DesignPoint,
        training: Training,
    ) -> None:
        super().__init__()
        conditions = model.form.designs + model.form.network.first.in_features
        self.body = NeighbourhoodSurrogate(PlainCoordinates(hits), model, trend, conditions, training)
        self.register_buffer("width", torch.tensor(phi.layout.scale, dtype=torch.get_default_dtype()))

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        return self.body(phi, primaries, generator)

    def fit(
        self,
        phi: DesignPoint,
        primaries: Events,
        events: Events,
        *,
        seed: int = 0,
        warm: bool = False,
        progress: Progress = silent,
    ) -> FitReport:
        return self.body.fit(phi, primaries, events, seed=seed, warm=warm, progress=progress)

    @property
    def model(self) -> QuadraticDensity | QuadraticClassifier:
        """The quadratic form and what is made of it."""
        assert isinstance(self.body.model, (QuadraticDensity, QuadraticClassifier))
        return self.body.model

    def value(self, primaries: Events) -> Tensor:
        """Mean or logit at the centre of the fitted designs, ``n x k``, for primaries ``1 x n``."""
        return self._value(*self._centre(primaries))

    def slope(self, primaries: Events) -> Tensor:
        """``∂ value / ∂φ`` at the centre, in field units, ``n x k x d``."""
        at, known = self._centre(primaries)
        value = self._value(at.requires_grad_(), known)
        return torch.stack([_grad(column, at) for column in value.unbind(1)], dim=1) / self._unit()

    def hessian(self, primaries: Events) -> Tensor:
        """``∂² value / ∂φ²`` at the centre, in field units, ``n x k x d x d``; exact, not by differences."""
        at, known = self._centre(primaries)
        value, unit = self._value(at.requires_grad_(), known), self._unit()
        slopes = [_grad(column, at).unbind(1) for column in value.unbind(1)]
        curvature = torch.stack([torch.stack([_grad(one, at) for one in slope], 1) for slope in slopes], 1)
        return curvature / (unit[:, None] * unit)

    def _centre(self, primaries: Events) -> tuple[Tensor, Tensor]:
        """Displacements of zero and the scaled primaries, ``n x d`` and ``n x p``."""
        known = primaries.hits[0].flatten(1)
        d = self.model.form.designs
        scaled = (known - self.body.condition_mean[d:]) / self.body.condition_scale[d:]
        return scaled.new_zeros(len(scaled), d), scaled

    def _unit(self) -> Tensor:
        """``d``, what a displacement of 1 is in field units."""
        return self.width * self.body.condition_scale[: len(self.width)]

    def _value(self, displacement: Tensor, known: Tensor) -> Tensor:
        condition = torch.cat([displacement, known], dim=1)
        return self.body.trend(condition, self.model.value(condition))


def _grad(value: Tensor, at: Tensor) -> Tensor:
    """The derivative of each of ``n`` values in its own row of ``n x d``; zero where there is none."""
    if not value.requires_grad:
        return torch.zeros_like(at)
    (slope,) = torch.autograd.grad(value.sum(), at, create_graph=True, allow_unused=True, materialize_grads=True)
    return slope
