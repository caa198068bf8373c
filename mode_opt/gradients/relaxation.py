"""Estimators that let derivatives pass through the outcomes of choices."""

from abc import abstractmethod
from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.events import Events
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.simulation import Promise, Simulator
from mode_opt.simulation.choices import Chooser
from mode_opt.simulation.program import draw_seed
from mode_opt.simulation.running import run, written_in_choices


class Relaxation(GradientEstimator):
    """``dJ/dψ`` by automatic differentiation of a program whose choices are decided by a relaxing chooser.

    Biased for whatever is not linear in the outcomes.
    """

    @property
    @abstractmethod
    def chooser(self) -> Chooser:
        """Decides the choices, with a derivative."""

    @property
    @final
    def requires(self) -> Promise:
        return Promise.STOCHASTIC

    @final
    def check(self, simulator: Simulator) -> None:
        super().check(simulator)
        written_in_choices(simulator)

    @final
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
