"""Optimising reconstruction and design in turn."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError, SimulationError
from mode_opt.events import Events
from mode_opt.experiment import limits
from mode_opt.experiment.experiment import Experiment
from mode_opt.gradients import DesignSearch
from mode_opt.objectives import Estimate, jackknife
from mode_opt.simulation import Promise, attempt, stream

BAND_GROUPS = 8
"""Groups of the jackknife behind the error of each step: enough for the band of a figure, and cheap."""

Backward = Callable[[Tensor, Sequence[nn.Parameter]], None]


def backward(loss: Tensor, inputs: Sequence[nn.Parameter]) -> None:
    """Leave the derivatives in these parameters and in no others."""
    loss.backward(inputs=list(inputs))


@dataclass(frozen=True)
class Effort:
    """How much is simulated and trained for one design step.

    Attributes:
        events: events behind one design gradient.
        warm_up: reconstruction steps before the first design step.
        reconstruction_steps: reconstruction steps before each design step.
        designs: designs in the neighbourhood on which one reconstruction step trains.
        events_per_design: fresh events of each of them.
        radius: of that neighbourhood, relative to the range of the parameters.
        check_every: design steps between validations and checkpoints.
        validation_events: events of a validation, always the same primaries.
        validation_share: part of the simulator calls of a search (`DesignSearch`) that its validations may take; one
            that would take more is left out.
        memory: reconstruction steps over which its weights are averaged (exponentially).
        multiplier_every: design steps between updates of the multipliers of nonlinear constraints, and of limits on
            objectives (`Constrained`), which take ``events`` events.
        clip: largest norm of a gradient, for both optimisers.

    Raises:
        ConfigurationError: for a number that is not positive.
    """

    events: int = 2048
    warm_up: int = 500
    reconstruction_steps: int = 4
    designs: int = 8
    events_per_design: int = 128
    radius: float = 0.15
    check_every: int = 10
    validation_events: int = 4096
    validation_share: float = 0.1
    memory: int = 50
    multiplier_every: int = 20
    clip: float = 10.0

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            lowest = 0 if key in ("warm_up", "reconstruction_steps") else 1e-9
            kinds = int | float if key in ("radius", "clip", "validation_share") else int
            if isinstance(value, bool) or not isinstance(value, kinds) or not value >= lowest:
                what = "number" if kinds is not int else "whole number"
                raise ConfigurationError(f"effort.{key}", value, f"a positive {what}")
        for key in ("events", "validation_events"):  # of one event there is no standard error
            if getattr(self, key) < 2:
                raise ConfigurationError(f"effort.{key}", getattr(self, key), "at least 2 events")


@dataclass(frozen=True)
class Optimisers:
    """One optimiser of the reconstruction and one of the design."""

    reconstruction: Optimizer
    design: Optimizer


@dataclass(frozen=True)
class Record:
    """What happened in one design step; ``columns`` is a row of ``history.csv``."""

    step: int
    objective: Estimate
    columns: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@final
class Alternation(nn.Module):
    """Design step k: a few steps of the reconstruction in the neighbourhood of ψ, then one step of ψ.

    All random numbers of step k are functions of the seed and k (`stream`), and all that changes is a parameter,
    a buffer or the state of an optimiser, so that a saved state continues bit for bit.

    The design gradient and the validation use an exponential average of the weights of the reconstruction over the
    last ``effort.memory`` reconstruction steps: single steps of Adam leave a calibration error that changes from
    step to step and would be taken for a property of the design.

    The result is not the last iterate but the average that forgets its beginning,
    ``ψ̄_k = (1 − γ_k) ψ̄_{k−1} + γ_k ψ_k`` with ``γ_k = (η + 1)/(k + η)``, η = 8: the noise of single gradients
    averages out over about the last ``k/η`` steps, and no step is chosen for its lucky objective.

    If the experiment has a `DesignSearch` instead of a gradient estimator, the search makes the design step, its
    `DesignSearch.answer` is the result, and the reconstruction trains on the events that it keeps, if it does.

    Args:
        experiment: what is optimised.
        effort: how much work a step does.
        seed: of all random numbers.

    Source of the average: O. Shamir and T. Zhang, ICML 2013, arXiv 1212.1824 (polynomial-decay averaging);
    B. Polyak and A. Juditsky, SIAM J. Control Optim. 30 (1992) 838 (averaging of weights).
    """

    steps: Tensor
    average: Tensor

    def __init__(self, experiment: Experiment, effort: Effort | None = None, seed: int = 0) -> None:
        super().__init__()
        if experiment.design.psi.numel() == 0:
            raise ConfigurationError("design.parameters", "all fixed", "at least one parameter with free: true")
        self.experiment, self.effort, self.seed = experiment, effort or Effort(), seed
        average = get_ema_multi_avg_fn(1 - 1 / self.effort.memory)
        self.reconstruction = AveragedModel(experiment.reconstruction, multi_avg_fn=average)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("average", experiment.design.psi.detach().clone())

    @property
    def design(self) -> DesignPoint:
        """The averaged design: the answer so far."""
        return self.experiment.design.point(self.average).detach()

    def warm_up(self, optimisers: Optimisers, backward: Backward = backward) -> Iterable[int]:
        """Train the reconstruction at the start design; yields the step so that progress can be shown."""
        if self._search is not None:
            self._search.prepare(self.experiment.pipeline(self.reconstruction), self._stream("prepare"))
        for index in range(self.effort.warm_up if self._trainable else 0):
            self._reconstruction_step(optimisers.reconstruction, backward, "warm-up", index)
            yield index

    def step(self, optimisers: Optimisers, backward: Backward = backward) -> Record:
        """One design step.

        Raises:
            NonFiniteError: if the objective or its gradient is not finite; nothing has been changed by it then.
        """
        index = int(self.steps)
        lesson = math.nan
        for inner in range(self.effort.reconstruction_steps if self._trainable else 0):
            lesson = self._reconstruction_step(optimisers.reconstruction, backward, "reconstruction", index, inner)
        estimate, further, notes = self._move(optimisers.design, backward, index)
        self.steps += 1
        self._keep_answer()
        if int(self.steps) % self.effort.multiplier_every == 0:
            self.experiment.lagrangian.update(self.experiment.design().detach())
            excess, said = self._update_limits(index)
            further, notes = further | excess, notes + said
        return Record(index + 1, estimate, self._columns(estimate, lesson, further), notes)

    def _update_limits(self, index: int) -> tuple[dict[str, float], tuple[str, ...]]:
        # A search stands where it will evaluate next, which need not be near an optimum.
        phi = self.experiment.design().detach() if self._search is None else self.design
        phi = self.experiment.design.buildable(phi) if self._decided else phi
        return limits.updated(
            self.experiment, phi, self.effort.events, self.reconstruction, self._stream("limits", index)
        )

    def _keep_answer(self) -> None:
        design = self.experiment.design
        if self._search is not None:
            self.average.copy_(self._search.answer(design))
            return
        self.average.lerp_(design.psi.detach(), 9.0 / (int(self.steps) + 8.0))

    def validate(self) -> Estimate:
        """The objective of the averaged design on events that nothing is trained on, the same primaries each time."""
        return self.validation()[0]

    def validation(self) -> tuple[Estimate, dict[str, float]]:
        """`validate`, and the parts of an objective with limits as columns ``validation/NAME``."""
        generator = stream(self.average.device, self.seed, "validation")
        phi = self.experiment.design.buildable(self.design) if self._decided else self.design
        events = self.experiment.simulate(phi, self.effort.validation_events, generator)
        with torch.no_grad():
            belief = self.reconstruction(events, phi)
            network, objective = self.reconstruction, self.experiment.objective
            parts = limits.parts(objective, lambda part: part.judged(events, belief, phi, network))
        return jackknife(objective, events, belief, phi, reconstruct=network).estimate(), parts

    def judged(self, row: Mapping[str, float]) -> float:
        """The validation in a row of history as it counts today, with the present multipliers of limits."""
        return limits.judged(self.experiment.objective, row)

    def finish(self) -> None:
        """Move ψ to the average, and from there to where every constraint holds."""
        with torch.no_grad():
            self.experiment.design.psi.copy_(self.average)
        self.experiment.lagrangian.restore(self.experiment.design)
        self.average.copy_(self.experiment.design.psi.detach())

    @property
    def _search(self) -> DesignSearch | None:
        gradient = self.experiment.gradient
        return gradient if isinstance(gradient, DesignSearch) else None

    @property
    def _decided(self) -> bool:
        """Whether the simulator is to be asked for designs that could be built only."""
        return self._search is not None and self.experiment.design.discrete

    @property
    def _trainable(self) -> bool:
        """Whether the reconstruction has anything to learn."""
        return any(parameter.requires_grad for parameter in self.experiment.reconstruction.parameters())

    def _stream(self, *labels: str | int) -> torch.Generator:
        return stream(self.average.device, self.seed, *labels)

    def _reconstruction_step(self, optimiser: Optimizer, backward: Backward, *labels: str | int) -> float:
        generator = self._stream(*labels)
        experiment = self.experiment
        loss = experiment.lesson(*self._material(generator))
        value, _ = self._descend(optimiser, backward, loss, "reconstruction loss", labels)
        self.reconstruction.update_parameters(experiment.reconstruction)
        return value

    def _material(self, generator: torch.Generator) -> tuple[Events, DesignPoint]:
        """Events to train the reconstruction on: those that the search has kept, or fresh ones."""
        experiment, effort = self.experiment, self.effort
        if self._search is not None:
            pipeline = experiment.pipeline(self.reconstruction)
            kept = self._search.recorded(pipeline, effort.designs, effort.events_per_design, generator)
            if kept is not None:
                return kept[1], kept[0]
        phi = experiment.design.nearby(effort.designs, effort.radius, generator)
        phi = experiment.design.drawn(phi, generator) if self._decided else phi
        if self._search is None and experiment.simulator.promise > Promise.BLACK_BOX:
            return experiment.simulate(phi, effort.events_per_design, generator), phi
        primaries = experiment.primaries.sample(effort.events_per_design, generator)
        tried = attempt(experiment.simulator, phi, primaries, generator)
        if tried.events is None:
            raise SimulationError(f"no design near the present one can be simulated ({'; '.join(tried.reasons)})")
        return tried.events, DesignPoint(phi.values[tried.succeeded.to(phi.values.device)], phi.layout)

    def _move(
        self, optimiser: Optimizer, backward: Backward, index: int
    ) -> tuple[Estimate, dict[str, float], tuple[str, ...]]:
        """One step of ψ, by the search or by the optimiser: the estimate of J, further columns and notes."""
        if self._search is None:
            estimate, norm = self._design_step(optimiser, backward, index)
            return estimate, {"gradient_norm": norm}, ()
        done = self._search.advance(self.experiment.pipeline(self.reconstruction), self._stream("design", index))
        if not bool(torch.isfinite(self.experiment.design.psi).all()):
            raise NonFiniteError(f"{type(self._search).__name__} left a design that is not finite at step {index}")
        return done.objective, dict(done.columns), done.notes

    def _design_step(self, optimiser: Optimizer, backward: Backward, index: int) -> tuple[Estimate, float]:
        measured: list[Estimate] = []

        def observe(events: Events, belief: Distribution, phi: DesignPoint) -> None:
            subject, first = self.experiment.objective, events.design(0)
            one = jackknife(subject, first, belief, phi.design(0), BAND_GROUPS, self.reconstruction)
            measured.append(one.estimate())

        generator = self._stream("design", index)
        objective, penalty = self.experiment.design_loss(self.effort.events, generator, self.reconstruction, observe)
        _, norm = self._descend(optimiser, backward, objective + penalty, "objective", (index,))
        error = measured[-1].standard_error if measured else math.nan
        return Estimate(float(objective.detach()), error), norm

    def _descend(
        self, optimiser: Optimizer, backward: Backward, loss: Tensor, name: str, labels: Sequence[str | int]
    ) -> tuple[float, float]:
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        where = " ".join(str(label) for label in labels)
        if not bool(torch.isfinite(loss)):
            raise NonFiniteError(f"{name} is {float(loss.detach())} at step {where}")
        optimiser.zero_grad()
        backward(loss, parameters)
        norm = nn.utils.clip_grad_norm_(parameters, self.effort.clip)
        if not bool(torch.isfinite(norm)):
            raise NonFiniteError(f"the gradient of the {name} is {float(norm)} at step {where}")
        optimiser.step()
        return float(loss.detach()), float(norm)

    def _columns(self, estimate: Estimate, lesson: float, further: dict[str, float]) -> dict[str, float]:
        experiment = self.experiment
        with torch.no_grad():
            phi = experiment.design()
            columns = {
                "objective": estimate.value,
                "objective_standard_error": estimate.standard_error,
                "reconstruction_loss": lesson,
                **experiment.design.columns(phi),
            }
            for name, constraint in experiment.design.constraints_at(phi).items():
                columns[f"constraint/{name}"] = constraint.value
        columns |= {f"multiplier/{name}": value for name, value in experiment.lagrangian.by_name().items()}
        columns |= limits.multipliers(experiment.objective)
        columns["simulator_calls"] = float(experiment.simulator_calls)
        # A parameter of the design may be called radius: its column stays its own.
        return columns | {f"search/{name}" if name in columns else name: value for name, value in further.items()}
