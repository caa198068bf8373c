"""Hard outcomes with the derivative of soft ones."""

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
class StraightThrough(GradientEstimator):
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
        self.chooser = Relaxing(temperature, hard=True)

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
