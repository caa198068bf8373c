"""The binned likelihood of HistFactory for a batch of designs, with its derivatives in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from mode_opt.errors import ConfigurationError
from mode_opt.objectives.statistics.modifiers import linear_interpolation, power_interpolation

_TINY = 1e-60
"""Stands for a factor of exactly 0, so that (product of all)/(this one) is the product of the others."""


@dataclass(frozen=True, eq=False)
class Parameter:
    """The parameters of one name.

    Attributes:
        name: as of the modifiers.
        size: how many, ``k``: 1, or one for each bin.
        initial: ``k`` nominal values.
        bounds: lower and upper.
        held: ``b x k``, which of them stay at their initial value; None: none.
        centers: ``b x k``, measured values of a normal constraint; None: no such constraint.
        widths: ``b x k``, their standard deviations.
        rates: ``b x k``, expected auxiliary counts τ at 1 of a Poisson constraint; None: no such constraint.
    """

    name: str
    size: int
    initial: tuple[float, ...]
    bounds: tuple[float, float]
    held: Tensor | None = None
    centers: Tensor | None = None
    widths: Tensor | None = None
    rates: Tensor | None = None

    def changed(
        self,
        initial: float | Sequence[float] | None,
        bounds: tuple[float, float] | None,
        fixed: bool | None,
        center: float | None,
        width: float | None,
        constrained: bool | None = None,
    ) -> "Parameter":
        """With those of the arguments that are not None."""
        new = self
        if initial is not None:
            values = [initial] * self.size if isinstance(initial, (int, float)) else list(initial)
            new = replace(new, initial=tuple(float(v) for v in values))
        if bounds is not None:
            new = replace(new, bounds=bounds)
        if fixed is not None:
            new = replace(new, held=torch.full((1, self.size), fixed))
        if (center, width) != (None, None) and self.centers is None:
            raise ConfigurationError(f"settings.{self.name}", center or width, "no center or width: it is not normal")
        if constrained is False:
            return replace(new, centers=None, widths=None)
        ones = torch.ones(1, self.size, dtype=torch.float64)
        centers = self.centers if center is None else center * ones
        return replace(new, centers=centers, widths=self.widths if width is None else width * ones)


@dataclass(frozen=True, eq=False)
class Observation:
    """What was measured, or would be.

    Attributes:
        main: ``b x i``, counts n of the bins.
        normal: ``b x p``, auxiliary values a of parameters with a normal constraint; anything at the others.
        poisson: ``b x p``, auxiliary counts m of parameters with a Poisson constraint; 0 at the others.
    """

    main: Tensor
    normal: Tensor
    poisson: Tensor

    def detach(self) -> "Observation":
        return Observation(self.main.detach(), self.normal.detach(), self.poisson.detach())


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Of the negative log-likelihood at some parameters.

    Attributes:
        expected: λ there, ``b x i``.
        gradient: ``b x p``.
        hessian: ``b x p x p``.
        positive: the same without the curvature of λ, positive semi-definite.
    """

    expected: Tensor
    gradient: Tensor
    hessian: Tensor
    positive: Tensor


