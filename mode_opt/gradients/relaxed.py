"""Soft outcomes in the place of hard ones."""

from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.events import Events
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.simulation import Promise, Simulator
from mode_opt.simulation.choices.relaxing import Relaxing
from mode_opt.simulation.program import draw_seed
from mode_opt.simulation.running import run, written_in_choices


@final
class Relaxed(GradientEstimator):
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
        self.chooser = checked if noise else Relaxing(None, hard=False)

    @property
    def requires(self) -> Promise:
        return Promise.STOCHASTIC

    def check(self, simulator: Simulator) -> None:
        super().check(simulator)
        written_in_choices(simulator)

    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        phi = design()
        seed = draw_seed(generator, phi.values.device)
        return score(run(simulator, phi, primaries, self.chooser, seed), phi).mean()
