"""Points of the unit cube from an explicit generator."""

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError

METHODS = ("sobol", "latin_hypercube", "normal")


def unit_samples(count: int, dimension: int, method: str, generator: torch.Generator | None) -> Tensor:
    """``count x dimension`` numbers in (0, 1), float64 on the CPU.

    ``sobol``: scrambled Sobol sequence; ``latin_hypercube``: one point in each of ``count`` equal slices of
    each axis (McKay, Beckman and Conover 1979); ``normal``: independent (the quantile function is applied by
    the caller).

    Raises:
        ConfigurationError: for another method.
    """
    if method not in METHODS:
        raise ConfigurationError("nearby.method", method, f"one of {', '.join(METHODS)}")
    device = generator.device if generator is not None else torch.device("cpu")
    if count == 0 or dimension == 0:
        return torch.zeros(count, dimension, dtype=torch.float64)
    if method == "sobol":
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator, device=device))
        points = torch.quasirandom.SobolEngine(dimension, scramble=True, seed=seed).draw(count, dtype=torch.float64)
    else:
        points = torch.rand(count, dimension, dtype=torch.float64, generator=generator, device=device).cpu()
        if method == "latin_hypercube":
            noise = torch.rand(count, dimension, generator=generator, device=device).cpu()
            points = (noise.argsort(0) + points) / count
    return points.clamp(1e-12, 1 - 1e-12)


def between(unit: Tensor, centre: Tensor, radius: float, lower: Tensor, upper: Tensor, normal: bool) -> Tensor:
    """Unit-cube points spread over ``centre ± radius`` cut at ``lower`` and ``upper`` (``d`` each).

    Uniform; or normal with standard deviation ``radius``, cut at three of them and at the bounds (by
    quantiles).
    """
    reach = 3 * radius if normal else radius
    low, high = torch.maximum(lower, centre - reach), torch.minimum(upper, centre + reach)
    if not normal:
        return low + unit * (high - low)
    from_cdf, to_cdf = (torch.special.ndtr((side - centre) / radius) for side in (low, high))
    quantiles = torch.special.ndtri(from_cdf + unit * (to_cdf - from_cdf))
    return (centre + radius * quantiles).clamp(low, high)
