"""A short look at the chosen gradient estimator before an optimisation trusts it."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.experiment.detector import Progress
from mode_opt.experiment.diagnosis import FAILURES, DiagnosisEffort, Samples, diagnose, draw
from mode_opt.experiment.directions import Directions
from mode_opt.experiment.experiment import Experiment
from mode_opt.experiment.finding import BIASED, FAILED, Finding
from mode_opt.experiment.reference import Problem
from mode_opt.gradients import Automatic, DesignSearch, FiniteDifferences, GradientEstimator, Pathwise
from mode_opt.objectives import Objective, Resolution
from mode_opt.simulation import Counted, Promise, stream

MODES = ("warn", "strict", "off")
ALL_PARAMETERS = 4
"""Up to this many free scalars each is looked at; of more, a few directions."""
FEW_DIRECTIONS = 2
"""How many of them."""
PILOT_BATCHES, LEAST_BATCHES, MOST_BATCHES = 4, 8, 16
LEAST_EVENTS, MOST_EVENTS = 32, 1024  # rather large batches than many: a small one costs a simulator's fixed time too
STEP = 0.2
"""Of the central differences, in ψ: larger than where precision matters, because few events leave much noise."""


@dataclass(frozen=True)
class GradientCheck:
    """Whether and how an optimisation looks at its gradient estimator first.

    With up to 4 free scalars the gradient is compared in each of them; with more, along one random direction of ψ
    and along the estimator's own mean gradient (from other batches), so that the cost does not grow with their
    number.

    Attributes:
        mode: ``warn``, ``strict`` (refuse an estimator that is found biased) or ``off``.
        share: largest part of the simulator calls of the budget that may be spent on it.
        tolerance: a bias below this part of the gradient is not worth a warning.

    Raises:
        ConfigurationError: for another mode.
    """

    mode: str = "warn"
    share: float = 0.1
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigurationError("gradient_check", self.mode, f"one of {', '.join(MODES)}")

    def pointless(self, experiment: Experiment) -> bool:
        """Whether there is nothing to find: no check, a search, differences, or pathwise where that is promised."""
        if self.mode == "off" or isinstance(experiment.gradient, DesignSearch):
            return True
        estimator = chosen(experiment)
        exact = isinstance(estimator, Pathwise) and experiment.simulator.promise == Promise.DIFFERENTIABLE
        return exact or isinstance(estimator, FiniteDifferences)

    def run(
        self,
        experiment: Experiment,
        reconstruction: nn.Module,
        allowance: int,
        seed: int,
        progress: Progress = lambda what, fraction: None,
    ) -> "Checked | None":
        """Compare, spending at most about ``allowance`` simulator calls (of a counter of its own).

        Random numbers come from streams of their own; nothing that the optimisation uses is changed.

        Args:
            experiment: at the design where the gradient is taken.
            reconstruction: used in the objective as it is.
            allowance: simulated events.
            seed: of the run.
            progress: called while it runs.

        Returns:
            None if there is nothing to find (`pointless`) or the allowance is too small for a statement.
        """
        if self.pointless(experiment):
            return None
        estimator, counter = chosen(experiment), Counted(experiment.simulator.simulator)
        problem = problem_of(experiment, reconstruction, LEAST_EVENTS, seed)
        problem = replace(problem, simulator=counter.to(experiment.design.psi.device))
        with torch.random.fork_rng():
            finding = self._find(problem, estimator, allowance, partial(progress, "checking the gradient"))
        return None if finding is None else Checked(finding, int(counter.calls), self)

    def _find(
        self, problem: Problem, estimator: GradientEstimator, allowance: int, progress: Callable[[float], None]
    ) -> Finding | None:
        name, d = type(estimator).__name__, problem.design.psi.shape[1]
        lines = d if d <= ALL_PARAMETERS else FEW_DIRECTIONS
        if allowance < PILOT_BATCHES * LEAST_EVENTS * 8:  # not even the first look and its reference
            return None
        pilot = draw(problem, estimator, PILOT_BATCHES, purpose="pilot")
        cost = max(pilot.calls / (PILOT_BATCHES * problem.events), 1.0) + 4 * lines
        rest = allowance - pilot.calls
        events = max(LEAST_EVENTS, min(MOST_EVENTS, int(rest / (cost * MOST_BATCHES))))
        batches = min(MOST_BATCHES, int(rest / (cost * events)))
        if batches < LEAST_BATCHES:
            return None
        try:
            effort = DiagnosisEffort(batches, reference_batches=batches, step=STEP)
            directions = Directions.of_parameters(problem.design) if d <= ALL_PARAMETERS else _few(problem, pilot)
            parts: dict[str, GradientEstimator] = {name: estimator}
            larger = replace(problem, events=events)
            found = diagnose(larger, parts, effort, None, directions, lambda what, f: progress(f))
        except (NonFiniteError, *FAILURES) as error:
            return Finding(name, FAILED, f"failed: {error}".splitlines()[0])
        return found.findings[0]


@dataclass(frozen=True)
class Checked:
    """What the short look found.

    Attributes:
        finding: about the chosen estimator.
        calls: simulator calls it took, which the optimisation does not count.
        check: how it was made.
    """

    finding: Finding
    calls: int
    check: GradientCheck

    @property
    def alarming(self) -> bool:
        """Whether a user should be warned: biased by more than the tolerance, or failed."""
        biased = self.finding.verdict == BIASED and self.finding.worst_fraction > self.check.tolerance
        return biased or self.finding.verdict == FAILED

    @property
    def message(self) -> str:
        """One line for people."""
        name = self.finding.name
        return f"the gradient of {name} at the start design: {self.finding.words}; see mode-opt gradients"

    def refuse(self) -> None:
        """Refuse a biased estimator if that was asked for.

        Raises:
            ConfigurationError: in strict mode.
        """
        if self.check.mode == "strict" and self.finding.verdict == BIASED and self.alarming:
            expected = (
                f"an estimator that is right for this detector ({self.finding.words}; mode-opt gradients compares "
                "all of them, gradient_check=warn runs this one all the same)"
            )
            raise ConfigurationError("gradient", self.finding.name, expected)

    def as_dict(self) -> dict[str, Any]:
        """Entry of ``result.json``: no times, so that the same seed gives the same entry."""
        content: dict[str, Any] = {"verdict": self.finding.verdict, "words": self.finding.words}
        content |= {"alarming": self.alarming, "simulator_calls": self.calls}
        if self.finding.relative_error is not None and math.isfinite(self.finding.relative_error):
            content["relative_error"] = self.finding.relative_error
        pulls = {p.name: p.pull for p in self.finding.parameters if math.isfinite(p.pull)}
        return content | ({"pulls": pulls} if pulls else {})


def chosen(experiment: Experiment) -> GradientEstimator:
    """The estimator that `Automatic` stands for, or the one that was given.

    Raises:
        ConfigurationError: for a search that is no estimator.
    """
    estimator = experiment.gradient
    if not isinstance(estimator, GradientEstimator):
        raise ConfigurationError("gradient", type(estimator).__name__, "an estimator, which leaves a derivative")
    return estimator.choose(experiment.simulator.simulator) if isinstance(estimator, Automatic) else estimator


def problem_of(experiment: Experiment, reconstruction: nn.Module, events: int, seed: int) -> Problem:
    """The objective of an experiment with a reconstruction as it is, its weights held fixed."""
    objective = comparable(experiment.objective)

    def score(found: Events, phi: DesignPoint) -> Tensor:
        belief: Distribution = reconstruction(found, phi)
        return objective.judged(found, belief, phi, reconstruction)

    return Problem(experiment.simulator, experiment.design, experiment.primaries, score, events, seed)


def comparable(objective: Objective) -> Objective:
    """The same objective, with a derivative that is that of its value.

    `Resolution` with ``bias_gradient=False`` leaves a part out of its derivative on purpose: no difference of its
    values has that derivative, so that estimators are compared with the part left in.
    """
    if not altered(objective):
        return objective
    objective = copy.deepcopy(objective)
    for part in objective.modules():
        if isinstance(part, Resolution):
            part.bias_gradient = True
    return objective


def altered(objective: Objective) -> bool:
    """Whether `comparable` changes the derivative of this objective."""
    resolutions = [part for part in objective.modules() if isinstance(part, Resolution)]
    return any(part.width == "rms" and not part.bias_gradient for part in resolutions)


def _few(problem: Problem, pilot: Samples) -> Directions:
    """A random direction, and the mean gradient of the pilot if there is one."""
    psi = problem.design.psi
    generator = stream("cpu", problem.seed, "gradients", "directions")
    vectors = torch.randn(FEW_DIRECTIONS - 1, psi.shape[1], generator=generator, dtype=torch.float64)
    names = [f"random direction {k + 1}" for k in range(len(vectors))]
    mean = pilot.gradients.mean(0) if len(pilot.gradients) else torch.zeros(psi.shape[1], dtype=torch.float64)
    if float(mean.norm()) > 0:
        vectors, names = torch.cat([vectors, mean[None]]), [*names, "its own direction"]
    return Directions.of_vectors(vectors, names)
