"""The box in ψ within which a search looks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.design import Design

REACH = 2.0
"""Of a bounded parameter, in ψ: tanh 2 = 0.964, so 1.8 % of its range is left out at either bound."""


@dataclass(frozen=True, eq=False)
class Box:
    """``low <= ψ <= high``, ``d`` float64 numbers each on the CPU."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, design: Design, start: Tensor, width: float) -> "Box":
        """Around a start, ``1 x d``: ± width; parameters with two bounds in [−2, 2], and as far as the start."""
        at = start[0].double().cpu()
        bounded = bounded_columns(design)
        low = torch.where(bounded, at.clamp_max(-REACH), at - width)
        return cls(low, torch.where(bounded, at.clamp_min(REACH), at + width))

    def unit(self, psi: Tensor) -> Tensor:
        """To the unit cube."""
        return (psi - self.low) / (self.high - self.low)

    def psi(self, unit: Tensor) -> Tensor:
        """From the unit cube."""
        return self.low + unit * (self.high - self.low)

    def sobol(self, index: int, seed: int, count: int = 1) -> Tensor:
        """``count x d`` points of a scrambled Sobol sequence in the box, from number ``index`` on."""
        engine = torch.quasirandom.SobolEngine(len(self.low), scramble=True, seed=seed).fast_forward(index)
        return self.psi(engine.draw(count, dtype=torch.float64))


def bounded_columns(design: Design) -> Tensor:
    """``d`` flags: which columns of ψ have a lower and an upper bound."""
    box = design.system.box
    flags = torch.zeros(design.psi.shape[1], dtype=torch.bool)
    flags[: len(box.lower)] = box.lower.isfinite() & box.upper.isfinite()
    return flags
