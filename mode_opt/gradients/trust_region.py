"""How far a local model is trusted."""

import math
from dataclasses import dataclass
from typing import Any, final

from mode_opt.errors import ConfigurationError
from mode_opt.objectives import Estimate


@dataclass(frozen=True)
class Verdict:
    """What fresh simulations say about the last step.

    Attributes:
        predicted: gain that the model promised for the step.
        actual: gain according to the fresh simulations.
        pull: (actual − predicted) in its standard errors.
        accepted: whether the step is not significantly for the worse.
    """

    predicted: Estimate
    actual: Estimate
    pull: float
    accepted: bool

    @property
    def came_true(self) -> bool:
        """Whether at least a quarter of the promised gain was seen."""
        return self.actual.value >= self.predicted.value / 4


@final
class TrustRegion:
    """The radius of the neighbourhood in ψ, from predicted and actual improvement.

    A step is judged by the next batch of simulations, which is needed anyway: the predictions of the model that
    proposed it are compared with what was simulated there. With the mean residual e and its standard error σ, which
    contains that of the model:

    - ``actual = predicted − e``; the step is taken back if ``actual < −2 σ``;
    - ``e > 3 σ``: the model promised what it could not know, and the radius shrinks;
    - else, if the promised gain was not significant (below its own standard error), the neighbourhood is too small to
      see a slope above the noise, and the radius grows; if it was, and came true (``actual ≥ predicted / 4``), it
      grows, more slowly.

    Models are surer of themselves than they should be. Errors of promises are therefore multiplied by an ``inflation``
    (`calibrated`), which follows the pulls that were seen, ``f² ← f² (1 + a (pull² − 1))``, a = `MEMORY`, and is never
    below 1: in the mean over steps, the pulls then have the variance 1, unless the model is too cautious.

    Args:
        radius: at the start, in ψ.
        smallest: the radius never falls below.
        largest: nor rises above.

    Raises:
        ConfigurationError: for radii that are not positive and rising.

    Source: A. Conn, K. Scheinberg and L. Vicente, "Introduction to Derivative-Free Optimization", SIAM 2009, chapter
    10; the noise-aware ratio test follows J. Larson and S. Billups, Comput. Optim. Appl. 64 (2016) 619 in spirit.
    """

    SURPRISE, WORSE = 3.0, 2.0
    SHRINK, WIDEN, GROW = 0.6, 1.25, 1.1
    MEMORY, OUTLIER = 0.2, 5.0

    def __init__(self, radius: float = 0.25, smallest: float = 0.01, largest: float = 1.0) -> None:
        if not 0 < smallest <= radius <= largest < math.inf:
            expected = "0 < smallest <= radius <= largest"
            raise ConfigurationError("gradient.radius", (smallest, radius, largest), expected)
        self.radius, self.smallest, self.largest = radius, smallest, largest
        self.inflation = 1.0

    def calibrated(self, promised: Estimate) -> Estimate:
        """A promise with the error that former ones turned out to have."""
        return Estimate(promised.value, self.inflation * promised.standard_error)

    def judge(self, predicted: Estimate, residual: Estimate) -> Verdict:
        """The verdict on a step by the mean residual of its batch; adapts radius and inflation.

        Args:
            predicted: gain, as `calibrated` when it was promised.
            residual: mean of (simulated − predicted).
        """
        error = math.hypot(predicted.standard_error, residual.standard_error)
        actual = Estimate(predicted.value - residual.value, error)
        pull = -residual.value / error if error > 0 else 0.0
        accepted = actual.value >= -self.WORSE * error
        verdict = Verdict(predicted, actual, pull, accepted)
        if pull < -self.SURPRISE or not accepted:
            factor = self.SHRINK
        elif predicted.value <= predicted.standard_error:
            factor = self.WIDEN
        else:
            factor = self.GROW if verdict.came_true else 1.0
        self.scale(factor)
        self._learn(pull)
        return verdict

    def _learn(self, pull: float) -> None:
        square = min(pull**2, self.OUTLIER**2)  # one outlier must not end the search
        self.inflation = max(self.inflation * math.sqrt(1 + self.MEMORY * (square - 1)), 1.0)

    def scale(self, factor: float) -> None:
        """Multiply the radius, within its limits."""
        self.radius = min(max(self.radius * factor, self.smallest), self.largest)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"radius": self.radius, "inflation": self.inflation}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.radius, self.inflation = float(state["radius"]), float(state["inflation"])
