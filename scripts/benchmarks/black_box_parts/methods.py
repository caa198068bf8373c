"""The methods that are compared, each built when it is run, so that a missing one only drops out.

Settings are the defaults of each method. Estimators that leave a derivative to an optimiser need a few numbers for
these noisy problems, the same for all of them and all problems: about `CALLS` simulator calls a step (but at least 2
events a design), Adam with learning rate `RATE` in ψ, the default of mode_opt, and displacements of `WIDTH` in ψ. They
are the best compromise of 100 or 400, 0.05 or 0.1, and 0.1 or 0.2 (2 seeds of four problems): a rate of 0.1 halves the
calls on the humps and doubles those on rosenbrock_10, 400 calls a step need two to four times as many, and the larger
width stops short of the optimum. Their answer is the average design of `Alternation`.
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mode_opt.design import Design
from mode_opt.events import Events
from mode_opt.experiment.directions import physical_jacobian
from mode_opt.gradients import (
    DesignSearch,
    EvolutionStrategies,
    FiniteDifferences,
    GradientEstimator,
    Score,
    SimultaneousPerturbation,
)
from mode_opt.gradients.base import linear
from mode_opt.simulation import Promise, Simulator

from .problems import Problem

CALLS, RATE, WIDTH = 100, 0.05, 0.1
EXACT_STEPS = 150
FAMILIES = ("gaussian", "mixture", "flow", "gan", "diffusion", "quadratic")


@dataclass(frozen=True)
class Setup:
    """A gradient with what it needs: primaries a step and an optimiser of the design, if it does not move ψ itself."""

    gradient: GradientEstimator | DesignSearch
    events: int = 2
    optimiser: Optimizer | None = None


@dataclass(frozen=True)
class Method:
    """How a method is built and shown.

    Attributes:
        label: in tables and figures.
        build: from the problem and its design.
        group: ``ours``, ``baseline`` or ``reference``; a reference knows what no competitor may know.
        needs: what has to be there, as ``module:name``, or ``module`` alone.
        repeats_noise: whether the simulator obeys the seeds that the method gives it.
        iterate: whether the present design is the answer, instead of `Alternation`'s.
        steps: after which it ends.
    """

    label: str
    build: Callable[[Problem, Design], Setup]
    group: str = "baseline"
    needs: Sequence[str] = ()
    repeats_noise: bool = False
    iterate: bool = False
    steps: float = math.inf

    def missing(self) -> str:
        """What it needs and does not find, or nothing."""
        for need in self.needs:
            try:
                _imported(need)
            except (ImportError, AttributeError) as error:
                return str(error)
        return ""


def _imported(need: str) -> Any:
    module, _, name = need.partition(":")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found


def _search(label: str, need: str, *further: str, group: str = "baseline") -> Method:
    """A search with the options that it has by default."""
    return Method(label, lambda problem, design: Setup(_imported(need)()), group, (need, *further))


def _surrogate(family: str) -> Method:
    """The local surrogate with one family, all options as by default."""
    needs = ("mode_opt.gradients:LocalSurrogate", f"mode_opt.surrogates:{family}")

    def build(problem: Problem, design: Design) -> Setup:
        search, factory = map(_imported, needs)
        return Setup(search(factory))

    return Method(f"local surrogate, {family}", build, "ours", needs)


def _estimator(estimator: GradientEstimator, simulations: int, design: Design) -> Setup:
    return Setup(estimator, max(2, CALLS // simulations), torch.optim.Adam([design.psi], lr=RATE))


def _differences(problem: Problem, design: Design) -> Setup:
    return _estimator(FiniteDifferences(step=WIDTH), 2 * design.psi.numel(), design)


def _perturbation(problem: Problem, design: Design) -> Setup:
    return _estimator(SimultaneousPerturbation(step=WIDTH, directions=4), 8, design)


def _evolution(problem: Problem, design: Design) -> Setup:
    return _estimator(EvolutionStrategies(width=WIDTH, pairs=8), 16, design)


def _exact(problem: Problem, design: Design) -> Setup:
    slope = problem.detector.exact_gradient
    if slope is None:
        raise LookupError(f"{problem.name} has no exact gradient")
    return Setup(ExactGradient(slope), optimiser=CappedAdam(design, 0.1, problem.neighbourhood))


METHODS: Mapping[str, Method] = {
    "regression": _search("direct regression", "mode_opt.gradients:LocalRegression", group="ours"),
    **{f"local_{family}": _surrogate(family) for family in FAMILIES},
    "bayesian": _search("Bayesian optimisation", "mode_opt.search:BayesianOptimisation"),
    "turbo": _search("TuRBO", "mode_opt.search:TrustRegionBayesianOptimisation"),
    "cma": _search("CMA-ES", "mode_opt.search:CovarianceAdaptation", "cma"),
    "random": _search("random search", "mode_opt.search:RandomSearch"),
    "finite_differences": Method("finite differences", _differences),
    "simultaneous_perturbation": Method("simultaneous perturbation", _perturbation),
    "evolution_strategies": Method("evolution strategies", _evolution),
    "common_seeds": Method("finite differences, common seeds", _differences, "reference", repeats_noise=True),
    "exact": Method("exact gradient, capped Adam", _exact, "reference", iterate=True, steps=EXACT_STEPS),
}


class ExactGradient(GradientEstimator):
    """The derivative that the problem knows of itself; simulates nothing."""

    def __init__(self, slope: Callable[[Design], Tensor]) -> None:
        self.slope = slope

    @property
    def requires(self) -> Promise:
        return Promise.BLACK_BOX

    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        in_psi = _jacobian(design).T @ self.slope(design).detach().double()
        return linear(design.psi.new_zeros(()), in_psi.to(design.psi), design.psi)


class CappedAdam(torch.optim.Adam):
    """Adam in the physical parameters, each step rescaled to at most ``cap`` in length: the original's outer loop.

    Adam does not mind the scale of a parameter, so that a step of Adam in ψ, taken as one in φ, is one in φ.
    """

    def __init__(self, design: Design, rate: float, cap: float) -> None:
        super().__init__([design.psi], lr=rate)
        self._design, self._cap = design, cap

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        before, jacobian = self._design.psi.clone(), _jacobian(self._design)
        result = super().step(closure)
        moved = (self._design.psi - before)[0].double()
        moved *= min(1.0, self._cap / max(float(moved.norm()), 1e-30))
        self._design.psi.copy_(before + torch.linalg.solve(jacobian, moved).to(before))
        return result


def _jacobian(design: Design) -> Tensor:
    """dφ/dψ of the free parameters, ``d x d``."""
    with torch.enable_grad():
        found = physical_jacobian(design)
    if found is None:
        raise LookupError("dφ/dψ has no inverse")
    return found
