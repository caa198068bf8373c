"""The quadratic model of a differentiable pipeline: differences of its gradients."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mode_opt.errors import NonFiniteError
from mode_opt.experiment.experiment import Experiment
from mode_opt.experiment.guard import problem_of
from mode_opt.experiment.reference import Problem
from mode_opt.experiment.tolerance.arrangement import inside
from mode_opt.experiment.tolerance.effort import ToleranceEffort
from mode_opt.experiment.tolerance.limits import Limits
from mode_opt.experiment.tolerance.model import QuadraticModel
from mode_opt.experiment.tolerance.space import Space


def differences(
    experiment: Experiment,
    network: nn.Module,
    space: Space,
    limits: Limits,
    effort: ToleranceEffort,
    seed: int,
    progress: Callable[[float], None],
) -> QuadraticModel:
    r"""Central differences of the pathwise gradient with common random numbers, extrapolated (Richardson).

    .. math:: D_i(h) = \frac{g(z + h e_i) - g(z - h e_i)}{2h}, \qquad H_{\cdot i} = \frac{4 D_i(h/2) - D_i(h)}{3}

    and symmetrised; ``step_error`` is :math:`|D(h/2) - D(h)|/3`. Value and slope are those of the design itself; where
    displaced designs would break a bound or linear constraint, all are moved inside, and H is that of a point next to
    the design. Costs ``4 d + 1`` gradients a batch.

    Raises:
        NonFiniteError: if a gradient is not finite.
    """
    problem = problem_of(experiment, network, effort.events, seed)
    function = _Gradient(problem, space)
    eye = torch.eye(space.dimension, dtype=torch.float64)
    cross = torch.cat([eye, -eye])
    shift, steps = inside(torch.full_like(space.centre, effort.step), cross, *limits.straight())
    values, slopes, bends, shifts = [], [], [], []
    for index in range(effort.batches):
        value, slope = function(space.centre, index)
        coarse, fine = (_columns(function, space.centre + shift, part * steps, index) for part in (1.0, 0.5))
        bend, change = (4 * fine - coarse) / 3, (coarse - fine) / 3
        values.append(value)
        slopes.append(slope)
        bends.append((bend + bend.T) / 2)
        shifts.append((change + change.T) / 2)
        progress((index + 1) / effort.batches)
    hessian = torch.stack(bends)
    rounding = torch.finfo(space.design.psi.dtype).eps ** 0.5 * hessian.mean(0).abs().max()
    step_error = torch.stack(shifts).mean(0).abs() + rounding * eye
    return QuadraticModel.of_batches(torch.stack(values), torch.stack(slopes), hessian, step_error)


def _columns(function: "_Gradient", z: Tensor, steps: Tensor, index: int) -> Tensor:
    """Central differences of the gradient, a column a parameter."""
    found = []
    for i, step in enumerate(steps.tolist()):
        unit = torch.zeros_like(z)
        unit[i] = step
        found.append((function(z + unit, index)[1] - function(z - unit, index)[1]) / (2 * step))
    return torch.stack(found, 1)


class _Gradient:
    """J and dJ/dz (``d``) as functions of the displaced design and the index of the batch."""

    def __init__(self, problem: Problem, space: Space) -> None:
        self.problem, self.space = problem, space

    def __call__(self, z: Tensor, index: int) -> tuple[Tensor, Tensor]:
        like = self.space.design.psi
        wide = like.dtype if like.device.type == "mps" else torch.float64  # Apple's GPUs do not have it
        scaled = z.clone().to(like.device, wide).requires_grad_()
        with torch.enable_grad():
            phi = self.space.point(scaled[None])
            primaries, generator = self.problem.batch("tolerance", index)
            value = self.problem.score(self.problem.simulator(phi, primaries, generator), phi).sum()
            (slope,) = torch.autograd.grad(value, scaled, materialize_grads=True)
        if not bool(torch.isfinite(slope).all()) or not bool(torch.isfinite(value)):
            raise NonFiniteError("the objective or its gradient is not finite next to the design")
        return value.detach().double().cpu(), slope.double().cpu()
