"""When an optimisation ends."""

from collections.abc import Sequence
from dataclasses import dataclass

from mode_opt.errors import ConfigurationError


@dataclass(frozen=True)
class Budget:
    """What may be spent; whichever ends first.

    Attributes:
        steps: design steps.
        simulator_calls: simulated events, everything counted but the final verification.
        seconds: wall time of the optimisation.

    Raises:
        ConfigurationError: if nothing limits the run, or a limit is not positive.
    """

    steps: int | None = 150
    simulator_calls: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        limits = {k: v for k, v in vars(self).items() if v is not None}
        if not limits:
            raise ConfigurationError("budget", None, "at least one of steps, simulator_calls, seconds")
        for key, value in limits.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigurationError(f"budget.{key}", value, "a positive number")

    def spent(self, steps: int, calls: int, seconds: float) -> str | None:
        """Why the run must end now, or None."""
        for name, used, limit in (
            ("design steps", steps, self.steps),
            ("simulator calls", calls, self.simulator_calls),
            ("seconds", seconds, self.seconds),
        ):
            if limit is not None and used >= limit:
                return f"budget of {limit:g} {name} is spent"
        return None

    def fraction(self, steps: int, calls: int, seconds: float) -> float:
        """Part of the budget that is spent, for progress bars."""
        used = ((steps, self.steps), (calls, self.simulator_calls), (seconds, self.seconds))
        return max(value / limit for value, limit in used if limit is not None)


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when the validated objective no longer improves.

    Attributes:
        patience: validations without improvement before the run ends; None never stops early.
        significance: an improvement counts if it exceeds this many standard errors of the validation.

    Raises:
        ConfigurationError: for a patience that is no positive whole number, or a negative significance.
    """

    patience: int | None = 8
    significance: float = 0.25

    def __post_init__(self) -> None:
        patience = self.patience
        if patience is not None and (isinstance(patience, bool) or not isinstance(patience, int) or patience < 1):
            raise ConfigurationError("early_stopping.patience", patience, "a positive whole number, or null")
        if not self.significance >= 0:
            raise ConfigurationError("early_stopping.significance", self.significance, "a number of at least 0")

    def exhausted(self, validations: Sequence[tuple[float, float]]) -> bool:
        """Whether the last ``patience`` validations brought no improvement (value and standard error of each)."""
        if self.patience is None or len(validations) <= self.patience:
            return False
        best_before = min(value for value, _ in validations[: -self.patience])
        return all(value > best_before - self.significance * error for value, error in validations[-self.patience :])
