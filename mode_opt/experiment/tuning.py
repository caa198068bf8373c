"""Tuning a simulator to recorded events, with errors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.experiment.experiment import Experiment
from mode_opt.objectives import Objective, resampled, toy_recorded
from mode_opt.simulation import Promise, stream

POPULATION = 8
"""From how many times as many simulated events toys are drawn."""


@dataclass(frozen=True, eq=False)
class Tuning:
    """Parameters of a simulator that describe recorded events best.

    Attributes:
        names: of the parameters, as in `Design.columns`.
        values: ``d``, at the minimum of the objective, in the units of the design.
        objective: there.
        bootstrap: ``k x d``, the same for bootstrap samples of the recorded events.
        simulated: ``r x d``, the same for other simulated events.
        toys: ``m x d``, the same for simulated samples of the size of the recorded one, made at ``values``.
        floor: ``m``, the objective at the minimum of each.
    """

    names: tuple[str, ...]
    values: Tensor
    objective: float
    bootstrap: Tensor
    simulated: Tensor
    toys: Tensor
    floor: Tensor

    @property
    def covariance(self) -> Tensor:
        """``d x d``: of the recorded events (bootstrap), and of the finite number of simulated ones."""
        size = 2 * self.values.shape
        return self.bootstrap.T.cov().reshape(size) + torch.diag(self.simulation_errors**2)

    @property
    def errors(self) -> Tensor:
        """``d`` standard errors."""
        return self.covariance.diagonal().sqrt()

    @property
    def simulation_errors(self) -> Tensor:
        """``d``: the part of the errors that more simulated events would remove."""
        return self.simulated.std(0)

    @property
    def bias(self) -> Tensor:
        """``d``: how far the toys are from the values that made them, on average."""
        return self.toys.mean(0) - self.values

    @property
    def probability(self) -> float:
        """Fraction of the toys that are further from their simulation than the recorded events are.

        Near 0 no values of the parameters describe the recorded events.
        """
        return float((self.floor > self.objective).double().mean())

    def __str__(self) -> str:
        spread = self.toys.std(0) / len(self.toys) ** 0.5
        columns = [self.values, self.errors, self.simulation_errors, self.bias, spread]
        lines = [
            f"{name} = {value:.6g} ± {error:.2g} (of it simulation {own:.1g}; bias of toys {bias:+.1g} ± {known:.1g})"
            for name, value, error, own, bias, known in zip(self.names, *(c.tolist() for c in columns), strict=True)
        ]
        return "\n".join([*lines, f"objective {self.objective:.4g}; larger in {self.probability:.0%} of toys"])


def tune(
    experiment: Experiment,
    samples: int = 40,
    toys: int = 40,
    events: int = 8192,
    repetitions: int = 4,
    seed: int = 0,
) -> Tuning:
    """The minimum of an objective that compares with recorded events, its errors, and how good it is.

    The same primaries and random numbers are used for every design, so that the objective is a smooth function whose
    minimum L-BFGS finds, from the present design on. Errors are those of a bootstrap of the recorded events, with the
    same simulated ones, and the scatter of the minimum between sets of simulated events. Toys are simulated at the
    minimum and tuned to in the same way.

    The design is left at the minimum.

    Args:
        experiment: with an objective that has recorded events (`Sinkhorn`, or made of such), a differentiable
            simulator, and a reconstruction that is used as it is.
        samples: bootstrap samples.
        toys: simulated samples.
        events: simulated ones that are compared with.
        repetitions: sets of other simulated events.
        seed: of all random numbers.

    Raises:
        ConfigurationError: for another simulator or objective, or a design with integers, categories or nonlinear
            constraints: `optimise` can tune those.
        NonFiniteError: if the objective is NaN on the way.

    Source: B. Efron, Ann. Statist. 7 (1979) 1, for the bootstrap.
    """
    _refuse(experiment, samples, toys, events, repetitions)
    design, device = experiment.design, experiment.design.psi.device

    def minima(objectives: list[Objective], sets: list[int]) -> tuple[Tensor, Tensor]:
        found = [_minimum(experiment, one, best, events, (seed, k)) for one, k in zip(objectives, sets, strict=True)]
        rows = [list(design.columns(design.point(psi)).values()) for psi, _ in found]
        return torch.tensor(rows, dtype=torch.float64), torch.tensor([value for _, value in found])

    subject = experiment.objective
    drawn = [resampled(subject, stream(device, seed, "tuning", "bootstrap", k)) for k in range(samples)]
    best, lowest = _minimum(experiment, subject, design.psi.detach(), events, (seed, 0))
    bootstrap, _ = minima(drawn, [0] * samples)
    simulated, _ = minima([subject] * repetitions, list(range(1, repetitions + 1)))
    imagined, floor = minima(_toys(experiment, best, toys, POPULATION * events, seed), [0] * toys)
    with torch.no_grad():
        design.psi.copy_(best)
    row = design.columns()
    values = torch.tensor(list(row.values()), dtype=torch.float64)
    return Tuning(tuple(row), values, lowest, bootstrap, simulated, imagined, floor)


def _refuse(experiment: Experiment, samples: int, toys: int, events: int, repetitions: int) -> None:
    promise = experiment.simulator.promise
    if promise < Promise.DIFFERENTIABLE:
        raise ConfigurationError("simulator", promise.label, "a differentiable one; `optimise` can tune others")
    if experiment.design.discrete or experiment.design.nonlinear_constraints:
        what = "real parameters with bounds and linear constraints; `optimise` can tune others"
        raise ConfigurationError("design", "integers, categories or nonlinear constraints", what)
    least = {"samples": (samples, 2), "toys": (toys, 2), "events": (events, 1), "repetitions": (repetitions, 2)}
    for key, (value, lowest) in least.items():
        if value < lowest:
            raise ConfigurationError(key, value, f"at least {lowest}")


def _toys(experiment: Experiment, psi: Tensor, toys: int, population: int, seed: int) -> list[Objective]:
    """The objective with recorded events that were simulated at ψ."""
    device = psi.device
    with torch.no_grad():
        phi = experiment.design.point(psi)
        events = experiment.simulate(phi, population, stream(device, seed, "tuning", "population"))
        belief = experiment.reconstruction(events, phi)
    subject = experiment.objective
    return [toy_recorded(subject, events, belief, stream(device, seed, "tuning", "toy", k)) for k in range(toys)]


def _minimum(
    experiment: Experiment, objective: Objective, start: Tensor, events: int, labels: tuple[int, int]
) -> tuple[Tensor, float]:
    """ψ at the minimum with fixed random numbers, and the objective there."""
    design, network, device = experiment.design, experiment.reconstruction, start.device
    primaries = experiment.primaries.sample(events, stream(device, *labels, "tuning", "primaries"))

    def value(psi: Tensor) -> Tensor:
        phi = design.point(psi)
        found = experiment.simulator(phi, primaries, stream(device, *labels, "tuning", "simulation"))
        return objective.judged(found, network(found, phi), phi, network).mean()

    return _descended(value, start)


def _descended(function: Callable[[Tensor], Tensor], start: Tensor) -> tuple[Tensor, float]:
    from scipy.optimize import minimize  # imported where it is needed

    def both(x: Any) -> tuple[float, Any]:
        psi = torch.as_tensor(x, dtype=start.dtype, device=start.device).reshape(start.shape).requires_grad_()
        value = function(psi)
        if not bool(value.isfinite()):
            raise NonFiniteError("the objective is NaN or infinite while a simulator is tuned")
        (slope,) = torch.autograd.grad(value, psi)
        return float(value.detach()), slope.double().cpu().numpy().ravel()

    first = start.detach().double().cpu().numpy().ravel()
    found = minimize(both, first, jac=True, method="L-BFGS-B", options={"ftol": 1e-7, "gtol": 1e-9})
    return torch.as_tensor(found.x, dtype=start.dtype, device=start.device).reshape(start.shape), float(found.fun)
