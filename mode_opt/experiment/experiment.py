"""The experiment: the six nouns composed."""

import copy
from collections.abc import Callable
from typing import final, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from mode_opt.design import AugmentedLagrangian, Design, DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.experiment.detector import Detector, Goal, Progress, ReconstructionFactory
from mode_opt.gradients import Automatic, DesignSearch, GradientEstimator, Pipeline, Score
from mode_opt.gradients.search import no_penalty
from mode_opt.objectives import Composite, Constrained, Objective, weighted_mean
from mode_opt.reconstruction import Reconstruction
from mode_opt.simulation import Counted, PrimarySource, Promise, Simulator, stream
from mode_opt.simulation.guard import silent_sampling_refused

PROBE = 64
"""Events that a reconstruction is fitted to: sizes, and scales of its inputs and outputs."""


def refuse_lost_derivatives(simulator: Simulator, design: Design, primaries: PrimarySource) -> None:
    """Simulate two events and refuse a sampler that drops the derivative of its parameters without a word.

    Raises:
        SimulationError: naming the sampler and what to use instead.
    """
    if simulator.promise > Promise.BLACK_BOX:
        generator = stream(design.psi.device, 0, "guard")
        with torch.enable_grad(), silent_sampling_refused():
            simulator(design(), primaries.sample(2, generator), generator)


def recombined(objective: Objective) -> Callable[[Tensor], Tensor] | None:
    """Values of its parts, ``m x k``, to ``m`` values of an objective with limits, by its present multipliers."""
    if not isinstance(objective, Constrained):
        return None
    places = {id(part): place for place, part in enumerate(objective.parts.values())}
    return lambda goals: objective.combined(lambda part: goals[:, places[id(part)]]).detach()


Observer = Callable[[Events, Distribution, DesignPoint], None]


