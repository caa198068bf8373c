"""How precisely a design must be built: the curvature of the objective around it, and the limits that hold it."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.experiment.experiment import Experiment
from mode_opt.experiment.tolerance.differences import differences
from mode_opt.experiment.tolerance.effort import ToleranceEffort
from mode_opt.experiment.tolerance.goals import objective_limits
from mode_opt.experiment.tolerance.judging import judged
from mode_opt.experiment.tolerance.limits import Limits
from mode_opt.experiment.tolerance.model import QuadraticModel
from mode_opt.experiment.tolerance.regression import Regression
from mode_opt.experiment.tolerance.result import Tolerances
from mode_opt.experiment.tolerance.space import Space
from mode_opt.experiment.tolerance.training import Untold


def tolerances(
    experiment: Experiment,
    phi: DesignPoint | None = None,
    loss_percent: float = 1.0,
    effort: ToleranceEffort | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
    reconstructions: Sequence[nn.Module] = (),
) -> Tolerances:
    r"""The quadratic model of J around a design, the deviations that a loss allows, and the price of each limit.

    In half ranges of the parameters, :math:`J(t) = J_0 + b \cdot t + \frac12 t^T H t`, from differences of pathwise
    gradients (`differences`) or a fit to fresh simulation (`Regression`), with jackknife errors of all that follows.
    With the loss :math:`L = |J| \cdot \mathrm{percent}/100`, slope b and curvature c along a direction, the allowed
    deviation is the first t > 0 with :math:`b t + c t^2/2 = L`; against it with −b. Independent deviations of standard
    deviation σ cost :math:`\sum_i H_{ii} \sigma_i^2/2` on average. Multipliers of bounds and constraints: see
    `Stationarity`; directions are those of H within the limits that hold the design.

    The weights of the reconstruction stay as they are, but it is told the displaced φ, unless ``surveyed`` is False:
    `trained_around` makes one that knows what to do with it, so that deviations count as those of a detector that is
    surveyed and calibrated. Otherwise it is trained at the design itself, and the loss contains that nobody knows of
    the deviation. A bias counts, also of a `Resolution` without ``bias_gradient``. Integers and categories stay as they
    are built. Designs that break a bound or a linear constraint are not simulated.

    Args:
        experiment: with a reconstruction from `trained_around`, or `trained_at` the design if it is not told.
        phi: one design, of which the free parameters count; None: that of the experiment.
        loss_percent: allowed loss, in percent of ``|J|``.
        effort: method and thoroughness.
        seed: of all random numbers.
        progress: called with the fraction done.
        reconstructions: several, trained alike with different seeds: their mean is taken, and its error from their
            scatter is part of all errors. None: that of the experiment.

    Raises:
        ConfigurationError: for differences of a simulator that is not differentiable, a design without continuous free
            parameters, limits that leave it no room, or a loss that cannot be used.
        NonFiniteError: if a gradient is not finite, or the objective is 0, of which no percentage is a loss.
        SimulationError: if too many designs around this one fail.
    """
    if not 0 < loss_percent < 1e9:
        raise ConfigurationError("tolerances.loss_percent", loss_percent, "a positive number")
    effort, fit = effort or ToleranceEffort(), None
    analytic = effort.differentiates(experiment.simulator)
    space = Space(experiment.design, phi)
    limits = Limits.of(space)
    networks: list[nn.Module] = list(reconstructions) or [experiment.reconstruction]
    if not effort.surveyed:
        networks = [Untold(network, space.point(space.centre[None]).detach()) for network in networks]
    if analytic:
        models = []
        for k, network in enumerate(networks):
            done = partial(_part, progress, k, len(networks))
            models.append(differences(experiment, network, space, limits, effort, seed, done))
        model = QuadraticModel.combined(models)
        events = effort.events * effort.batches
    else:
        regression = Regression(experiment, networks, space, limits, effort, loss_percent, seed)
        (model, fit), events = regression.fit(progress), regression.events
    further = objective_limits(experiment, networks[0], space, events, seed)
    return judged(space, limits, model, fit, loss_percent, further)


def _part(progress: Callable[[float], None], index: int, count: int, fraction: float) -> None:
    progress((index + fraction) / count)
