"""Test statistics, confidence levels, limits, significances and uncertainties of a binned likelihood."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Any, final

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.objectives.statistics.fit import fit, reduced
from mode_opt.objectives.statistics.model import Model, Observation

BAND = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Upward fluctuations of the background in σ of the five expected confidence levels, the smallest first."""
_NORMAL = NormalDist()
_ROOT_STEPS = 60
_PRECISION = 1e-6
"""Relative length of the last Newton step of a root, whose error is of the order of its square."""
_FAR = 1e4
"""Of the first guess: a limit is not beyond, even where a background of 1e-6 is expected."""


@dataclass(frozen=True, eq=False)
class HypothesisTest:
    """Confidence levels of a signal strength, ``b`` each.

    Attributes:
        observed: CLs of the data.
        expected: ``b x 5`` CLs for a background that fluctuates by `BAND`.
        q: the statistic of the data.
        q_asimov: that of the background-only Asimov data.
    """

    observed: Tensor
    expected: Tensor
    q: Tensor
    q_asimov: Tensor


def upper_statistic(model: Model, data: Observation, interest: Tensor | float) -> Tensor:
    r"""Statistic for an upper limit, ``b``.

    .. math:: q_\mu = 2 \ln \frac{L(\hat\mu, \hat\theta)}{L(\mu, \hat{\hat\theta})} \text{ if } \hat\mu \le \mu,
        \text{ else } 0

    With a lower bound of 0 on μ (the default) it is :math:`\tilde q_\mu`. The fitted parameters are held fixed for the
    derivative, which is exact because the likelihood is flat there (envelope theorem).

    Source: G. Cowan et al., Eur. Phys. J. C 71 (2011) 1554, eqs. 14 and 16.
    """
    with torch.no_grad():
        best = fit(model, data).theta
    return _upper(model, data, _strength(model, interest), best)


def _upper(model: Model, data: Observation, mu: Tensor, best: Tensor) -> Tensor:
    with torch.no_grad():
        conditional = fit(model, data, mu, start=best).theta
    q = _ratio(model, data, model.with_interest(conditional, mu), best)
    return torch.where(best[:, model.interest] > mu, torch.zeros_like(q), q)


def asimov_statistic(model: Model, interest: Tensor | float, theta: Tensor | None = None) -> Tensor:
    """`upper_statistic` on background-only Asimov data, ``b``, whose best fit is known without fitting.

    Args:
        model: of ``b`` designs.
        interest: μ that is tested, above 0.
        theta: ``b x p``, parameters with μ = 0 of the data; None: the nominal ones.
    """
    truth = model.at(0.0) if theta is None else theta
    return _asimov(model, _strength(model, interest), truth, truth)[0]


