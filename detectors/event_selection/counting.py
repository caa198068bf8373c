"""A counting experiment with an uncertain background in closed form."""

import torch
from torch import Tensor

from mode_opt.errors import NonFiniteError

EXCLUDED = 1.959963984540054
"""Root of the statistic where the expected CLs is 0.05: ``Phi⁻¹(0.975)``."""


def exclusion(signal: Tensor, background: Tensor, uncertainty: Tensor) -> Tensor:
    r"""Root of the statistic with which b events, none of them signal, speak against a signal of s events.

    The background is known from an auxiliary count :math:`m = \tau b` with :math:`\tau = b/\sigma^2`. If s is
    assumed, the likelihood is largest for the positive root of

    .. math:: (1 + \tau) \hat b^2 + ((1 + \tau) s - b - m) \hat b - m s = 0

    and :math:`q = 2 [b \ln \frac{b}{s + \hat b} - b + s + \hat b + m \ln \frac{b}{\hat b} - m + \tau \hat b]`.

    Args:
        signal: s ≥ 0, any shape, double precision.
        background: b > 0, broadcastable.
        uncertainty: σ > 0, absolute, broadcastable.

    Raises:
        NonFiniteError: for a background or an uncertainty that is not positive.

    Source: G. Cowan et al., Eur. Phys. J. C 71 (2011) 1554, eqs. 16 and 61; T.-P. Li and Y.-Q. Ma, Astrophys. J. 272
    (1983) 317.
    """
    if not bool((background > 0).all() and (uncertainty > 0).all()):
        raise NonFiniteError("a background or its uncertainty is not positive")
    tau = background / uncertainty**2
    auxiliary = tau * background
    linear = (1 + tau) * signal - background - auxiliary
    root = (linear**2 + 4 * (1 + tau) * auxiliary * signal).sqrt()
    best = (root - linear) / (2 * (1 + tau))
    together = background * (background / (signal + best)).log() - background + signal + best
    alone = auxiliary * (background / best).log() - auxiliary + tau * best
    return (2 * (together + alone)).clamp_min(0.0).sqrt()


def expected_limit(signal: Tensor, background: Tensor, uncertainty: Tensor, steps: int = 40) -> Tensor:
    """Signal strength with an expected CLs of 0.05, in units of s; infinite without signal.

    Found by bisection in the logarithm, to a relative precision of ``3 · 2^−steps`` or rounding; no derivative.

    Args:
        signal: s ≥ 0, expected signal at strength 1.
        background: b > 0.
        uncertainty: σ > 0, absolute.
        steps: of the bisection.
    """
    s, b, sigma = torch.broadcast_tensors(signal.double(), background.double(), uncertainty.double())
    safe = torch.where(s > 0, s, torch.ones_like(s))
    # For normal errors the root is s/√(b + σ²) or s/√(s + b + σ²): solved for s, and wide margins around both.
    spread = (b + sigma**2).sqrt()
    low, high = EXCLUDED * spread * 0.5, EXCLUDED * (EXCLUDED + 2 * spread) * 2
    for _ in range(steps):
        middle = (low * high).sqrt()
        beyond = exclusion(middle, b, sigma) > EXCLUDED
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    return torch.where(s > 0, (low * high).sqrt() / safe, torch.full_like(s, torch.inf))