@final
class Experiment(nn.Module):
    """A pipeline ``ψ → φ → events → belief → J`` and the way its derivative is estimated.

    Args:
        design: owns ψ.
        simulator: its calls are counted in ``simulator_calls``.
        primaries: where the particles that enter come from.
        reconstruction: an instance, or a function that builds one to fit `PROBE` events.
        objective: smaller is better.
        gradient: an estimator, or a search that moves ψ itself; None chooses by the promise of the simulator
            (`Automatic`).
        reconstruction_goal: what trains the reconstruction. ``truth``: the surprise of its belief about the truth,
            which serves every objective. ``objective``: the objective itself, for networks whose output need be no
            belief about the truth: summary statistics that are optimal for an uncertainty with its nuisances, critics
            of a bound on the information, a reconstruction that has to stand the scenarios of `Robust`.

    Raises:
        ConfigurationError: if the estimator cannot use the simulator, or for an unknown goal.

    Source of training by the objective: P. de Castro and T. Dorigo, Comput. Phys. Commun. 244 (2019) 170 (INFERNO).
    """

    def __init__(
        self,
        design: Design,
        simulator: Simulator,
        primaries: PrimarySource,
        reconstruction: Reconstruction | ReconstructionFactory,
        objective: Objective,
        gradient: GradientEstimator | DesignSearch | None = None,
        reconstruction_goal: Goal = "truth",
    ) -> None:
        super().__init__()
        if reconstruction_goal not in get_args(Goal):
            raise ConfigurationError("reconstruction_goal", reconstruction_goal, " or ".join(get_args(Goal)))
        self.reconstruction_goal = reconstruction_goal
        self.gradient = Automatic() if gradient is None else gradient
        if isinstance(self.gradient, GradientEstimator):
            self.gradient.check(simulator)
        refuse_lost_derivatives(simulator, design, primaries)
        self.design, self.simulator, self.primaries = design, Counted(simulator), primaries
        self.objective = objective
        self.lagrangian = AugmentedLagrangian(design.nonlinear_constraints)
        self._factory: ReconstructionFactory | None = None
        if isinstance(reconstruction, Reconstruction):
            self.reconstruction = reconstruction
        else:
            self._factory = reconstruction
            # A search asks its simulator for designs that could be built, and for no others.
            decided = design.discrete and isinstance(self.gradient, DesignSearch)
            self.reconstruction = self.fresh_reconstruction((design.buildable() if decided else design()).detach())
        if reconstruction_goal not in self.reconstruction.goals:
            what = type(self.reconstruction).__name__
            expected = f"{' or '.join(self.reconstruction.goals)}, which is what a {what} can be trained for"
            raise ConfigurationError("reconstruction_goal", reconstruction_goal, expected)

    @classmethod
    def of(
        cls,
        detector: Detector,
        simulator: str | None = None,
        gradient: GradientEstimator | DesignSearch | None = None,
        reconstruction: Reconstruction | ReconstructionFactory | None = None,
        objective: Objective | None = None,
        progress: Progress = lambda what, fraction: None,
        reconstruction_goal: Goal | None = None,
    ) -> "Experiment":
        """The experiment of a detector, with its defaults where nothing else is given."""
        return cls(
            detector.design,
            detector.simulator(simulator, progress),
            detector.primaries,
            reconstruction or detector.reconstruction,
            objective or detector.objective,
            gradient,
            reconstruction_goal or detector.reconstruction_goal,
        )

    def fresh_reconstruction(self, phi: DesignPoint, seed: int | None = None) -> Reconstruction:
        """A new reconstruction, fitted in sizes and scales to `PROBE` events of this design.

        An experiment that was given an instance instead of a function returns a copy of it.

        Args:
            phi: one design.
            seed: of its weights; None takes torch's global generator.
        """
        if self._factory is None:
            return copy.deepcopy(self.reconstruction)
        events = self.simulate(phi, PROBE, stream(phi.values.device, 0, "probe"))
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            return self._factory(events, phi).to(phi.values.device)

    @property
    def simulator_calls(self) -> int:
        """Events simulated so far."""
        return int(self.simulator.calls)

    def simulate(self, phi: DesignPoint, count: int, generator: torch.Generator) -> Events:
        """``count`` events of each design, with common primaries and without derivatives.

        Raises:
            NonFiniteError: for hits that are no numbers, which a reconstruction would only trip over later.
        """
        with torch.no_grad():
            events = self.simulator(phi.detach(), self.primaries.sample(count, generator), generator).detach()
        if not bool(events.hits.isfinite().all()):
            raise NonFiniteError("the simulator returned hits that are NaN or infinite")
        return events

    def score(self, reconstruction: nn.Module | None = None, observe: Observer | None = None) -> Score:
        """Events and designs to objective values; arguments as for `design_loss`."""
        network = self.reconstruction if reconstruction is None else reconstruction

        def score(events: Events, phi: DesignPoint) -> Tensor:
            belief = network(events, phi)
            if observe is not None:
                observe(events, belief, phi)
            return self.objective.judged(events, belief, phi, network)

        return score

    def scores(self, reconstruction: nn.Module | None = None) -> Score:
        """Events and designs to the objective and each of its parts, ``b x (1 + k)``; arguments as for `score`."""
        network = self.reconstruction if reconstruction is None else reconstruction
        subject = self.objective

        def scores(events: Events, phi: DesignPoint) -> Tensor:
            belief = network(events, phi)
            known: dict[Objective, Tensor] = {}

            def value(part: Objective) -> Tensor:
                if part not in known:
                    known[part] = part.judged(events, belief, phi, network)
                return known[part]

            parts = [value(part) for part in subject.parts.values()]
            whole = subject.combined(value) if isinstance(subject, Composite) else value(subject)
            return torch.stack([whole, *parts], 1)

        return scores

    def pipeline(self, reconstruction: nn.Module | None = None) -> Pipeline:
        """What a search may use: everything but itself, with these weights of the reconstruction."""
        penalty = self.lagrangian.penalty if self.lagrangian.constraints else no_penalty
        score, additive = self.score(reconstruction), self.objective.additive
        goals = tuple(self.objective.parts)
        scores = self.scores(reconstruction) if goals else None
        combined = recombined(self.objective)
        return Pipeline(self.simulator, self.design, self.primaries, score, additive, penalty, goals, scores, combined)

    def lesson(self, events: Events, phi: DesignPoint, reconstruction: nn.Module | None = None) -> Tensor:
        """What trains the reconstruction, averaged over designs.

        With the goal ``truth`` the weighted mean of ``−log q(truth | hits, φ)``; with ``objective`` the objective.

        Args:
            events: simulated, ``b x n``.
            phi: ``b`` designs.
            reconstruction: that learns; None: the experiment's own.
        """
        network = self.reconstruction if reconstruction is None else reconstruction
        belief = network(events, phi)
        if self.reconstruction_goal == "objective":
            return self.objective.judged(events, belief, phi, network).mean()
        return weighted_mean(-belief.log_prob(events.truth), events.weight).mean()

    def design_loss(
        self,
        count: int,
        generator: torch.Generator,
        reconstruction: nn.Module | None = None,
        observe: Observer | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Estimate of J whose backward pass leaves dJ/dψ, and the penalty of the nonlinear constraints.

        At fixed weights of the reconstruction, the derivative is that of ``min over weights`` only if the
        weights minimise the objective itself (``reconstruction_goal="objective"``); with another training loss it
        is an approximation that improves with more inner steps.

        Args:
            count: primaries to simulate.
            generator: source of all random numbers.
            reconstruction: used instead of the experiment's own, e.g. an average of its weights.
            observe: called with events, belief and design of the last evaluation of the objective.
        """
        if not isinstance(self.gradient, GradientEstimator):
            raise ConfigurationError(
                "gradient", type(self.gradient).__name__, "an estimator, which leaves a derivative"
            )
        primaries = self.primaries.sample(count, generator)
        score = self.score(reconstruction, observe)
        objective = self.gradient.loss(self.simulator, self.design, primaries, score, generator)
        penalised = bool(self.lagrangian.constraints)
        return objective, self.lagrangian.penalty(self.design()).sum() if penalised else objective.new_zeros(())