def _asimov(model: Model, mu: Tensor, truth: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """`asimov_statistic` and the conditional fit, which begins at ``start``."""
    data = model.asimov(truth)
    with torch.no_grad():
        conditional = fit(model, data, mu, start=start).theta
    return _ratio(model, data, model.with_interest(conditional, mu), truth.detach()), conditional


def expected_levels(q: Tensor, band: tuple[float, ...] = BAND) -> Tensor:
    r"""Expected CLs, ``... x len(band)``, from the statistic of the Asimov data (``...``).

    .. math:: \mathrm{CL}_s = \frac{1 - \Phi(\sqrt q - n)}{\Phi(n)}

    Source: A. L. Read, J. Phys. G 28 (2002) 2693; G. Cowan et al., Eur. Phys. J. C 71 (2011) 1554, eq. 89.
    """
    return log_expected_levels(q, band).exp()


def log_expected_levels(q: Tensor, band: tuple[float, ...] = BAND) -> Tensor:
    """Logarithm of `expected_levels`, finite where they are too small to be represented."""
    n = torch.tensor(band, dtype=torch.float64)
    return torch.special.log_ndtr(n - _root(q).unsqueeze(-1)) - torch.special.log_ndtr(n)


def hypothesis_test(model: Model, data: Observation | None = None, interest: Tensor | float = 1.0) -> HypothesisTest:
    r"""Observed and expected CLs of a signal strength by the asymptotic formulas for :math:`\tilde q_\mu`.

    The Asimov data have the nuisance parameters that fit the data best without signal (conditional fit at μ = 0);
    the derivative of that fit is included.

    Args:
        model: of ``b`` designs.
        data: None: the nominal background.
        interest: μ.

    Source: G. Cowan et al., Eur. Phys. J. C 71 (2011) 1554, eqs. 64-66.
    """
    if data is None:
        q_asimov = asimov_statistic(model, interest)
        expected = expected_levels(q_asimov)
        return HypothesisTest(expected[:, 2], expected, q_asimov, q_asimov)
    q_asimov = asimov_statistic(model, interest, fit(model, data, 0.0).theta)
    q = upper_statistic(model, data, interest)
    return HypothesisTest(_observed_level(q, q_asimov), expected_levels(q_asimov), q, q_asimov)


def _observed_level(q: Tensor, q_asimov: Tensor) -> Tensor:
    root, spread = _root(q), _root(q_asimov)
    far = q > q_asimov
    safe = torch.where(far, spread, torch.ones_like(spread))
    above = torch.where(far, (q + q_asimov) / (2 * safe), root)
    below = torch.where(far, (q - q_asimov) / (2 * safe), root - spread)
    return torch.special.ndtr(-above) / torch.special.ndtr(-below)


def upper_limit(model: Model, data: Observation | None = None, level: float = 0.05, band: float | None = 0.0) -> Tensor:
    r"""Signal strength at which CLs is ``level``, ``b``; expected or observed.

    The root μ* is found without derivatives; its own is that of the implicit function,
    :math:`\partial_\varphi \mu^* = -\partial_\varphi g/\partial_\mu g` for :math:`g(\mu^*, \varphi) = 0`. An expected
    limit is the root of :math:`\sqrt{q_\mu} = \Phi^{-1}(1 - \mathrm{level} \cdot \Phi(n)) + n`.

    Args:
        model: of ``b`` designs.
        data: None: the nominal background.
        level: 0.05 for a confidence level of 95 %.
        band: n, upward fluctuation of the background in σ for an expected limit; None: the observed limit.

    Raises:
        ConfigurationError: for a level outside (0, 1), or an observed limit without data.
        NonFiniteError: if there is no signal, so that no strength is excluded.
    """
    if not 0 < level < 1:
        raise ConfigurationError("level", level, "a probability between 0 and 1")
    if band is None:
        if data is None:
            raise ConfigurationError("band", band, "a number of σ where no data are given")
        return _attached(partial(_Observed, level), model, data, 2 * _scale(model))
    wanted = _NORMAL.inv_cdf(1 - level * _NORMAL.cdf(band)) + band
    return _attached(partial(_Expected, wanted), model, data, wanted * _scale(model))


def discovery_statistic(model: Model, data: Observation | None = None) -> Tensor:
    r"""Statistic against the background-only hypothesis, ``b``; of the signal-plus-background Asimov data by default.

    .. math:: q_0 = 2 \ln \frac{L(\hat\mu, \hat\theta)}{L(0, \hat{\hat\theta})} \text{ if } \hat\mu > 0, \text{ else } 0

    Source: G. Cowan et al., Eur. Phys. J. C 71 (2011) 1554, eq. 12.
    """
    if data is None:
        best = model.at(1.0)
        data = model.asimov(best)
        best = best.detach()
    else:
        with torch.no_grad():
            best = fit(model, data).theta
    with torch.no_grad():
        conditional = fit(model, data, 0.0, start=model.with_interest(best, torch.zeros(1).double())).theta
    q = _ratio(model, data, conditional, best)
    return torch.where(best[:, model.interest] > 0, q, torch.zeros_like(q))


def discovery(model: Model, data: Observation | None = None) -> Tensor:
    r"""Significance :math:`Z = \sqrt{q_0}`, ``b``; expected for μ = 1 by default. At Z = 0 the derivative is 0."""
    return _root(discovery_statistic(model, data))


def covariance(model: Model, theta: Tensor, data: Observation | None = None) -> Tensor:
    """Inverse of the information on the parameters that are not held, ``b x p x p``, 0 at the others.

    Args:
        model: of ``b`` designs.
        theta: ``b x p``; with derivatives if it comes from `fit`, which the result then has too.
        data: of the observed information (Hessian of ``−ln L``); None: the Fisher information at θ.

    Raises:
        NonFiniteError: if the information is not positive: a parameter has no effect and no constraint, or θ is not a
            minimum for the data (a fit that ends at a bound).
    """
    matrix = model.information(theta) if data is None else model.derivatives(theta, data).hessian
    free = ~model.held
    factor, failed = torch.linalg.cholesky_ex(reduced(matrix, free))
    if bool(failed.any()):
        raise NonFiniteError(
            "the information on the parameters is singular: one of them has no effect on the counts, "
            "or θ is not a minimum of the data (a fit at a bound)"
        )
    both = free.unsqueeze(1) & free.unsqueeze(2)
    return torch.where(both, torch.cholesky_inverse(factor), torch.zeros_like(matrix))


def uncertainty(model: Model, theta: Tensor | None = None, data: Observation | None = None) -> Tensor:
    r"""Standard deviation of the parameter of interest, profiled over the others: :math:`\sqrt{(I^{-1})_{\mu\mu}}`.

    Args:
        model: of ``b`` designs.
        theta: where; None: nominal, with μ = 1.
        data: as of `covariance`.

    Source: P. de Castro and T. Dorigo, "INFERNO", Comput. Phys. Commun. 244 (2019) 170.
    """
    point = model.at(1.0) if theta is None else theta
    return covariance(model, point, data)[:, model.interest, model.interest].sqrt()


def _strength(model: Model, interest: Tensor | float) -> Tensor:
    return torch.as_tensor(interest, dtype=torch.float64).expand(model.designs)


def _ratio(model: Model, data: Observation, conditional: Tensor, best: Tensor) -> Tensor:
    """``2 (ln L(best) − ln L(conditional))``, not below 0."""
    return 2 * model.difference(conditional, best, data).clamp_min(0.0)


def _root(q: Tensor) -> Tensor:
    """√q, whose derivative at 0 is 0."""
    some = q > 0
    return torch.where(some, torch.where(some, q, torch.ones_like(q)).sqrt(), torch.zeros_like(q))


class _Excess(ABC):
    """A rising function of μ > 0, whose root is a limit; it begins its fits near the last one."""

    def __init__(self, model: Model, data: Observation | None) -> None:
        self.model, self.data = model, data
        self.truth = model.at(0.0) if data is None else fit(model, data, 0.0).theta
        self.slope: Tensor | None = None
        """``b x p``, change of the fitted parameters with μ"""

    @abstractmethod
    def __call__(self, mu: Tensor) -> Tensor:
        """``b`` values for ``b`` signal strengths."""

    def _asimov(self, mu: Tensor) -> Tensor:
        truth = self.truth.detach()
        start = truth if self.slope is None else truth + self.slope * mu.detach().unsqueeze(1)
        q, fitted = _asimov(self.model, mu, self.truth, start)
        self.slope = (fitted - truth).detach() / mu.detach().unsqueeze(1)
        return q


@final
class _Expected(_Excess):
    """``√q_μ`` of the Asimov data less what is wanted."""

    def __init__(self, wanted: float, model: Model, data: Observation | None) -> None:
        super().__init__(model, data)
        self.wanted = wanted

    def __call__(self, mu: Tensor) -> Tensor:
        return _root(self._asimov(mu)) - self.wanted


@final
class _Observed(_Excess):
    """Logarithm of the level that is wanted, less that of CLs."""

    def __init__(self, level: float, model: Model, data: Observation) -> None:
        super().__init__(model, data)
        self.level, self.observed = level, data
        with torch.no_grad():
            self.best = fit(model, data).theta

    def __call__(self, mu: Tensor) -> Tensor:
        q = _upper(self.model, self.observed, mu, self.best)
        return -(_observed_level(q, self._asimov(mu)) / self.level).log()


def _scale(model: Model) -> Tensor:
    """σ(μ) at μ = 0, a first guess of the scale of μ."""
    with torch.no_grad():
        return uncertainty(model.detach(), model.detach().at(0.0))


def _attached(excess: Callable[[Model, Any], _Excess], model: Model, data: Observation | None, start: Tensor) -> Tensor:
    """Root of the excess, found without derivatives, and one Newton step more with them."""
    plain = excess(model.detach(), None if data is None else data.detach())
    root, slope = _crossing(plain, start)
    if not torch.is_grad_enabled():
        return root
    exact = excess(model, data)
    exact.slope = plain.slope
    return root - exact(root) / slope


def _crossing(function: Callable[[Tensor], Tensor], start: Tensor) -> tuple[Tensor, Tensor]:
    """Root and slope of a function that rises with μ > 0: Newton's steps, kept in a bracket."""
    mu = start.clone()
    low, high = torch.zeros_like(mu), torch.full_like(mu, torch.inf)
    for _ in range(_ROOT_STEPS):
        point = mu.detach().requires_grad_()
        if bool((mu > _FAR * start).any()):
            break
        with torch.enable_grad():
            value = function(point)
            (slope,) = torch.autograd.grad(value.sum(), point)
        value = value.detach()
        low, high = torch.where(value < 0, mu, low), torch.where(value < 0, high, mu)
        new = mu - value / slope
        done = (new - mu).abs() <= _PRECISION * mu
        middle = torch.where(high.isfinite(), (low + high) / 2, 4 * mu)
        inside = done | ((new > low) & (new < high) & (new < 8 * mu))
        mu = torch.where(inside, new, middle)
        if bool(done.all()):
            return mu, slope
    raise NonFiniteError("no signal strength reaches the level of the limit: the uncertainties absorb any signal")