@dataclass(frozen=True, eq=False)
class Model:
    r"""Poisson counts in bins, whose expectation depends on parameters θ, with constraints on some of them.

    .. math::
        \lambda_i = \sum_s \Big(\nu_{si} + \sum_h \Delta_{hsi}(\theta)\Big) \prod_f \theta_f \prod_m f_{msi}(\theta)

    .. math::
        -\ln L = \sum_i (\lambda_i - n_i \ln \lambda_i) + \sum_k \frac{(a_k - \theta_k)^2}{2 \sigma_k^2}
        + \sum_j (\tau_j \theta_j - m_j \ln \tau_j \theta_j) + \text{const}

    Made by `build`. A cell (``c`` of them) is one bin of one sample; ``p`` parameters, ``b`` designs, ``i`` bins.

    Attributes:
        parameters: by name, in their order.
        interest: index of the parameter of interest.
        nominal: ``b x c`` expected counts.
        sums: ``c x i``, which cell belongs to which bin.
        factor: ``f x c``, which cells the parameters that are plain factors multiply.
        low, high: ``b x m x c``, factors at ±1 of normalisation uncertainties; ``power`` their interpolation.
        down, up: ``b x h x c``, changes at ±1 of shape uncertainties.
        members: ``f + m + h`` indices of the parameters of all these effects; ``spread`` the same as a matrix.
        initial, lower, upper: ``p``.
        held: ``b x p``.
        normal, width: ``p`` and ``b x p``: which parameters have a normal constraint, and σ (1 at the others).
        center: ``b x p``, nominal auxiliary values.
        rate: ``b x p``, τ, 0 where there is no Poisson constraint.
    """

    parameters: tuple[Parameter, ...]
    interest: int
    nominal: Tensor
    sums: Tensor
    factor: Tensor
    low: Tensor
    high: Tensor
    power: Tensor
    down: Tensor
    up: Tensor
    members: Tensor
    spread: Tensor
    initial: Tensor
    lower: Tensor
    upper: Tensor
    held: Tensor
    normal: Tensor
    width: Tensor
    center: Tensor
    rate: Tensor

    @classmethod
    def of(
        cls,
        parameters: tuple[Parameter, ...],
        interest: int,
        nominal: Tensor,
        sums: Tensor,
        factor: Tensor,
        low: Tensor,
        high: Tensor,
        power: Tensor,
        down: Tensor,
        up: Tensor,
        members: Tensor,
        spread: Tensor,
    ) -> Self:
        """With the constraints and limits of the parameters gathered in tensors."""

        def gathered(name: str, empty: float, dtype: torch.dtype = torch.float64) -> Tensor:
            blocks = []
            for parameter in parameters:
                value = getattr(parameter, name)
                missing = torch.full((1, parameter.size), empty, dtype=dtype)
                blocks.append(missing if value is None else value.to(dtype))
            return torch.cat([block.expand(nominal.shape[0], -1) for block in blocks], 1)

        def repeated(values: Sequence[float]) -> Tensor:
            pairs = zip(parameters, values, strict=True)
            return torch.tensor([v for p, v in pairs for _ in range(p.size)], dtype=torch.float64)

        normal = [p.centers is not None for p in parameters for _ in range(p.size)]
        return cls(
            *(parameters, interest, nominal, sums, factor, low, high, power, down, up, members, spread),
            initial=torch.tensor([v for p in parameters for v in p.initial], dtype=torch.float64),
            lower=repeated([p.bounds[0] for p in parameters]),
            upper=repeated([p.bounds[1] for p in parameters]),
            held=gathered("held", 0, torch.bool),
            normal=torch.tensor(normal),
            width=gathered("widths", 1.0),
            center=gathered("centers", 0.0),
            rate=gathered("rates", 0.0),
        )

    @property
    def designs(self) -> int:
        """``b``."""
        return self.nominal.shape[0]

    @property
    def names(self) -> list[str]:
        """``p`` names of the parameters, ``name[k]`` where a name has several."""
        return [p.name if p.size == 1 else f"{p.name}[{k}]" for p in self.parameters for k in range(p.size)]

    def detach(self) -> Self:
        """The same numbers without derivatives."""
        tensors: dict[str, Any] = {k: v.detach() for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **tensors)

    def bounded(self, lower: float, upper: float) -> Self:
        """With other bounds on the parameter of interest."""
        low, high = self.lower.clone(), self.upper.clone()
        low[self.interest], high[self.interest] = lower, upper
        return replace(self, lower=low, upper=high)

    def at(self, interest: Tensor | float) -> Tensor:
        """Nominal parameters with a value of the parameter of interest, ``b x p``."""
        theta = self.initial.expand(self.designs, -1)
        return self.with_interest(theta, torch.as_tensor(interest, dtype=torch.float64))

    def with_interest(self, theta: Tensor, interest: Tensor) -> Tensor:
        """θ with another value (``b`` or one) of the parameter of interest."""
        here = torch.arange(theta.shape[-1]) == self.interest
        return torch.where(here, interest.reshape(-1, 1), theta)

    def observation(self, main: Tensor) -> Observation:
        """Measured counts (``i`` or ``b x i``) with nominal auxiliary values."""
        counts = main.double().reshape(-1, self.sums.shape[1]).expand(self.designs, -1)
        return Observation(counts, self.center, self.rate)

    def asimov(self, theta: Tensor) -> Observation:
        """Counts and auxiliary values that are equal to their expectations at θ."""
        return Observation(self.expected(theta), theta, self.rate * theta)

    def expected(self, theta: Tensor) -> Tensor:
        """λ, ``b x i``."""
        sums, factors = self._effects(theta)[:2]
        return (sums * factors) @ self.sums

    def difference(self, theta: Tensor, other: Tensor, data: Observation, expected: Tensor | None = None) -> Tensor:
        """``−ln L(θ) + ln L(other)``, ``b``, without cancellation where they are close.

        Args:
            theta: ``b x p``.
            other: ``b x p``.
            data: what was measured.
            expected: λ of ``other`` if it is known.
        """
        new, old = self.expected(theta), self.expected(other) if expected is None else expected
        total = _poisson_difference(new, old, data.main)
        total = total + _poisson_difference(self.rate * theta, self.rate * other, data.poisson)
        pull = (other - theta) * (2 * data.normal - theta - other) / (2 * self.width**2)
        return total + (pull * self.normal).sum(-1)

    def log_density(self, theta: Tensor, data: Observation) -> Tensor:
        """ln L with all constants, ``b``."""
        poisson = _log_poisson(self.expected(theta), data.main).sum(-1)
        has_rate = self.rate > 0
        auxiliary = _log_poisson(torch.where(has_rate, self.rate * theta, torch.ones_like(theta)), data.poisson)
        pull = (data.normal - theta) / self.width
        gauss = -0.5 * pull**2 - self.width.log() - 0.918938533204672741780
        return poisson + (auxiliary * has_rate).sum(-1) + (gauss * self.normal).sum(-1)

    def derivatives(self, theta: Tensor, data: Observation) -> Derivatives:
        """Of ``−ln L`` in closed form; differentiable with respect to everything."""
        total, factors, ratios, bends, slopes, curves = self._effects(theta)
        cells = total * factors
        expected = cells @ self.sums
        jacobian = self._jacobian(cells, factors, ratios, slopes)
        some = data.main > 0
        rate = torch.where(some, data.main / torch.where(some, expected, torch.ones_like(expected)), data.main * 0)
        inverse = torch.where(some, rate / torch.where(some, expected, torch.ones_like(expected)), rate)
        gradient, extra = self._constraints(theta, data)
        positive = (jacobian * inverse.unsqueeze(1)) @ jacobian.mT + extra
        pull = ((1 - rate) @ self.sums.T).unsqueeze(1)
        bent = self._curvature(pull * cells.unsqueeze(1), pull * factors.unsqueeze(1), ratios, bends, slopes, curves)
        gradient = (jacobian @ (1 - rate).unsqueeze(-1)).squeeze(-1) + gradient
        return Derivatives(expected, gradient, positive + bent, positive)

    def information(self, theta: Tensor) -> Tensor:
        r"""Fisher information with the constraints, ``b x p x p``.

        .. math:: I_{jk} = \sum_i \frac{\partial_j \lambda_i \, \partial_k \lambda_i}{\lambda_i}
            + \delta_{jk} \Big(\frac{1}{\sigma_k^2} + \frac{\tau_k}{\theta_k}\Big)
        """
        total, factors, ratios, _, slopes, _ = self._effects(theta)
        jacobian = self._jacobian(total * factors, factors, ratios, slopes)
        expected = (total * factors) @ self.sums
        some = expected > 0
        inverse = torch.where(some, 1 / torch.where(some, expected, torch.ones_like(expected)), expected * 0)
        _, extra = self._constraints(theta, Observation(expected, theta, self.rate * theta))
        return (jacobian * inverse.unsqueeze(1)) @ jacobian.mT + extra

    def _effects(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Additive part and product of factors per cell; f'/f and f''/f − (f'/f)² of factors; slopes of shapes."""
        values = theta[:, self.members].unsqueeze(-1)
        plain, powers = self.factor.shape[0], self.low.shape[1]
        factor = values[:, :plain]
        factor = torch.where(factor.abs() < _TINY, torch.full_like(factor, _TINY), factor)
        factors = torch.where(self.factor, factor, torch.ones_like(factor))
        ratios = self.factor / factors
        bends = -(ratios**2)
        product = factors.prod(1)
        if powers:
            value, slope, curvature = power_interpolation(
                values[:, plain : plain + powers], self.low, self.high, self.power
            )
            ratio = slope / value
            product = product * value.prod(1)
            bends = torch.cat([bends, curvature / value - ratio**2], 1)
            ratios = torch.cat([ratios, ratio], 1)
        change, slopes, curves = linear_interpolation(values[:, plain + powers :], self.down, self.up)
        return self.nominal + change.sum(1), product, ratios, bends, slopes, curves

    def _jacobian(self, cells: Tensor, factors: Tensor, ratios: Tensor, slopes: Tensor) -> Tensor:
        """∂λ/∂θ, ``b x p x i``."""
        effects = ratios * cells.unsqueeze(1)
        if slopes.shape[1]:
            effects = torch.cat([effects, slopes * factors.unsqueeze(1)], 1)
        return self.spread.T @ (effects @ self.sums)

    def _curvature(
        self, cells: Tensor, factors: Tensor, ratios: Tensor, bends: Tensor, slopes: Tensor, curves: Tensor
    ) -> Tensor:
        """Σ w ∂²λ/∂θ∂θ, ``b x p x p``, where the weights w are in ``cells`` and ``factors``."""
        own = ratios * cells
        top = own @ ratios.mT + torch.diag_embed((bends * cells).sum(-1))
        if not slopes.shape[1]:
            return self.spread.T @ top @ self.spread
        cross = (ratios * factors) @ slopes.expand(ratios.shape[0], -1, -1).mT
        corner = torch.diag_embed((curves * factors).sum(-1))
        whole = torch.cat([torch.cat([top, cross], 2), torch.cat([cross.mT, corner], 2)], 1)
        return self.spread.T @ whole @ self.spread

    def _constraints(self, theta: Tensor, data: Observation) -> tuple[Tensor, Tensor]:
        """Gradient and Hessian of the constraint terms."""
        inverse = self.normal / self.width**2
        some = data.poisson > 0
        ratio = torch.where(some, data.poisson / torch.where(some, theta, torch.ones_like(theta)), theta * 0)
        curvature = torch.where(some, ratio / torch.where(some, theta, torch.ones_like(theta)), ratio)
        return (theta - data.normal) * inverse + self.rate - ratio, torch.diag_embed(inverse + curvature)


def _poisson_difference(new: Tensor, old: Tensor, counts: Tensor) -> Tensor:
    """``Σ (λ − λ₀) − n ln(λ/λ₀)``; +∞ where λ is not positive and there are counts, or negative."""
    change = new - old
    some = counts > 0
    relative = change / torch.where(some, old, torch.ones_like(old))
    logarithm = torch.log1p(torch.where(some & (relative > -1), relative, torch.zeros_like(relative)))
    terms = change - torch.where(some, counts * logarithm, torch.zeros_like(counts))
    impossible = (some & (relative <= -1)) | (new < 0)
    return torch.where(impossible, torch.full_like(terms, torch.inf), terms).sum(-1)


def _log_poisson(expected: Tensor, counts: Tensor) -> Tensor:
    return torch.xlogy(counts, expected) - expected - torch.lgamma(counts + 1)
