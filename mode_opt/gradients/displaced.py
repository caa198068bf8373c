"""Estimators that use nothing but values of the objective at displaced designs."""

from abc import abstractmethod
from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.events import Events
from mode_opt.gradients.base import GradientEstimator, Score, linear
from mode_opt.simulation import Promise, Simulator
from mode_opt.simulation.program import draw_seed


class Displaced(GradientEstimator):
    """``share Σ_k (J(ψ + h v_k) − J(ψ − h v_k)) / 2h · v_k`` for directions v, with common random numbers.

    Works with every simulator, at two simulations a direction. The value is the mean over the displaced designs.

    Args:
        step: ``h`` in ψ (1 is of the order of the whole range of a parameter).
    """

    def __init__(self, step: float) -> None:
        self.step = step

    @abstractmethod
    def directions(self, psi: Tensor, generator: torch.Generator | None) -> tuple[Tensor, float]:
        """The directions ``k x d``, and their share in the sum, such that ``share Σ_k v_k v_kᵀ`` is 1 on average."""

    @property
    @final
    def requires(self) -> Promise:
        return Promise.BLACK_BOX

    @final
    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        psi = design.psi
        directions, share = self.directions(psi.detach(), generator)
        above, below = both_sides(simulator, design, primaries, score, self.step * directions, generator)
        slope = share * ((above - below).unsqueeze(1) * directions).sum(0) / (2 * self.step)
        return linear((above.mean() + below.mean()) / 2, slope, psi)


@torch.no_grad()
def both_sides(
    simulator: Simulator,
    design: Design,
    primaries: Events,
    score: Score,
    shifts: Tensor,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """``J(ψ + s)`` and ``J(ψ − s)`` for displacements s, ``k x d``.

    All simulations use the same primaries and the same seed, so that the noise they share cancels in differences;
    a simulator that ignores the generator is merely noisier.

    Returns:
        ``k`` values above and ``k`` below.
    """
    psi = design.psi
    seed = draw_seed(generator)
    values = []
    for shift in torch.cat([shifts, -shifts]):
        phi = design.point(psi + shift)
        common = torch.Generator(psi.device).manual_seed(seed)
        values.append(score(simulator(phi, primaries, common), phi).mean())
    above, below = torch.stack(values).chunk(2)
    return above, below
