"""Weighted least squares of a quadratic, and whether it describes what it was fitted to."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.experiment.tolerance.arrangement import DENSE, coefficients, columns
from mode_opt.experiment.tolerance.model import SIGNIFICANT, QuadraticModel, jackknife_error
from mode_opt.experiment.tolerance.significance import Agreement, agreement


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A fitted quadratic.

    Attributes:
        model: in units of the radius about the centre of the region.
        residuals: measured less fitted, ``m``.
        lack: test of the residuals.
        misfit: their typical size, corrected for the number of coefficients.
    """

    model: QuadraticModel
    residuals: Tensor
    lack: Agreement
    misfit: float


def determined(u: Tensor) -> bool:
    """Whether designs at ``m x d`` places determine all coefficients."""
    x = columns(u)
    return len(x) >= x.shape[1] and int(torch.linalg.matrix_rank(x)) == x.shape[1]


def fitted(u: Tensor, value: Tensor, left_out: Tensor, resolution: float) -> Quadratic:
    """Fit values ``m`` and their replicas ``K x m`` at ``m x d`` places.

    Weights are 1/σ² with ln σ² linear in the displacement (fitted to the jackknife errors): weights from the single
    errors would be correlated with the values.

    A fit with cubic and quartic terms of each parameter, too, tells what the quadratic makes of them: as much of the
    change of slope and curvature as is significant and its statistical error does not explain is added to the errors.

    Args:
        u: in units of the radius.
        value: J.
        left_out: with the same group left out for all designs.
        resolution: relative rounding error of the values.
    """
    x, d, every = columns(u), u.shape[1], torch.cat([value[None], left_out])
    root = _weights(u, jackknife_error(left_out)).sqrt()[:, None]
    solve = torch.linalg.pinv(root * x) * root.T  # p x m
    theta = every @ solve.T
    rest = every - theta @ x.T
    q, _ = torch.linalg.qr(root * x, mode="complete")
    contrasts = rest @ (root * q[:, x.shape[1] :])
    deviations = (1 - 1 / len(left_out)) ** 0.5 * (contrasts[1:] - contrasts[1:].mean(0))
    lack = agreement(contrasts[0], deviations, len(left_out))
    misfit = float((rest[0].square().sum() / max(len(x) - x.shape[1], 1)).sqrt())
    values, slopes, hessians = coefficients(theta, d)
    rounding = resolution * float(value.abs().max()) * torch.eye(d, dtype=torch.float64)
    left = (values[1:], slopes[1:], hessians[1:])
    model = QuadraticModel(values[0], slopes[0], hessians[0], left, rounding, d <= DENSE)
    return Quadratic(model.widened(*_unexplained(u, every, root, solve)), rest[0], lack, misfit)


def _weights(u: Tensor, errors: Tensor) -> Tensor:
    """``m``, relative to their mean; equal ones where there is no noise."""
    if not bool((errors > 0).all()):
        return torch.ones_like(errors)
    x = torch.cat([torch.ones(len(u), 1, dtype=u.dtype), u], 1)
    logarithm = x @ torch.linalg.lstsq(x, errors.log()[:, None], driver="gelsd").solution[:, 0]
    weight = torch.exp(-2 * (logarithm - logarithm.mean()).clamp(-1.0, 1.0))  # no design weighs next to nothing
    return weight / weight.mean()


def _unexplained(u: Tensor, values: Tensor, root: Tensor, solve: Tensor) -> tuple[Tensor, Tensor]:
    """What cubic and quartic terms do to slope and diagonal curvature, ``d`` each, beyond the noise; 0 elsewhere."""
    d = u.shape[1]
    larger = torch.linalg.pinv(root * torch.cat([columns(u), u**3, u**4], 1)) * root.T
    change = values @ (larger[1 : 1 + 2 * d] - solve[1 : 1 + 2 * d]).T
    noise = jackknife_error(change[1:])
    beyond = (change[0] ** 2 - noise**2).clamp_min(0.0).sqrt()
    beyond = torch.where(change[0].abs() > SIGNIFICANT * noise, beyond, 0.0)
    return beyond[:d], beyond[d:]
