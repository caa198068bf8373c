"""The quadratic model of any simulator: a fit to fresh simulation of designs around the one in question."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from mode_opt.errors import SimulationError
from mode_opt.experiment.experiment import Experiment
from mode_opt.experiment.tolerance.arrangement import arrangement, inside
from mode_opt.experiment.tolerance.effort import ToleranceEffort
from mode_opt.experiment.tolerance.fitting import determined, fitted
from mode_opt.experiment.tolerance.limits import Limits
from mode_opt.experiment.tolerance.model import QuadraticModel, allowed, allowed_loss, jackknife_error
from mode_opt.experiment.tolerance.significance import Agreement
from mode_opt.experiment.tolerance.space import Space
from mode_opt.experiment.tolerance.survey import GROUPS, Survey, Values

FIRST, LARGEST, SMALLEST = 0.2, 0.3, 1e-3
"""Radius of the first look, and limits of the chosen one, in half ranges."""
LEAST_EVENTS = 10 * GROUPS
REACH = 2.0
"""The region reaches to about so many times the allowed loss,"""
VISIBLE = 8.0
"""and to where the curvature is at least so many errors of a second difference."""
TRIALS, SMALLER = 3, 0.6
IMPROBABLE, NEGLIGIBLE = 0.01, 0.1
"""A fit is inadequate if its p-value is smaller and its typical residual larger than this part of the allowed loss."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What a quadratic was fitted to, and whether it describes it.

    Attributes:
        places: ``m x d`` designs that came back, as displacements in half ranges.
        values: J of each, ``m``.
        errors: of each, relative to the mean over the designs, ``m``.
        residuals: measured less fitted, ``m``.
        radius, shift: ``d``, of the region, in half ranges, and where its centre lies from the design.
        lack: test of the residuals.
        misfit: their typical size, corrected for the number of coefficients.
        adequate: whether the quadratic will do.
        failed: designs that could not be simulated.
        reasons: why.
        calls: simulated events, all looks and trials together.
        trials: fits made; all but the last in regions where the quadratic did not hold.
    """

    places: Tensor
    values: Tensor
    errors: Tensor
    residuals: Tensor
    radius: Tensor
    shift: Tensor
    lack: Agreement
    misfit: float
    adequate: bool
    failed: int
    reasons: tuple[str, ...]
    calls: int
    trials: int


@final
class Regression:
    r"""Weighted least squares with all coefficients of a quadratic (`arrangement`), jackknifed over groups of events.

    The region is a box with a radius for each parameter, moved inside bounds and linear constraints. Its first look
    takes ± `FIRST` half ranges on each axis, the second those radii that the first suggests: where the model loses
    `REACH` times the allowed loss, or further out where the curvature would not stand out of the noise. If the
    residuals of the fit tell that a quadratic does not hold there, the fit is made anew in a region `SMALLER`, twice
    at most. Designs that cannot be simulated are left out as long as the others determine the coefficients.

    Args:
        experiment: with any simulator.
        networks: trained reconstructions, measured on the same events; the first decides about the region.
        space: of the parameters.
        limits: of the design.
        effort: `calls` and `radius` count.
        loss_percent: allowed loss.
        seed: of all random numbers.
    """

    def __init__(
        self,
        experiment: Experiment,
        networks: Sequence[nn.Module],
        space: Space,
        limits: Limits,
        effort: ToleranceEffort,
        loss_percent: float,
        seed: int,
    ) -> None:
        self.experiment, self.space, self.limits, self.seed = experiment, space, limits, seed
        self.survey, self.loss_percent = Survey(experiment, networks, space, seed), loss_percent
        self.effort, self.designs = effort, arrangement(space.dimension)
        self.events = max(LEAST_EVENTS, effort.allowance(experiment.simulator) // len(self.designs))

    def fit(self, progress: Callable[[float], None] = lambda fraction: None) -> tuple[QuadraticModel, Fit]:
        """Look, fit, and fit again if need be.

        Raises:
            SimulationError: if the designs that come back do not determine the coefficients.
            NonFiniteError: if the objective is 0.
        """
        before = self.experiment.simulator_calls
        radius = torch.full_like(self.space.centre, self.effort.radius or FIRST)
        looks = 0 if self.effort.radius else 2
        for look in range(looks):
            radius = self._look(radius, look, lambda f, look=look: progress(0.1 * (look + f) / 2))  # type: ignore[misc]
        for trial in range(TRIALS):
            begin = 0.1 + 0.9 * trial / TRIALS
            model, fit = self._trial(radius, trial, lambda f, begin=begin: progress(begin + 0.9 * f / TRIALS))  # type: ignore[misc]
            if fit.adequate or self.effort.radius:
                break
            radius = SMALLER * fit.radius
        progress(1.0)
        calls = self.experiment.simulator_calls - before
        return model, Fit(**{**vars(fit), "calls": calls, "trials": trial + 1})

    def _look(self, radius: Tensor, look: int, progress: Callable[[float], None]) -> Tensor:
        """Measure the axes, and return better radii."""
        d = self.space.dimension
        eye = torch.eye(d, dtype=torch.float64)
        u = torch.cat([torch.zeros(1, d, dtype=torch.float64), torch.stack([eye, -eye], 1).flatten(0, 1)])
        shift, radius = inside(radius, u, *self.limits.straight())
        events = max(LEAST_EVENTS, self.events * len(self.designs) // (20 * len(u)))
        found = self.survey.measure(self.space.centre + shift + u * radius, events, f"look {look}", progress)[0]
        if not bool(found.succeeded[0]):
            raise SimulationError(f"next to the design nothing can be simulated: {'; '.join(found.reasons)}")
        noise = (events / self.events) ** 0.5
        loss = allowed_loss(found.value[0], self.loss_percent)
        return torch.stack([self._better(found, i, float(radius[i]), noise, loss) for i in range(d)])

    def _better(self, found: Values, i: int, radius: float, noise: float, loss: float) -> Tensor:
        """The radius on one axis where the effect is large and visible enough."""
        above, below = 2 * i + 1, 2 * i + 2
        if not bool(found.succeeded[above] & found.succeeded[below]):
            return torch.tensor(radius * SMALLER, dtype=torch.float64)

        def second(x: Tensor) -> Tensor:
            return x[..., above] + x[..., below] - 2 * x[..., 0]

        error = jackknife_error(second(found.left_out)) * noise
        slope = (found.value[above] - found.value[below]).abs() / (2 * radius)
        bend = torch.maximum(second(found.value).abs(), error) / radius**2
        wanted = allowed(slope, bend, REACH * loss)
        seen = (VISIBLE * error / bend.clamp_min(1e-300)).sqrt()
        return torch.maximum(wanted, seen).clamp(SMALLEST, LARGEST)

    def _trial(self, radius: Tensor, trial: int, progress: Callable[[float], None]) -> tuple[QuadraticModel, Fit]:
        shift, radius = inside(radius, self.designs, *self.limits.straight())
        places = shift + self.designs * radius
        every = self.survey.measure(self.space.centre + places, self.events, f"trial {trial}", progress)
        found, kept = every[0], torch.stack([values.succeeded for values in every]).all(0)
        u = self.designs[kept]
        if not determined(u):
            lost = f"{int((~kept).sum())} of {len(kept)} designs around this one failed ({'; '.join(found.reasons)})"
            raise SimulationError(f"{lost}; the others do not determine how the objective curves")
        value, left = found.value[kept], found.left_out[:, kept]
        resolution = torch.finfo(self.space.design.psi.dtype).eps
        fits = [fitted(u, values.value[kept], values.left_out[:, kept], resolution) for values in every]
        model, fit = QuadraticModel.combined([one.model for one in fits]), fits[0]
        negligible = fit.misfit < NEGLIGIBLE * allowed_loss(value.mean(), self.loss_percent)
        adequate = not fit.lack.p_value < IMPROBABLE or negligible
        errors = jackknife_error(left - left.mean(1, keepdim=True))
        failed = int((~kept).sum())
        judged = (fit.residuals, radius, shift, fit.lack, fit.misfit, adequate, failed, found.reasons)
        return model.rescaled(radius).moved(-shift), Fit(places[kept], value, errors, *judged, 0, 0)
