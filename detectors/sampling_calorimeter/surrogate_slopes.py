"""How the resolution changes with the thicknesses: recorded showers against derivatives."""

from itertools import combinations_with_replacement
from typing import NamedTuple

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.simulation import Simulator, stream

from .surrogate_validation import SEED, Groups


class Slopes(NamedTuple):
    """``d ln(resolution) / d ln(thickness)``, mean over energies; ``p x 2``: absorber, gap at p points."""

    value: Tensor
    standard_error: Tensor


def recorded_slopes(groups: Groups, points: Tensor, energies: Tensor, degree: int) -> Slopes:
    """Central differences of a polynomial fitted to the recorded resolutions.

    Least squares of ``ln (std / mean)`` of each pair of design and energy on all monomials up to ``degree``
    in the logarithms of absorber, gap and energy. Few showers shift all logarithms alike and no slope.

    Args:
        groups: recorded moments.
        points: ``p x 2``, absorber and gap in mm.
        energies: ``e``, MeV, to average over.
        degree: of the polynomial.
    """
    inputs = torch.stack([groups.absorber, groups.gap, groups.energy], dim=1).double().log()
    centre, scale = inputs.mean(0), inputs.std(0)
    design = _monomials((inputs - centre) / scale, degree)
    target = 0.5 * groups.variance.double().log()
    solution = torch.linalg.lstsq(design, target.unsqueeze(1), driver="gelsd").solution[:, 0]
    residual = (target - design @ solution).square().sum() / (len(target) - design.shape[1])
    covariance = residual * torch.linalg.inv(design.T @ design)
    step, slopes, errors = 1e-3, [], []
    grid = torch.cat([points.repeat_interleave(len(energies), 0), energies.repeat(len(points))[:, None]], dim=1)
    for column in range(2):
        shift = torch.zeros(3, dtype=torch.double)
        shift[column] = step
        up, down = (_monomials((grid.double().log() + s * shift - centre) / scale, degree) for s in (1, -1))
        row = ((up - down) / (2 * step)).unflatten(0, (len(points), len(energies))).mean(1)
        slopes.append(row @ solution)
        errors.append(((row @ covariance) * row).sum(1).sqrt())
    return Slopes(torch.stack(slopes, 1).float(), torch.stack(errors, 1).float())


def surrogate_slopes(simulator: Simulator, points: Tensor, energies: Tensor, showers: int = 4000) -> Slopes:
    """Pathwise derivatives of the same quantity; the error from 8 independent parts of the showers."""
    parts = []
    for part in range(8):
        values = points.clone().requires_grad_()
        phi = DesignPoint.of(absorber_thickness=torch.ones(1, 1), gap_thickness=torch.ones(1, 1))
        truth = energies.repeat_interleave(showers // 8).reshape(1, -1, 1)
        generator = stream("cpu", SEED, "surrogate", "slopes", part)
        hits = simulator(DesignPoint(values, phi.layout), Events.of(truth, truth.unsqueeze(3)), generator).hits
        total = hits[..., 0].sum(2).unflatten(1, (len(energies), showers // 8))
        resolution = (total.std(2) / total.mean(2)).log().mean(1)
        parts.append(torch.autograd.grad(resolution.sum(), values)[0] * points)
    stacked = torch.stack(parts)
    return Slopes(stacked.mean(0), stacked.std(0) / 8**0.5)


def _monomials(x: Tensor, degree: int) -> Tensor:
    """All products of at most ``degree`` columns, ``n x m``."""
    chosen = [c for d in range(degree + 1) for c in combinations_with_replacement(range(x.shape[1]), d)]
    return torch.stack([x[:, list(c)].prod(1) for c in chosen], dim=1)
