"""Samples with known scale and resolution, and bootstrap samples."""

import torch
from torch import Tensor

from .line_shape import LineShape
from .matching import MARGIN
from .smearing import recorded_mass


def toy_masses(
    shape: LineShape, window: tuple[float, float], count: int, scale: float, resolution: float, seed: int
) -> Tensor:
    """As many recorded masses within a window (MeV), by simulating more and cutting.

    Args:
        shape: of the true masses.
        window: lowest and highest recorded mass, MeV.
        count: masses.
        scale: s.
        resolution: σ of the momentum of one muon.
        seed: another one gives another sample.
    """
    generator = torch.Generator().manual_seed(seed)
    found = torch.zeros(0, dtype=torch.float64)
    while len(found) < count:
        uniform = torch.rand(4 * count, dtype=torch.float64, generator=generator)
        mass = shape.quantile(uniform, window[0] / MARGIN, window[1] * MARGIN)
        normal = torch.randn(4 * count, dtype=torch.float64, generator=generator)
        new = recorded_mass(mass, torch.tensor(scale), torch.tensor(resolution), normal)
        found = torch.cat([found, new[(new > window[0]) & (new < window[1])]])
    return found[:count]


def bootstrap(count: int, samples: int, seed: int) -> Tensor:
    """How often each of the events is drawn, ``samples x count``.

    Source: B. Efron, Ann. Statist. 7 (1979) 1.
    """
    every = torch.full((samples, count), 1.0 / count, dtype=torch.float64)
    drawn = torch.multinomial(every, count, True, generator=torch.Generator().manual_seed(seed))
    return torch.zeros_like(every).scatter_add_(1, drawn, torch.ones_like(every))
