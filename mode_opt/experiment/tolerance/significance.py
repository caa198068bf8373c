"""Whether several measured numbers are all zero."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Agreement:
    """A test of the hypothesis that ``p`` numbers vanish.

    Attributes:
        chi2: of about ``ndf`` if they do; NaN without noise, or if there are no numbers.
        ndf: (effective) degrees of freedom.
        p_value: of a value at least that large.
    """

    chi2: float
    ndf: float
    p_value: float

    def as_dict(self) -> dict[str, float | None]:
        """Entries for JSON; None where there is no number."""
        known = self.chi2 == self.chi2
        return (
            {"chi2": self.chi2, "ndf": self.ndf, "p_value": self.p_value}
            if known
            else dict.fromkeys(("chi2", "ndf", "p_value"))
        )


NOTHING = Agreement(float("nan"), 0.0, float("nan"))


def agreement(values: Tensor, deviations: Tensor, groups: int) -> Agreement:
    r"""Test ``values`` (``p``) against zero, whatever their correlations.

    For few numbers, :math:`2p < K`: Hotelling, :math:`T^2 = v^T \hat C^{-1} v` with
    :math:`T^2 (K-p)/((K-1)p) \sim F(p, K-p)`. For more, where :math:`\hat C` has no good inverse: Dempster,
    :math:`v^T v/\mathrm{tr}\,\hat C \sim F(\nu, \nu (K-1))` with
    :math:`\nu = (\mathrm{tr}\,C)^2/\mathrm{tr}\,C^2`, estimated without bias.

    Args:
        values: ``p``.
        deviations: D with :math:`\hat C = D^T D`, of `QuadraticModel.deviations`.
        groups: K, of the jackknife among them.

    Source: A. Dempster, Ann. Math. Stat. 29 (1958) 995; Z. Bai and H. Saranadasa, Statistica Sinica 6 (1996) 311.
    """
    p = len(values)
    errors = deviations.square().sum(0).sqrt()
    if p == 0 or not bool((errors > 1e-12 * values.abs().max().clamp_min(1e-300)).all()):
        return NOTHING
    if 2 * p < groups:
        return _hotelling(values / errors, deviations / errors, groups)
    return _dempster(values, deviations, groups)


def _hotelling(values: Tensor, deviations: Tensor, count: int) -> Agreement:
    from scipy.special import fdtrc

    p = len(values)
    covariance = deviations.T @ deviations
    square = float(values @ torch.linalg.lstsq(covariance, values[:, None]).solution[:, 0])
    return Agreement(square, float(p), float(fdtrc(p, count - p, square * (count - p) / ((count - 1) * p))))


def _dempster(values: Tensor, deviations: Tensor, count: int) -> Agreement:
    from scipy.special import fdtrc

    n, p = count - 1, len(values)
    gram = deviations @ deviations.T
    trace, square = float(gram.trace()), float((gram**2).sum())
    squares = n**2 / ((n - 1) * (n + 2)) * (square - trace**2 / n)
    freedom = trace**2 / min(max(squares, trace**2 / p), trace**2)
    ratio = float(values @ values) / trace
    return Agreement(ratio * freedom, freedom, float(fdtrc(freedom, freedom * n, ratio)))
