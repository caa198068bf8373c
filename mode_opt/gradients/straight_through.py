"""Hard outcomes with the derivative of soft ones."""

from typing import final

from mode_opt.gradients.relaxation import Relaxation
from mode_opt.simulation.choices import Chooser
from mode_opt.simulation.choices.relaxing import Relaxing


@final
class StraightThrough(Relaxation):
    """Biased for everything that is not linear in the outcomes: each choice is drawn hard, and differentiated as if
    it were its mean.

    The derivative of a coin b with probability p is taken as ``db = dp``, of classes ``dx_c = dp_c``; with a
    temperature it is that of the relaxation (Gumbel-softmax) for the same random numbers. The value of the loss is
    that of the hard simulation. Real numbers are reparameterised. A simulator in which outcomes decide by a
    comparison (``if b > 0.5``) loses the derivative there.

    Args:
        temperature: of the relaxation; None: the mean.

    Raises:
        ConfigurationError: for a temperature that is not positive, a count (Poisson, binomial, geometric) that
            depends on the design, or a stochastic simulator that is not written in choices.

    Source: Y. Bengio, N. Léonard and A. Courville, arXiv 1308.3432; E. Jang et al., arXiv 1611.01144.
    """

    def __init__(self, temperature: float | None = None) -> None:
        self._chooser = Relaxing(temperature, hard=True)

    @property
    def chooser(self) -> Chooser:
        return self._chooser
