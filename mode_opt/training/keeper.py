"""What happens between two design steps: record, validate, save, stop."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch
from lightning import Callback, LightningModule, Trainer

from mode_opt.errors import ConfigurationError, DataError, ModeOptError, NonFiniteError
from mode_opt.experiment import Alternation
from mode_opt.gradients import DesignSearch
from mode_opt.simulation.running import count
from mode_opt.training.history import History
from mode_opt.training.module import OptimisationModule
from mode_opt.training.notes import Notes
from mode_opt.training.progress import Progress
from mode_opt.training.signals import Interrupted, Requests, listening
from mode_opt.training.stopping import Budget, EarlyStopping


@final
class Keeper(Callback):
    """Writes a row of history after each step; validates and saves every ``check_every`` steps and at the end.

    One callback and not several, because the order matters: a checkpoint must never know a step that the history
    does not, and the decision to stop must see the validation.

    Args:
        history: of the run.
        checkpoint: file that holds the last saved state; replaced atomically.
        budget: what may be spent.
        early_stopping: when to give up.
        progress: shows what happens.
        requests: signals received.
        states: of the optimisers, if the run is resumed.
        notes: collects what the steps have to say; its counts are saved with the checkpoint.
    """

    def __init__(
        self,
        history: History,
        checkpoint: Path,
        budget: Budget,
        early_stopping: EarlyStopping,
        progress: Progress,
        requests: Requests,
        states: Sequence[dict[str, Any]] = (),
        notes: Notes | None = None,
    ) -> None:
        self.states = states
        self.notes = Notes(progress.say) if notes is None else notes
        self.history, self.checkpoint = history, checkpoint
        self.budget, self.early_stopping = budget, early_stopping
        self.progress, self.requests = progress, requests
        self.reason: str | None = None
        self._begin = time.monotonic() - history.seconds
        self._listening: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning installs handlers of its own when fit begins; ours must be the later ones.
        self._listening = listening(self.requests)
        self._listening.__enter__()
        if self.states:
            for optimiser, state in zip(trainer.optimizers, self.states, strict=True):
                optimiser.load_state_dict(state)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.requests.patient = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module: Any = pl_module
        alternation = module.alternation
        step, seconds = int(alternation.steps), time.monotonic() - self._begin
        row = {"step": float(step), **module.record.columns}
        due = step % alternation.effort.check_every == 0
        for note in module.record.notes:
            self.notes.add(note)
        if due and self._affordable(alternation):
            row |= self._validation(alternation)
        calls = alternation.experiment.simulator_calls
        row |= {"simulator_calls": float(calls), "seconds": seconds}
        self.history.append(row)
        for logger in trainer.loggers:
            logger.log_metrics(row, step)
        self.reason = self.budget.spent(step, calls, seconds)
        if due and self.reason is None and self.early_stopping.exhausted(self.history.judged(alternation.judged)):
            self.reason = f"no improvement in {self.early_stopping.patience} validations"
        if due or self.reason or self.requests.pending is not None:
            self.save(trainer)
        self.progress.step(row, self.budget.fraction(step, calls, seconds), check=due)
        trainer.should_stop = self.reason is not None
        self.requests.patient = False
        self.requests.obey()

    def _affordable(self, alternation: Alternation) -> bool:
        """Whether one more validation stays within ``effort.validation_share`` of a search's simulator calls.

        A search may find its answer with fewer events than a single validation takes; those of gradients are few
        beside the steps between them.
        """
        experiment, effort = alternation.experiment, alternation.effort
        if not isinstance(experiment.gradient, DesignSearch):
            return True
        after = effort.validation_events * (len(self.history.validations) + 1)
        return after <= effort.validation_share * (experiment.simulator_calls + effort.validation_events)

    def _validation(self, alternation: Alternation) -> dict[str, float]:
        """Columns of a row; none, and a note, if the design fails to simulate or its objective is no number."""
        experiment = alternation.experiment
        before = experiment.simulator_calls
        try:
            estimate, parts = alternation.validation()
            reason = "" if math.isfinite(estimate.value) else f"the objective is {estimate.value}"
        except (ConfigurationError, Interrupted):
            raise
        except Exception as error:  # whatever a user's simulator raises is the failure of a design
            words = str(error) if isinstance(error, ModeOptError) else f"{type(error).__name__}: {error}"
            reason = words.splitlines()[0][:160]
            if experiment.simulator_calls == before:  # what failed has been simulated, too
                count(experiment.simulator, alternation.effort.validation_events)
        if reason:
            self.notes.add(f"a validation failed and is left out ({reason})")
            return {}
        return {"validation": estimate.value, "validation_standard_error": estimate.standard_error, **parts}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # A gradient step that fails changes neither ψ nor the count of steps, and no weight by a number that is not
        # finite: what is there now is the last good state. Of a search nobody knows what it had changed by then.
        module: Any = pl_module
        searching = isinstance(module.alternation.experiment.gradient, DesignSearch)
        if isinstance(exception, NonFiniteError) and self.history.rows and not searching:
            self.save(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Saved with each checkpoint: what was noted up to it."""
        return {"notes": dict(self.notes.counts)}

    def save(self, trainer: Trainer) -> None:
        """Replace the checkpoint; a kill at any moment leaves the old or the new one, never a part."""
        temporary = self.checkpoint.with_suffix(".part")
        trainer.save_checkpoint(temporary)
        temporary.replace(self.checkpoint)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.requests.patient = False
        if self._listening is not None:
            self._listening.__exit__(None, None, None)
            self._listening = None


def restore(checkpoint: Path, module: OptimisationModule, notes: Notes) -> list[dict[str, Any]]:
    """Load a saved state into a module that was built from the same configuration, and its notes.

    Returns:
        The states of its optimisers, to be given to them once they exist.

    Raises:
        DataError: if the file is damaged or belongs to another configuration.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        module.load_state_dict(state["state_dict"])
    except Exception as error:
        raise DataError(f"{checkpoint}: cannot be resumed from ({error})") from error
    notes.restore(state.get("callbacks", {}).get(Keeper.__name__, {}).get("notes", {}))
    return list(state["optimizer_states"])
