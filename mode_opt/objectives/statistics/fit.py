"""Best fits by Newton's method, with the derivatives of the fitted values."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.errors import NonFiniteError
from mode_opt.objectives.statistics.model import Derivatives, Model, Observation

_STEPS = 100
_HALVINGS = 12
_DECREMENT = 1e-8
"""Newton's decrement, (distance/σ)², below which one more full step is right to about 1e-9 σ."""
_ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class Fit:
    """Parameters of smallest ``−ln L``.

    Attributes:
        theta: ``b x p``; carries first derivatives with respect to the model, the data and the held value.
        free: ``b x p``, which of them are neither held nor at a bound.
    """

    theta: Tensor
    free: Tensor

    def detach(self) -> "Fit":
        return Fit(self.theta.detach(), self.free)


def fit(model: Model, data: Observation, interest: Tensor | float | None = None, start: Tensor | None = None) -> Fit:
    r"""Best fit within the bounds, or at a given value of the parameter of interest.

    Solved without derivatives by Newton's method; then one more step with the Hessian H held fixed,

    .. math:: \theta = \hat\theta - H^{-1} \nabla_\theta (-\ln L)(\hat\theta; \varphi),

    attaches the derivatives that the implicit function theorem gives, for the parameters inside their bounds.

    Args:
        model: of ``b`` designs.
        data: what is fitted.
        interest: value (``b`` or a number) at which the parameter of interest is held; None: it is fitted.
        start: ``b x p``; None: the nominal parameters.

    Raises:
        NonFiniteError: if a fit does not converge: the data are impossible, or a parameter without bounds runs away.
    """
    theta = model.initial.expand(model.designs, -1) if start is None else start
    held = model.held
    if interest is not None:
        value = torch.as_tensor(interest, dtype=torch.float64)
        theta = model.with_interest(theta, value)
        held = held | (torch.arange(theta.shape[-1]) == model.interest)
    with torch.no_grad():
        found = minimum(model, data, theta, held)
    attached = found.theta if interest is None else model.with_interest(found.theta, value)
    if not torch.is_grad_enabled():
        return Fit(attached, found.free)
    slopes = model.derivatives(attached, data)
    step = _solve(slopes.hessian.detach(), slopes.positive.detach(), slopes.gradient, found.free)
    return Fit(attached - step, found.free)


def minimum(model: Model, data: Observation, start: Tensor, held: Tensor) -> Fit:
    """Projected Newton steps from ``start``, each as long as it lowers ``−ln L``; without derivatives.

    A parameter leaves the step while it is at a bound that it would cross. Where Newton's direction fails, steps
    along the gradient, scaled with the diagonal of the Hessian, take its place.

    Source: D. Bertsekas, "Projected Newton methods", SIAM J. Control Optim. 20 (1982) 221.
    """
    low = torch.where(held, start, model.lower)
    high = torch.where(held, start, model.upper)
    theta = torch.minimum(torch.maximum(start, low), high)
    for _ in range(_STEPS):
        slopes = model.derivatives(theta, data)
        stuck = held | ((theta <= low) & (slopes.gradient > 0)) | ((theta >= high) & (slopes.gradient < 0))
        free = ~stuck
        step = _solve(slopes.hessian, slopes.positive, slopes.gradient, free)
        decrement = (step * slopes.gradient).sum(-1)
        small = decrement < _DECREMENT
        if bool(small.all()):
            last = torch.minimum(torch.maximum(theta - step, low), high)
            return Fit(last, free)
        plain = slopes.gradient * free / slopes.positive.diagonal(dim1=1, dim2=2).clamp_min(1e-12)
        theta = _descend(model, data, theta, (step, plain), slopes, (low, high))
    raise NonFiniteError(
        f"a likelihood fit did not converge in {_STEPS} steps (decrement {float(decrement.max()):.3g}): "
        "bound the parameters, or see whether bins with data can have a zero expectation"
    )


def _descend(
    model: Model,
    data: Observation,
    theta: Tensor,
    steps: tuple[Tensor, Tensor],
    slopes: Derivatives,
    limits: tuple[Tensor, Tensor],
) -> Tensor:
    """Halve the steps of the designs that do not gain enough."""
    length = torch.ones_like(theta[:, :1])
    step, accepted, result = steps[0], torch.zeros_like(theta[:, 0], dtype=torch.bool), theta
    for trial in range(2 * _HALVINGS):
        if trial == _HALVINGS:
            step, length = torch.where(accepted.unsqueeze(1), step, steps[1]), torch.ones_like(length)
        new = torch.minimum(torch.maximum(theta - length * step, limits[0]), limits[1])
        gain = model.difference(new, theta, data, slopes.expected)
        enough = gain <= 1e-4 * ((new - theta) * slopes.gradient).sum(-1) + _ROUNDING
        result = torch.where((enough & ~accepted).unsqueeze(1), new, result)
        accepted = accepted | enough
        if bool(accepted.all()):
            break
        length = torch.where(accepted.unsqueeze(1), length, length / 2)
    return result


def _solve(hessian: Tensor, positive: Tensor, gradient: Tensor, free: Tensor) -> Tensor:
    """``H⁻¹ g`` of the free parameters, 0 at the others; with the positive matrix where H is not definite."""
    factor, failed = torch.linalg.cholesky_ex(reduced(hessian, free))
    if bool(failed.any()):
        ridge = 1e-9 * positive.diagonal(dim1=1, dim2=2).amax(-1).clamp_min(1e-9)
        second = reduced(positive, free) + ridge[:, None, None] * torch.eye(free.shape[1]).to(positive)
        factor = torch.where((failed > 0)[:, None, None], torch.linalg.cholesky_ex(second)[0], factor)
    return torch.cholesky_solve((gradient * free).unsqueeze(-1), factor).squeeze(-1)


def reduced(matrix: Tensor, free: Tensor) -> Tensor:
    """Rows and columns of the others replaced with those of the unit matrix."""
    both = free.unsqueeze(1) & free.unsqueeze(2)
    return torch.where(both, matrix, torch.zeros_like(matrix)) + torch.diag_embed((~free).to(matrix))
