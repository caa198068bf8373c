"""An optimisation from start to verified end, in a run directory."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ModeOptError
from mode_opt.experiment import (
    Alternation,
    Detector,
    Effort,
    Experiment,
    GradientCheck,
    Verification,
    VerificationEffort,
    verify,
)
from mode_opt.surrogates import Surrogate
from mode_opt.training.history import History
from mode_opt.training.judgement import Judgement, judge
from mode_opt.training.keeper import Keeper, restore
from mode_opt.training.manufacture import manufacturable
from mode_opt.training.module import OptimisationModule, OptimiserFactory, Rounds
from mode_opt.training.notes import Notes
from mode_opt.training.progress import Progress
from mode_opt.training.result import Result
from mode_opt.training.run_directory import provenance, write_json, write_rows
from mode_opt.training.signals import Interrupted, Requests
from mode_opt.training.stopping import Budget, EarlyStopping


@dataclass(frozen=True)
class Settings:
    """How a run is made: everything but the experiment.

    Attributes:
        seed: of all random numbers.
        effort: work per design step.
        verification: work to measure start and final design.
        budget: what may be spent.
        early_stopping: when to give up.
        reconstruction_optimiser: builds the optimiser of the reconstruction.
        design_optimiser: builds the optimiser of ψ.
        trainer: builds a ``lightning.Trainer``; device and precision are chosen there.
        loggers: Lightning loggers.
        polish_steps: design steps after parameters with a manufacturing grid, integers and categories were
            moved to values that can be built.
        quiet: no progress bar.
        gradient_check: whether and how the gradient estimator is looked at before the first design step.
    """

    reconstruction_optimiser: OptimiserFactory
    design_optimiser: OptimiserFactory
    trainer: Callable[..., Any]
    seed: int = 0
    effort: Effort = field(default_factory=Effort)
    verification: VerificationEffort = field(default_factory=VerificationEffort)
    budget: Budget = field(default_factory=Budget)
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    loggers: Sequence[Any] = ()
    polish_steps: int = 30
    quiet: bool = False
    gradient_check: GradientCheck = field(default_factory=GradientCheck)

    @property
    def expected_calls(self) -> int:
        """Simulator calls that the budget amounts to at most; without a limit of calls or steps those of 100 steps."""
        effort, budget = self.effort, self.budget
        training = effort.designs * effort.events_per_design
        a_step = effort.events + effort.reconstruction_steps * training
        if budget.steps is None and budget.simulator_calls is not None:
            return int(budget.simulator_calls)
        planned = effort.warm_up * training + (budget.steps or 100) * a_step
        return int(min(planned, budget.simulator_calls or planned))


class Job:
    """Optimise, verify and write down.

    Args:
        detector: for its name and drawing.
        experiment: untrained; changed in place.
        settings: how.
        directory: the run directory, which exists.
        names: of ``detector``, ``gradient`` and ``objective``, and perhaps ``gradient_reason``, for the result.
        progress: shows what happens.
        requests: signals received.
        setup_seconds: what it took to build the experiment, e.g. to train a surrogate.
    """

    def __init__(
        self,
        detector: Detector,
        experiment: Experiment,
        settings: Settings,
        directory: Path,
        names: dict[str, str],
        progress: Progress,
        requests: Requests,
        setup_seconds: float = 0.0,
    ) -> None:
        self.detector, self.experiment, self.settings = detector, experiment, settings
        self.directory, self.progress, self.requests = directory, progress, requests
        self.start = experiment.design.buildable()
        self.untrained = copy.deepcopy(experiment)
        self.untrained.simulator.calls.zero_()  # counts the verification; the optimisation has counted the probe
        self.result = Result(directory, names, settings.seed)
        if self.checkpoint.exists():
            self.result.recall("gradient_check")
        self.timings: dict[str, float] = {"setup": setup_seconds}
        self.reason: str | None = None
        self.notes = Notes(progress.say)
        self.judgement: Judgement | None = None
        self.gradient_check_seconds: float | None = None
        self.device = torch.device("cpu")

    @property
    def checkpoint(self) -> Path:
        """Last saved state."""
        return self.directory / "checkpoints" / "last.ckpt"

    def run(self) -> Result:
        """Run to the end, or to a state that can be resumed.

        Raises:
            ModeOptError: if the run failed or was interrupted; the result says so and what was reached is saved.
        Exception: that of the simulator, likewise.
        """
        try:
            self.result.update(status="running")
            self._describe(self.experiment.design, self.start)
            self._surrogate()
            module = self._optimise()
            relaxed = self.experiment.design.buildable()
            design = self._manufacturable(module) or self.experiment.design
            self._verify(design, design.buildable())
            if design is not self.experiment.design:
                self._price_of_manufacturing(relaxed, design.buildable())
            self.result.update(status="finished")
        except Interrupted:
            self.result.update(status="interrupted")
            raise
        except Exception as error:  # a user's simulator may raise anything
            message = str(error) if isinstance(error, ModeOptError) else f"{type(error).__name__}: {error}"
            self.result.update(status="failed", message=message)
            raise
        finally:
            self._provenance()
        return self.result

    def _optimise(self) -> OptimisationModule:
        module = OptimisationModule(
            Alternation(self.experiment, self.settings.effort, self.settings.seed),
            self.settings.reconstruction_optimiser,
            self.settings.design_optimiser,
            lambda fraction: self.progress.phase("warming up the reconstruction", fraction),
            lambda: self._check_gradient(module),
        )
        states = restore(self.checkpoint, module, self.notes) if self.checkpoint.exists() else []
        history = History(self.directory / "history.csv", int(module.alternation.steps))
        try:
            self._fit(module, history, states)
        finally:
            self.timings["optimisation"] = history.seconds
            spent = {"simulator_calls": self.experiment.simulator_calls, "wall_seconds": self._seconds}
            self.result.update(**spent, **self.notes.entries())
            self._describe(self.experiment.design, self.start, module.alternation.design)
        module.to(self.device)
        module.alternation.finish()
        return module

    def _check_gradient(self, module: OptimisationModule) -> None:
        """A short look at the gradient estimator, with a simulator counter and random numbers of its own.

        Raises:
            ConfigurationError: in strict mode, if the estimator is biased.
        """
        begin, check = time.monotonic(), self.settings.gradient_check
        found = check.run(
            self.experiment,
            module.alternation.reconstruction,
            int(check.share * self.settings.expected_calls),
            self.settings.seed,
            self.progress.phase,
        )
        if found is None:
            return
        self.gradient_check_seconds = time.monotonic() - begin
        self.result.update(gradient_check=found.as_dict())
        found.refuse()
        if found.alarming:
            self.progress.say(f"warning: {found.message}")

    @property
    def _seconds(self) -> float:
        return sum(self.timings.values())

    def _fit(self, module: OptimisationModule, history: History, states: list[dict[str, Any]]) -> None:
        steps, budget = int(module.alternation.steps), self.settings.budget
        self.reason = budget.spent(steps, self.experiment.simulator_calls, history.seconds)
        judged = history.judged(module.alternation.judged)
        if self.reason is None and self.settings.early_stopping.exhausted(judged):
            self.reason = "no further improvement"
        if self.reason is not None:
            return
        stopping, shown = self.settings.early_stopping, (self.progress, self.requests)
        keeper = Keeper(history, self.checkpoint, budget, stopping, *shown, states, self.notes)
        trainer = self.settings.trainer(
            max_epochs=-1,
            callbacks=[keeper],
            logger=list(self.settings.loggers),
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            default_root_dir=self.directory,
        )
        self.device = trainer.strategy.root_device
        trainer.fit(module, datamodule=Rounds(self.settings.effort.check_every))
        self.reason = keeper.reason

    def _manufacturable(self, module: OptimisationModule) -> Design | None:
        begin = time.monotonic()
        factories = (self.settings.reconstruction_optimiser, self.settings.design_optimiser)
        alternation, steps = module.alternation, self.settings.polish_steps
        untouched, show = self.untrained.gradient, self.progress.phase
        design = manufacturable(self.experiment, alternation, factories, steps, show, untouched, self.notes.add)
        if design is not None:
            self.timings["manufacturing"] = time.monotonic() - begin
            self.result.update(simulator_calls=self.experiment.simulator_calls, **self.notes.entries())
        return design

    def _measure(self, designs: dict[str, DesignPoint], what: str) -> Verification:
        begin = time.monotonic()
        on_device = {k: DesignPoint(phi.values.to(self.device), phi.layout) for k, phi in designs.items()}
        measured = verify(
            self.untrained.to(self.device),
            on_device,
            self.settings.verification,
            self.settings.seed,
            lambda name, fraction: self.progress.phase(f"{what} ({name} design)", fraction),
        )
        self.timings[what] = time.monotonic() - begin
        return measured

    def _verify(self, design: Design, final: DesignPoint) -> None:
        measured = self._measure({"initial": self.start, "final": final}, "verification")
        if measured.curves:
            write_rows(self.directory / "evaluation.csv", measured.curves)
        self._describe(design, self.start, final)
        self.result.measured(measured)
        self.judgement = judge(measured)
        if self.judgement.kind == "worse":
            self.notes.add(self.judgement.words)
        self.result.update(wall_seconds=self._seconds, **self.notes.entries())

    def _price_of_manufacturing(self, relaxed: DesignPoint, final: DesignPoint) -> None:
        """How much worse the design that can be built is than the optimum it was rounded from."""
        measured = self._measure({"initial": relaxed, "final": final}, "price of manufacturing")
        loss = {"value": -measured.improvement.value, "standard_error": measured.improvement.standard_error}
        before = self.experiment.design.concrete(relaxed)
        entries = {name: {"optimum": before[name]["value"], "unit": before[name]["unit"]} for name in before}
        self.result.update(manufacturing={"loss": loss, "design": entries}, wall_seconds=self._seconds)

    def _surrogate(self) -> None:
        """The validation of surrogates that the simulator is made of, for the report."""
        for part in self.experiment.simulator.modules():
            if isinstance(part, Surrogate) and part.validation is not None:
                write_json(self.directory / "surrogate.json", part.validation)

    def _describe(self, design: Design, start: DesignPoint, final: DesignPoint | None = None) -> None:
        self.result.designs(design, start, final)
        if self.detector.drawing is not None:
            shapes: dict[str, Any] = {"unit": "mm", "initial": list(self.detector.drawing(start))}
            if final is not None:
                shapes["final"] = list(self.detector.drawing(final))
            write_json(self.directory / "drawing.json", shapes)

    def _provenance(self) -> None:
        facts = provenance(self.device, self.detector.files)
        facts |= {"seconds": self.timings, "stopped_because": self.reason}
        facts["verification_calls"] = self.untrained.simulator_calls
        if self.gradient_check_seconds is not None:  # part of those of the optimisation
            facts["gradient_check_seconds"] = self.gradient_check_seconds
        write_json(self.directory / "provenance.json", facts)
