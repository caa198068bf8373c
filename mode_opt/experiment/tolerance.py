"""How precisely a design must be built: the curvature of the objective around it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.experiment.directions import parameter_names
from mode_opt.experiment.experiment import Experiment
from mode_opt.experiment.guard import problem_of
from mode_opt.gradients import Pathwise
from mode_opt.objectives.uncertainty import Estimate

SIGNIFICANT = 2.0
"""Standard errors from zero above which a curvature is taken for one."""


@dataclass(frozen=True)
class ParameterTolerance:
    """One free parameter; numbers in its declared unit.

    Attributes:
        name: as in ``history.csv``.
        unit: declared.
        value: at the design.
        slope: ∂J/∂φ.
        curvature: ∂²J/∂φ².
        deviation: that costs the allowed loss if this parameter alone deviates, in the worse direction; infinite if
            none does in the quadratic model.
        spread: standard deviation that is allowed to each parameter if all deviate independently about the design and
            each takes an equal share of the mean loss; infinite where the curvature is not positive.
    """

    name: str
    unit: str
    value: float
    slope: Estimate
    curvature: Estimate
    deviation: Estimate
    spread: Estimate


@dataclass(frozen=True)
class DirectionTolerance:
    """A principal direction of the curvature, in half ranges of the parameters.

    Attributes:
        components: of the unit vector, by parameter.
        slope: of J along it.
        curvature: eigenvalue.
        step_error: what the step of the differences, or rounding, may still do to the curvature.
        deviation: along it that costs the allowed loss, in the worse sense; infinite if none does.
    """

    components: dict[str, float]
    slope: Estimate
    curvature: Estimate
    step_error: float
    deviation: Estimate

    @property
    def kind(self) -> str:
        """What limits the deviation along it.

        ``stiff``: the curvature; ``sloping``: the slope, of a design that is no optimum or is held by a limit;
        ``free``: nothing within half the range, or nothing to be seen above the errors; ``falling``: the curvature is
        negative, so that the design is no minimum.
        """
        error = SIGNIFICANT * (self.curvature.standard_error**2 + self.step_error**2) ** 0.5
        if self.curvature.value < -error:
            return "falling"
        if self.deviation.value >= 1:
            return "free"
        if self.curvature.value > error:
            return "stiff"
        return "sloping" if abs(self.slope.value) > SIGNIFICANT * self.slope.standard_error else "free"


@dataclass(frozen=True, eq=False)
class Tolerances:
    """The quadratic model of J around a design, and what it allows.

    Attributes:
        objective: J at the design.
        loss: the allowed increase of J.
        parameters: one entry a free parameter.
        directions: from the stiffest to the freest.
        hessian: ``d x d``, in units of J per product of half ranges.
        scale: ``d`` half ranges, in field units.
    """

    objective: Estimate
    loss: float
    parameters: list[ParameterTolerance]
    directions: list[DirectionTolerance]
    hessian: Tensor
    scale: Tensor


def tolerances(
    experiment: Experiment,
    phi: DesignPoint | None = None,
    loss_percent: float = 1.0,
    events: int = 4096,
    batches: int = 8,
    step: float = 0.05,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Tolerances:
    r"""Curvature of the objective of a differentiable pipeline, and the deviations that a loss allows.

    In half ranges s of the free parameters, :math:`z = \phi/s`, with the pathwise gradient g and common random
    numbers, the columns of the Hessian are central differences, extrapolated (Richardson):

    .. math:: D_i(h) = \frac{g(z + h e_i) - g(z - h e_i)}{2h}, \qquad H_{\cdot i} = \frac{4 D_i(h/2) - D_i(h)}{3}

    and symmetrised. With the loss :math:`L = |J| \cdot \mathrm{percent}/100`, slope b and curvature c along a
    direction, the allowed deviation is the first t > 0 with :math:`|b| t + c t^2/2 = L`,

    .. math:: t = \frac{2 L}{|b| + \sqrt{b^2 + 2 c L}}

    and infinite if there is none. Independent deviations of standard deviation σ cost
    :math:`\sum_i H_{ii} \sigma_i^2/2` on average. Errors are those of the jackknife over independent batches.

    The weights of the reconstruction stay as they are, but it is told the displaced φ: that is a detector that is
    surveyed and not calibrated anew; a bias counts, also of a `Resolution` without ``bias_gradient``. Integers count
    as real numbers. Where a displaced value would leave its bounds, both are moved inside, and the curvature is that
    of a point up to h nearer to the middle; other constraints are not watched. Costs ``4 d + 1`` gradients a batch.

    Args:
        experiment: with a differentiable simulator and a trained reconstruction.
        phi: one design, of which the free parameters count; None: that of the experiment.
        loss_percent: allowed loss, in percent of ``|J|``.
        events: primaries of a batch.
        batches: independent ones, at least 3.
        step: h, in half ranges; of the size of the deviations that come out, if ``step_error`` is not small.
        seed: of all random numbers.
        progress: called with the fraction done.

    Raises:
        ConfigurationError: for a simulator that is not differentiable, free categories, or a loss, step or number of
            batches that cannot be used.
        NonFiniteError: if a gradient is not finite, or the objective is 0, of which no percentage is a loss.
    """
    _check(experiment, loss_percent, batches, step)
    model = _Model(experiment, phi, events, seed)
    samples = []
    for index in range(batches):
        samples.append(model.sample(index, step))
        progress((index + 1) / batches)
    value, slope, hessian, shift = (torch.stack(parts) for parts in zip(*samples, strict=True))
    loss = loss_percent / 100 * abs(float(value.mean()))
    if loss == 0:
        raise NonFiniteError("the objective of the design is 0: a loss of so many percent of it is no loss")
    return _judged(model, loss, value, slope, hessian, shift)


def _check(experiment: Experiment, loss: float, batches: int, step: float) -> None:
    Pathwise().check(experiment.simulator)
    choices, free = experiment.design.declaration.choices, experiment.design.psi_columns
    if not free or any(name in choices for name in free):
        raise ConfigurationError("design", sorted(free), "free numeric parameters and no free categories")
    for key, value, low, high in (("loss_percent", loss, 0.0, 1e9), ("step", step, 0.0, 0.5)):
        if not low < value < high:
            raise ConfigurationError(f"tolerances.{key}", value, f"a number between {low:g} and {high:g}")
    if batches < 3:
        raise ConfigurationError("tolerances.batches", batches, "at least 3")


class _Model:
    """J and its derivatives as functions of the free parameters in half ranges, for given random numbers."""

    def __init__(self, experiment: Experiment, phi: DesignPoint | None, events: int, seed: int) -> None:
        design = experiment.design
        self.design, self.problem = design, problem_of(experiment, experiment.reconstruction, events, seed)
        self.raw = {n: v.detach() for n, v in design.system.raw_of(design() if phi is None else phi).items()}
        self.centre = torch.cat([self.raw[name] for name in design.psi_columns], 1).double()[0].cpu()
        places = [design.layout.columns[name] for name in design.psi_columns]
        low, high = (torch.from_numpy(side) for side in design.declaration.ranges())
        half = torch.tensor(design.layout.scale, dtype=torch.float64)
        self.scale = torch.cat([half[place] for place in places])
        self.low, self.high = (torch.cat([side[place] for place in places]) / self.scale for side in (low, high))

    def evaluated(self, z: Tensor, index: int) -> tuple[float, Tensor]:
        """J and dJ/dz, ``d``, with the random numbers of a batch."""
        like = self.design.psi
        physical = (z * self.scale).to(like).unsqueeze(0).requires_grad_()
        raw = self.raw | {name: physical[:, part] for name, part in self.design.psi_columns.items()}
        with torch.enable_grad():
            phi = DesignPoint(self.design.system.assemble(raw), self.design.layout)
            primaries, generator = self.problem.batch("tolerance", index)
            value = self.problem.score(self.problem.simulator(phi, primaries, generator), phi).sum()
            (slope,) = torch.autograd.grad(value, physical, materialize_grads=True)
        slope = slope[0].double().cpu() * self.scale
        if not bool(torch.isfinite(slope).all()) or not bool(torch.isfinite(value)):
            raise NonFiniteError("the objective or its gradient is not finite next to the design")
        return float(value.detach()), slope

    def sample(self, index: int, step: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """J, slope ``d``, Hessian ``d x d`` and what the step still may do to it, from one batch."""
        value, slope = self.evaluated(self.centre / self.scale, index)
        coarse, fine = (self._differences(h, index) for h in (step, step / 2))
        hessian = (4 * fine - coarse) / 3
        shift = (coarse - fine) / 3
        return torch.tensor(value, dtype=torch.float64), slope, (hessian + hessian.T) / 2, (shift + shift.T) / 2

    def _differences(self, h: float, index: int) -> Tensor:
        """Central differences of the gradient, a column a parameter."""
        columns = []
        for i in range(len(self.scale)):
            z, unit = self.centre / self.scale, torch.zeros_like(self.scale)
            z[i] = z[i].clamp(self.low[i] + h, self.high[i] - h)
            unit[i] = h
            columns.append((self.evaluated(z + unit, index)[1] - self.evaluated(z - unit, index)[1]) / (2 * h))
        return torch.stack(columns, 1)


def allowed(slope: Tensor, curvature: Tensor, loss: float) -> Tensor:
    """First t > 0 with ``|b| t + c t²/2 = L``; infinite where there is none; any shape."""
    inside = slope**2 + 2 * curvature * loss
    root = 2 * loss / (slope.abs() + inside.clamp_min(0.0).sqrt())
    return torch.where(inside < 0, torch.inf, root)  # also 2 L/0


def _judged(model: _Model, loss: float, value: Tensor, slope: Tensor, hessian: Tensor, shift: Tensor) -> Tolerances:
    mean = hessian.mean(0)
    vectors = torch.linalg.eigh(mean).eigenvectors.flip(1)
    vectors = vectors * torch.where(vectors.gather(0, vectors.abs().argmax(0, keepdim=True)) < 0, -1.0, 1.0)
    along = torch.cat([torch.eye(len(mean), dtype=torch.float64), vectors], 1)  # d x 2d: parameters, then directions
    slopes, bends = slope @ along, torch.einsum("ik,bij,jk->bk", along, hessian, along)
    found = _estimates(slopes, bends, lambda b, c: torch.stack([b, c, allowed(b, c, loss), _share(c, loss, len(mean))]))
    steps = torch.einsum("ik,bij,jk->bk", along, shift, along).mean(0).abs()
    rounding = torch.finfo(model.design.psi.dtype).eps ** 0.5 * float(mean.abs().max())
    names, d = parameter_names(model.design), len(mean)
    directions = [
        DirectionTolerance(
            dict(zip(names, vectors[:, k].tolist(), strict=True)),
            *(found[0][d + k], found[1][d + k], max(float(steps[d + k]), rounding), found[2][d + k]),
        )
        for k in range(d)
    ]
    objective = Estimate(float(value.mean()), float(value.std() / len(value) ** 0.5))
    return Tolerances(objective, loss, _parameters(model, names, found), directions, mean, model.scale)


def _share(curvature: Tensor, loss: float, count: int) -> Tensor:
    """σ with ``c σ²/2 = L/d``; infinite where c is not positive."""
    return torch.where(curvature > 0, (2 * loss / count / curvature.clamp_min(1e-300)).sqrt(), torch.inf)


def _estimates(slopes: Tensor, bends: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> list[list[Estimate]]:
    """Of a function of mean slope and mean curvature, with jackknife errors over the batches; rows of it."""
    count = len(slopes)
    value = function(slopes.mean(0), bends.mean(0))
    out = [(x.sum(0) - x) / (count - 1) for x in (slopes, bends)]
    left = torch.stack([function(b, c) for b, c in zip(*out, strict=True)])
    errors = ((count - 1) / count * ((left - left.mean(0)) ** 2).sum(0)).sqrt()  # NaN where infinite
    return [
        [Estimate(float(v), float(e)) for v, e in zip(*row, strict=True)] for row in zip(value, errors, strict=True)
    ]


def _parameters(model: _Model, names: tuple[str, ...], found: list[list[Estimate]]) -> list[ParameterTolerance]:
    design, entries = model.design, []
    declared = [design.declaration.unit(n) for n, c in design.psi_columns.items() for _ in range(c.start, c.stop)]
    for i, (name, unit) in enumerate(zip(names, declared, strict=True)):
        size = float(model.scale[i]) / unit.factor
        factors = (1 / size, 1 / size**2, size, size)
        slope, curvature, deviation, spread = (_times(row[i], f) for row, f in zip(found, factors, strict=True))
        value = float(model.centre[i]) / unit.factor
        entries.append(ParameterTolerance(name, unit.text, value, slope, curvature, deviation, spread))
    return entries


def _times(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(estimate.value * factor, estimate.standard_error * factor)
