"""Soft outcomes in the place of hard ones."""

from typing import final

from mode_opt.gradients.relaxation import Relaxation
from mode_opt.simulation.choices import Chooser
from mode_opt.simulation.choices.relaxing import Relaxing


@final
class Relaxed(Relaxation):
    """Biased: the simulation runs with soft outcomes, coins and classes that are partly one thing and partly another.

    A coin becomes ``sigmoid((logit p + logit u)/T)``, a class ``softmax((ln p + G)/T)`` (Gumbel-softmax, or Concrete,
    distribution); as the temperature T falls, so does the bias, and the noise of the gradient rises. Without noise
    the outcome is replaced by its mean: a soft cut. The value of the loss, too, is that of the soft simulation:
    report the hard one. Real numbers are reparameterised.

    Args:
        temperature: T.
        noise: whether outcomes are random; without, T has no effect.

    Raises:
        ConfigurationError: for a temperature that is not positive, a count (Poisson, binomial, geometric) that
            depends on the design, or a stochastic simulator that is not written in choices.

    Source: C. Maddison, A. Mnih and Y. W. Teh, arXiv 1611.00712; E. Jang et al., arXiv 1611.01144.
    """

    def __init__(self, temperature: float = 0.5, noise: bool = True) -> None:
        checked = Relaxing(temperature, hard=False)
        self._chooser = checked if noise else Relaxing(None, hard=False)

    @property
    def chooser(self) -> Chooser:
        return self._chooser
