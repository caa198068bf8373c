"""What happens between two design steps: record, validate, save, stop."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch
from lightning import Callback, LightningModule, Trainer

from mode_opt.errors import DataError, NonFiniteError
from mode_opt.training.history import History
from mode_opt.training.module import OptimisationModule
from mode_opt.training.progress import Progress
from mode_opt.training.signals import Requests, listening
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
    ) -> None:
        self.states = states
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
        if due:
            estimate = alternation.validate()
            row |= {"validation": estimate.value, "validation_standard_error": estimate.standard_error}
        calls = alternation.experiment.simulator_calls
        row |= {"simulator_calls": float(calls), "seconds": seconds}
        self.history.append(row)
        for logger in trainer.loggers:
            logger.log_metrics(row, step)
        self.reason = self.budget.spent(step, calls, seconds)
        if due and self.reason is None and self.early_stopping.exhausted(self.history.validations):
            self.reason = f"no improvement in {self.early_stopping.patience} validations"
        if due or self.reason or self.requests.pending is not None:
            self.save(trainer)
        self.progress.step(row, self.budget.fraction(step, calls, seconds), check=due)
        trainer.should_stop = self.reason is not None
        self.requests.patient = False
        self.requests.obey()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # A step that fails changes neither ψ nor the count of steps, and no weight by a number that is not finite:
        # what is there now is the last good state.
        if isinstance(exception, NonFiniteError) and self.history.rows:
            self.save(trainer)

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


def restore(checkpoint: Path, module: OptimisationModule) -> list[dict[str, Any]]:
    """Load a saved state into a module that was built from the same configuration.

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
    return list(state["optimizer_states"])
