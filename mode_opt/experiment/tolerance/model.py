"""A quadratic model of the objective around a design, with replicas that carry its errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mode_opt.errors import NonFiniteError
from mode_opt.objectives.uncertainty import Estimate

SIGNIFICANT = 2.0
"""Standard errors from zero above which a number is taken for one that is not."""

Function = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of value (scalar), slope (``d``) and Hessian (``d x d``)."""


Coefficients = tuple[Tensor, Tensor, Tensor]
"""Values ``K``, slopes ``K x d`` and Hessians ``K x d x d``."""


@dataclass(frozen=True, eq=False)
class QuadraticModel:
    r""":math:`J(z_0 + t) = J_0 + b \cdot t + \frac12 t^T H t`, t in half ranges of the parameters.

    Attributes:
        value: :math:`J_0`.
        slope: b, ``d``.
        hessian: H, ``d x d``.
        left_out: the same from all but one of K independent groups of events.
        shifts: what else may be wrong with them: deviations of one standard deviation each, of independent sources.
        step_error: ``d x d``, what else may be wrong with H (step of differences, rounding).
        full: whether H has its mixed derivatives; otherwise they are unknown and zeros stand in their place.
    """

    value: Tensor
    slope: Tensor
    hessian: Tensor
    left_out: Coefficients
    step_error: Tensor
    full: bool = True
    shifts: Coefficients | None = None

    @classmethod
    def of_batches(cls, value: Tensor, slope: Tensor, hessian: Tensor, step_error: Tensor) -> "QuadraticModel":
        """From K independent measurements of value ``K``, slope ``K x d`` and Hessian ``K x d x d``."""
        count = len(value)
        left = [(x.sum(0) - x) / (count - 1) for x in (value, slope, hessian)]
        return cls(value.mean(0), slope.mean(0), hessian.mean(0), (left[0], left[1], left[2]), step_error)

    @classmethod
    def combined(cls, models: Sequence["QuadraticModel"]) -> "QuadraticModel":
        """The mean of models that differ in their reconstruction; its standard error from their scatter is a shift.

        Events are common to all, and so is what the models are said to be wrong by.
        """
        count = len(models)
        if count == 1:
            return models[0]
        centres = [torch.stack(parts) for parts in zip(*((m.value, m.slope, m.hessian) for m in models), strict=True)]
        left = [torch.stack(parts).mean(0) for parts in zip(*(m.left_out for m in models), strict=True)]
        scatter = [(x - x.mean(0)) / (count * (count - 1)) ** 0.5 for x in centres]
        known = [m.shifts for m in models if m.shifts is not None]
        if known:
            common = [torch.stack(parts).mean(0) for parts in zip(*known, strict=True)]
            scatter = [torch.cat(parts) for parts in zip(scatter, common, strict=True)]
        mean = [x.mean(0) for x in centres]
        step_error = torch.stack([m.step_error for m in models]).mean(0)
        shifts = (scatter[0], scatter[1], scatter[2])
        return cls(mean[0], mean[1], mean[2], (left[0], left[1], left[2]), step_error, models[0].full, shifts)

    @property
    def groups(self) -> int:
        """K, of events, which says how well the statistical error is known."""
        return len(self.left_out[0])

    def widened(self, slope: Tensor, bend: Tensor) -> "QuadraticModel":
        """With further errors of slope and diagonal of the Hessian, ``d`` each, as shifts.

        Mixed derivatives get the geometric mean of those of the two parameters.
        """
        row, column = torch.triu_indices(len(bend), len(bend)) if self.full else torch.arange(len(bend)).expand(2, -1)
        size, count = (bend[row] * bend[column]).sqrt(), len(slope) + len(row)
        slopes, hessians = (torch.zeros(count, *c.shape, dtype=c.dtype) for c in (self.slope, self.hessian))
        slopes[: len(slope)] = torch.diag(slope)
        places = torch.arange(len(row)) + len(slope)
        hessians[places, row, column] = hessians[places, column, row] = size
        return replace(self, shifts=(torch.zeros(count, dtype=slope.dtype), slopes, hessians))

    def rescaled(self, size: Tensor) -> "QuadraticModel":
        """In units of ``1/size`` of the present ones, ``d``: from units of a radius to those of the radius itself."""
        area = size[:, None] * size

        def scaled(parts: Coefficients) -> Coefficients:
            return parts[0], parts[1] / size, parts[2] / area

        return self._with(scaled, self.step_error / area)

    def moved(self, step: Tensor) -> "QuadraticModel":
        """About a point a step (``d``) away."""

        def at(parts: Coefficients) -> Coefficients:
            value, slope, hessian = parts
            bent = hessian @ step
            return value + slope @ step + bent @ step / 2, slope + bent, hessian

        return self._with(at, self.step_error)

    def _with(self, change: Callable[[Coefficients], Coefficients], step_error: Tensor) -> "QuadraticModel":
        """The same linear change of coefficients, replicas and shifts."""
        shifts = None if self.shifts is None else change(self.shifts)
        centre = change((self.value, self.slope, self.hessian))
        return QuadraticModel(*centre, change(self.left_out), step_error, self.full, shifts)

    def deviations(self, function: Function) -> tuple[Tensor, Tensor]:
        """A function of the coefficients, and rows D of deviations, ``r x …``, whose covariance is ``DᵀD``.

        The first rows are those of the jackknife, ``√((K − 1)/K) (x_k − x̄)``; a shift gives half the difference
        between both its signs.
        """
        centre = (self.value, self.slope, self.hessian)
        left = torch.stack([function(v, b, h) for v, b, h in zip(*self.left_out, strict=True)])
        rows = (1 - 1 / self.groups) ** 0.5 * (left - left.mean(0))
        for shift in zip(*self.shifts, strict=True) if self.shifts is not None else ():
            if any(bool(part.any()) for part in shift):
                both = [function(*(c + s * part for c, part in zip(centre, shift, strict=True))) for s in (1.0, -1.0)]
                rows = torch.cat([rows, (both[0] - both[1])[None] / 2])
        return function(*centre), rows

    def measured(self, function: Function) -> tuple[Tensor, Tensor]:
        """A function of the coefficients with its standard error; NaN where it is infinite."""
        value, rows = self.deviations(function)
        return value, rows.square().sum(0).sqrt()

    def estimates(self, function: Function) -> list[Estimate]:
        """`measured`, of a function with one-dimensional values."""
        value, error = self.measured(function)
        return [Estimate(v, e) for v, e in zip(value.tolist(), error.tolist(), strict=True)]

    def estimate(self, function: Function) -> Estimate:
        """`measured`, of a function with scalar values."""
        return self.estimates(lambda v, b, h: function(v, b, h).reshape(1))[0]

    def change(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """``J(z₀ + t) − J₀`` with its error at ``n x d`` displacements."""
        return self.measured(lambda v, b, h: steps @ b + (steps @ h * steps).sum(1) / 2)


def jackknife_error(left_out: Tensor) -> Tensor:
    """``σ² = (K − 1)/K Σ_k (x_k − x̄)²`` of replicas ``K x …``."""
    count = len(left_out)
    return ((count - 1) / count * ((left_out - left_out.mean(0)) ** 2).sum(0)).sqrt()


def allowed_loss(value: Tensor, percent: float) -> float:
    """So many percent of ``|J|``.

    Raises:
        NonFiniteError: if J is 0.
    """
    loss = percent / 100 * abs(float(value))
    if loss == 0:
        raise NonFiniteError("the objective of the design is 0: a loss of so many percent of it is no loss")
    return loss


def allowed(slope: Tensor, curvature: Tensor, loss: float) -> Tensor:
    r"""First t > 0 with ``b t + c t²/2 = L``; infinite where there is none; any shape.

    .. math:: t = \frac{2 L}{b + \sqrt{b^2 + 2 c L}}
    """
    inside = slope**2 + 2 * curvature * loss
    root = inside.clamp_min(0.0).sqrt()
    # For b < 0 the sum cancels: the same root, rationalised.
    below = torch.where(slope < 0, (root - slope) / curvature.clamp_min(1e-300), 2 * loss / (slope + root))
    return torch.where((inside < 0) | ((slope < 0) & (curvature <= 0)), torch.inf, below)


def share(curvature: Tensor, loss: float, count: int) -> Tensor:
    """σ with ``c σ²/2 = L/d``; infinite where c is not positive."""
    return torch.where(curvature > 0, (2 * loss / count / curvature.clamp_min(1e-300)).sqrt(), torch.inf)
