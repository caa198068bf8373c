"""The objective at displaced designs, for estimators that use its values only."""

import torch
from torch import Tensor

from mode_opt.design import Design
from mode_opt.events import Events
from mode_opt.gradients.base import Score
from mode_opt.simulation import Simulator
from mode_opt.simulation.program import draw_seed


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


def linear(value: Tensor, slope: Tensor, psi: Tensor) -> Tensor:
    """A scalar with this value whose derivative with respect to ψ, ``1 x d``, is ``slope``, ``d``."""
    return value + (slope * (psi - psi.detach())[0]).sum()
