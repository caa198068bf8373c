"""What no summary statistic can do better: the information of the unbinned likelihood, by numerical integration."""

import math

import torch
from torch import Tensor

from .problem import Mixture, known

STEPS = (0.5, 0.2)
"""Distance of the points in position and in the logarithm of the energy; half of it changes σ by less than 1e-6."""


def exact_uncertainty(
    benchmark: int, errors: tuple[float, float] = (0.0, 0.0), mixture: Mixture | None = None, fine: float = 1.0
) -> float:
    r"""Smallest possible σ(s) in signal events, profiled over the unknown parameters: :math:`\sqrt{(I^{-1})_{ss}}`.

    .. math:: I_{jk} = \int \frac{\partial_j \lambda(x)\, \partial_k \lambda(x)}{\lambda(x)}\, dx
        + \frac{\delta_{jk}}{\sigma_k^2}, \qquad \lambda = s f_s + b f_b

    by the trapezoidal rule in :math:`x_0, x_1, \ln x_2`, whose error falls exponentially with the number of points.

    Args:
        benchmark: of `BENCHMARKS`.
        errors: Gaussian errors of the measured :math:`x_0` and :math:`x_1`.
        mixture: the densities; None: those of the paper.
        fine: factor on the number of points along each axis.
    """
    mixture, priors = mixture or Mixture(), known(benchmark)
    slopes, expected, volume = _slopes(mixture, errors, fine)
    used = ["signal", *priors]
    matrix = torch.stack([(slopes[j] * slopes[k] / expected).sum() for j in used for k in used]) * volume
    matrix = matrix.reshape(len(used), len(used))
    widths = [math.inf] + [math.inf if prior is None else prior for prior in priors.values()]
    matrix = matrix + torch.diag(torch.tensor(widths, dtype=torch.float64) ** -2)
    return float(torch.linalg.inv(matrix)[0, 0].sqrt())


def _slopes(mixture: Mixture, errors: tuple[float, float], fine: float) -> tuple[dict[str, Tensor], Tensor, float]:
    """dλ/dθ and λ on the grid, and the volume of a point."""
    step, log_step = STEPS[0] / fine, STEPS[1] / fine
    one, other = (variance + error**2 for variance, error in zip(mixture.variances, errors, strict=True))
    x = torch.arange(mixture.distance - 7 * math.sqrt(one), mixture.distance + 7 * math.sqrt(one), step).double()
    y = torch.arange(-7 * math.sqrt(other), 7 * math.sqrt(other), step).double()
    u = torch.arange(-22.0, 3.2, log_step).double()
    own = [1 + error**2 for error in errors]
    signal = _product(_normal(x, 0.0, own[0]), _normal(y, 0.0, own[1]), _exponential(u, mixture.signal_rate))
    background = _product(_normal(x, mixture.distance, one), _normal(y, 0.0, other), _exponential(u, mixture.rate))
    found = {
        "signal": signal,
        "shift": mixture.background * background * ((x - mixture.distance) / one)[:, None, None],
        "rate": mixture.background * background * (1 / mixture.rate - u.exp()),
        "yield": background,
    }
    total = mixture.signal * signal + mixture.background * background
    return found, total.clamp_min(torch.finfo(torch.float64).tiny), step**2 * log_step


def _product(x: Tensor, y: Tensor, u: Tensor) -> Tensor:
    return x[:, None, None] * y[None, :, None] * u


def _normal(x: Tensor, mean: float, variance: float) -> Tensor:
    return torch.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def _exponential(u: Tensor, rate: float) -> Tensor:
    """Density of the logarithm of an exponential variable."""
    return torch.exp(math.log(rate) + u - rate * u.exp())
