"""The map that keeps bounds and linear constraints: each limit acts like a bound of its own."""

from typing import final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mode_opt.design.coordinates import BoxMap
from mode_opt.design.polytope import MARGIN, Polytope

_REACH = 0.1  # range of a constraint's influence, as a fraction of its slack at the centre
_ITERATIONS, _TOLERANCE = 60, 1e-11


@final
class BarrierMap:
    r"""A bijection of all of space onto the interior of a polytope.

    With the map of the bounds alone, :math:`\beta` (`BoxMap`), and the slacks :math:`s = c - A\phi`,

    .. math:: \phi = \beta(\psi - \tilde A^T \mu), \qquad \mu_i = -\log(1 - e^{-s_i/\sigma_i}),

    that is :math:`\psi = \beta^{-1}(\phi) + \tilde A^T \mu(\phi)`, the gradient of a strictly convex
    function that is steep at every face (of Legendre type: Rockafellar, Convex Analysis (1970), section 26),
    hence a smooth bijection. :math:`\tilde A` is :math:`A` times the half ranges, each row divided by its
    largest element; :math:`\sigma_i` a tenth of the slack at the polytope's centre. Away from the
    constraints (:math:`s \gg \sigma`) this is :math:`\beta`, the hyperbolic tangent of each column; towards
    a limit :math:`s_i \approx \sigma_i e^{-\mu_i}`, as towards a bound, with derivatives along the face
    unchanged: a design slides along a limit it has met.

    Not a gauge map (in the spirit of Tabas and Zhang 2022, "Computationally efficient safe reinforcement
    learning for power systems"), because that couples all columns through one radius.

    With :math:`\mu = \mathrm{softplus}(x)`, :math:`s/\sigma = \mathrm{softplus}(-x)` the constraints become
    ``m`` equations for ``x``, solved by Newton's method; derivatives pass through one more Newton step
    (implicit function theorem; first derivatives only). With several constraints and ψ beyond about 20,
    where the bounds are saturated many times over, Newton's method may stop short: values are then kept
    inside by shrinking them towards the centre.

    Args:
        box: the bounds of the ``d`` columns.
        polytope: bounds and constraints.
    """

    def __init__(self, box: BoxMap, polytope: Polytope) -> None:
        self.box, self.polytope = box, polytope
        slack = polytope.limit - polytope.matrix @ polytope.centre
        self.rows = polytope.matrix / (_REACH * slack)[:, None]
        self.limits = polytope.limit / (_REACH * slack)
        push = polytope.matrix * polytope.scale
        self.push = push / push.abs().amax(1, keepdim=True)
        self._cast: dict[tuple[torch.device, torch.dtype], tuple[Tensor, ...]] = {}

    def _constants(self, like: Tensor) -> tuple[Tensor, ...]:
        """Rows and limits in units of the reach, push, centre and gauge, as ``like``."""
        key = (like.device, like.dtype)
        if key not in self._cast:
            slack = self.limits - self.rows @ self.polytope.centre
            parts = (self.rows, self.limits, self.push, self.polytope.centre, self.rows / slack[:, None])
            self._cast[key] = tuple(part.to(like.dtype).to(like.device) for part in parts)
        return self._cast[key]

    def forward(self, psi: Tensor) -> Tensor:
        """``b x d`` values inside the polytope."""
        _, _, push, centre, gauge = self._constants(psi)
        with torch.no_grad():
            x = self._solve(psi.detach())
            inverse, _ = torch.linalg.inv_ex(self._jacobian(x, psi.detach()))
        residual = self._residual(x, psi)
        x = x - (inverse @ (residual - residual.detach())[:, :, None])[:, :, 0]
        offset = self.box.forward(psi - softplus(x) @ push) - centre
        # Only matters where the equations are not solved to the last digit.
        return centre + offset / (offset @ gauge.T).amax(1, keepdim=True).clamp(min=1)

    def inverse(self, phi: Tensor) -> Tensor:
        """Inverse of `forward`; points on or slightly beyond a limit are first moved inside by `MARGIN`."""
        rows, limits, push, centre, gauge = self._constants(phi)
        offset = phi - centre
        phi = centre + offset / ((offset @ gauge.T).amax(1, keepdim=True) / (1 - MARGIN)).clamp(min=1)
        slack = limits - phi @ rows.T
        return self.box.inverse(phi) - torch.log(-torch.expm1(-slack)) @ push

    def _residual(self, x: Tensor, psi: Tensor) -> Tensor:
        rows, limits, push, *_ = self._constants(psi)
        return limits - self.box.forward(psi - softplus(x) @ push) @ rows.T - softplus(-x)

    def _jacobian(self, x: Tensor, psi: Tensor) -> Tensor:
        """``b x m x m``."""
        rows, _, push, *_ = self._constants(psi)
        slope = self.box.slope(psi - softplus(x) @ push)
        coupling = (slope[:, None, :] * rows) @ push.T
        jacobian = coupling * torch.sigmoid(x)[:, None, :]
        # Where all columns are saturated the equations are flat: keep them solvable.
        largest = jacobian.diagonal(dim1=1, dim2=2).amax(1, keepdim=True)
        tiny = 1e-13 * largest + torch.finfo(x.dtype).tiny ** 0.5
        return jacobian + torch.diag_embed(torch.sigmoid(-x) + tiny)

    def _solve(self, psi: Tensor) -> Tensor:
        """``b x m``: Newton steps, each cut to a trust region and halved until the residual shrinks."""
        rows, limits, *_ = self._constants(psi)
        free = limits - self.box.forward(psi) @ rows.T
        x = torch.where(free > 0, -free, torch.zeros_like(free))
        low, high = torch.full_like(x, -torch.inf), torch.full_like(x, torch.inf)
        single = x.shape[1] == 1
        residual = self._residual(x, psi)
        for _ in range(_ITERATIONS):
            if bool((residual.abs() <= _TOLERANCE * (1 + x.abs())).all()):
                break
            jacobian = self._jacobian(x, psi)
            step = residual / jacobian[:, 0] if single else torch.linalg.solve_ex(jacobian, residual)[0]
            trust, step = 2 + x.abs(), step.nan_to_num()
            trial = x - step * (trust / step.abs()).amin(1, keepdim=True).clamp(max=1)
            if single:  # monotone in x: keep the bracket
                low, high = torch.where(residual < 0, x, low), torch.where(residual > 0, x, high)
                bracketed = low.isfinite() & high.isfinite()
                middle = torch.where(bracketed, (low + high) / 2, x - residual.sign() * trust)
                trial = torch.where((trial <= low) | (trial >= high), middle, trial)
                x, residual = trial, self._residual(trial, psi)
            else:
                x, residual = self._shortened(x, trial, residual, psi)
        return x

    def _shortened(self, x: Tensor, trial: Tensor, residual: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        """Halve the steps of those designs whose residual would grow."""
        size = residual.square().sum(1, keepdim=True)
        for _ in range(8):
            reached = self._residual(trial, psi)
            worse = reached.square().sum(1, keepdim=True) > size
            if not bool(worse.any()):
                break
            trial = torch.where(worse, (trial + x) / 2, trial)
        return trial, self._residual(trial, psi)
