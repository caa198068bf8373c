"""How a tolerance is measured."""

from dataclasses import dataclass

from mode_opt.errors import ConfigurationError
from mode_opt.gradients import Pathwise
from mode_opt.simulation import Promise, Simulator, external

METHODS = ("auto", "differences", "regression")
CALLS, EXTERNAL_CALLS = 200_000, 50_000


@dataclass(frozen=True)
class ToleranceEffort:
    """How, and how thoroughly.

    Attributes:
        method: ``differences`` of pathwise gradients, for differentiable simulators; ``regression`` on fresh
            simulation, for all; ``auto``: the first where it can be used.
        events: differences: primaries of a batch.
        batches: differences: independent ones, at least 3.
        step: differences: h in half ranges; of the size of the deviations, if ``step_error`` is not
            small.
        calls: regression: simulated events of one fit, over all its designs; looking for a radius takes about a tenth
            more, and a fit in a smaller region, where one is needed, as many again. None: `CALLS`, of external programs
            `EXTERNAL_CALLS`.
        radius: regression: of the region, in half ranges; None: chosen.
        surveyed: whether the reconstruction is told the displaced design; otherwise it takes it for the undisplaced.

    Raises:
        ConfigurationError: for values that cannot be used.
    """

    method: str = "auto"
    events: int = 4096
    batches: int = 8
    step: float = 0.05
    calls: int | None = None
    radius: float | None = None
    surveyed: bool = True

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigurationError("tolerances.method", self.method, f"one of {', '.join(METHODS)}")
        for key, least in (("events", 1), ("batches", 3), ("calls", 1000)):
            value = getattr(self, key)
            if value is not None and not (isinstance(value, int) and value >= least):
                raise ConfigurationError(f"tolerances.{key}", value, f"a whole number of at least {least}")
        for key in ("step", "radius"):
            value = getattr(self, key)
            if value is not None and not 0 < value <= 0.5:
                raise ConfigurationError(f"tolerances.{key}", value, "a positive number up to 0.5 half ranges")

    def differentiates(self, simulator: Simulator) -> bool:
        """Whether gradients are taken.

        Raises:
            ConfigurationError: if they are wanted of a simulator that has none.
        """
        if self.method == "differences":
            Pathwise().check(simulator)
        return self.method == "differences" or (self.method == "auto" and simulator.promise == Promise.DIFFERENTIABLE)

    def allowance(self, simulator: Simulator) -> int:
        """``calls``."""
        return self.calls or (EXTERNAL_CALLS if external(simulator) else CALLS)
