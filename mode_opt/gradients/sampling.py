"""How much a local search simulates."""

import math
from dataclasses import dataclass

from mode_opt.errors import ConfigurationError


@dataclass(frozen=True)
class Sampling:
    """How much is simulated before each step.

    The number of simulated events follows from the noise: half as many again after a step whose predicted gain is below
    its standard error, fewer (but not fewer than at first) after one whose gain is above four of them.

    Attributes:
        calls: simulated events of the first batch; None is ``100 + 10 d``, at most 500, for objectives that are means,
            and sixteen times as many for others.
        most: of any batch, in units of the first one.
        events: of each design; None is 1 for objectives that are means, and 256 for others.
        design_cost: of setting up one more design, in simulated events: with ``events: None`` a mean is then
            estimated from ``√cost`` events of each design instead of one.

    Raises:
        ConfigurationError: for numbers that are not positive.
    """

    calls: int | None = None
    most: float = 16.0
    events: int | None = None
    design_cost: float = 0.0

    def __post_init__(self) -> None:
        for name in ("calls", "most", "events"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise ConfigurationError(f"gradient.sampling.{name}", value, "a number of at least 1, or null")
        if not 0 <= self.design_cost < math.inf:
            raise ConfigurationError("gradient.sampling.design_cost", self.design_cost, "events, at least 0")

    def per_design(self, additive: bool) -> int:
        """Events of each design."""
        if self.events is not None:
            return self.events
        return max(1, round(math.sqrt(self.design_cost))) if additive else 256

    def first(self, additive: bool, d: int) -> int:
        """Events of the first batch."""
        if self.calls is not None:
            return self.calls
        return min(100 + 10 * d, 500) * (1 if additive else 16)
