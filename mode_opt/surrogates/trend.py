"""What a polynomial of the condition explains of features, and how wide they scatter around it, in closed form."""

from typing import final

import torch
from torch import Tensor, nn

from mode_opt.errors import ConfigurationError
from mode_opt.surrogates.model import Rows, moments

DEGREES = {"identity": 0, "constant": 0, "linear": 1, "quadratic": 2, "cubic": 3}

FULL_TERMS = 400
"""With more terms than this, products of two different design columns are left out."""

JITTER = 0.01
"""Width of the noise added to what is left to learn, in units of its scatter: bounds every density from above."""

CUBIC_TERMS = 60
"""With more terms than this, of the cubic ones only the cubes of design columns are kept."""


@final
class Trend(nn.Module):
    """``x = m(c) + s(c) L z``: location, scale and correlation of features, so that a network has only z to learn.

    L is the Cholesky factor of the correlation matrix of all residuals. m and log s are polynomials with weights
    from `evidence_ridge`: m by weighted least squares with the weights ``1 / s²``, log s from the logarithms of the
    residuals, in turns. Few rows are enough for what is linear or quadratic in the design, and what the
    data do not support is shrunk to zero.

    Args:
        features: ``k``.
        conditions: ``c``.
        designs: how many leading columns of the condition are designs.
        degree: ``identity`` (x = z), ``constant`` (mean and standard deviation), ``linear``, ``quadratic``
            (products of all pairs; of different design columns only up to `FULL_TERMS` terms) or ``cubic`` (all
            products of three up to `CUBIC_TERMS` terms, else cubes of design columns: they keep the slope
            at the centre right where the third derivative matters).
        correlate: False leaves correlations to the network (L = 1).

    Raises:
        ConfigurationError: for another degree.
    """

    centre: Tensor
    width: Tensor
    varies: Tensor
    location: Tensor
    spread: Tensor
    spread_middle: Tensor
    mixing: Tensor

    def __init__(
        self, features: int, conditions: int, designs: int, degree: str = "cubic", correlate: bool = True
    ) -> None:
        super().__init__()
        if degree not in DEGREES:
            raise ConfigurationError("surrogate.trend", degree, f"one of {', '.join(DEGREES)}")
        self.degree, self.correlate = degree, correlate
        self.pairs = _pairs(conditions, designs) if DEGREES[degree] >= 2 else torch.zeros(2, 0, dtype=torch.long)
        linear = conditions if DEGREES[degree] else 0
        none = torch.zeros(3, 0, dtype=torch.long)
        self.triples = _triples(conditions, designs, self.pairs.shape[1]) if DEGREES[degree] == 3 else none
        pure = (self.triples[0] == self.triples[2]).long()
        self.groups = torch.tensor([0] + [1] * linear + [2] * self.pairs.shape[1] + (3 + pure).tolist())
        terms = len(self.groups)
        for name, value in (("centre", torch.zeros(features)), ("width", torch.ones(features))):
            self.register_buffer(name, value)
        self.register_buffer("varies", torch.ones(features))
        self.register_buffer("location", torch.zeros(terms, features))
        self.register_buffer("spread", torch.zeros(terms, features))
        self.register_buffer("spread_middle", torch.zeros(features))
        self.register_buffer("mixing", torch.eye(features))

    def forward(self, condition: Tensor, z: Tensor) -> Tensor:
        """Features ``m x k`` from what was drawn around the trend, differentiable in both."""
        location, scale = self._moments(condition)
        return location + scale * (z @ self.mixing.T)

    def around(self, condition: Tensor, features: Tensor, generator: torch.Generator) -> Tensor:
        """``z``, ``m x k``, and the noise `JITTER`; a feature that is constant becomes standard normal noise."""
        if self.degree == "identity":
            return features
        location, scale = self._moments(condition)
        noise = torch.randn(features.shape, generator=generator, dtype=scale.dtype, device=scale.device)
        residual = torch.where(scale > 0, (features - location) / scale.clamp_min(1e-30), noise)
        return torch.linalg.solve_triangular(self.mixing, residual.T, upper=False).T + JITTER * noise

    def _moments(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        basis = self._basis(condition)
        scale = self.width * self.varies * torch.exp(self._log_scale(basis))
        return self.centre + self.width * (basis @ self.location), scale

    def fit(self, rows: Rows, rounds: int = 2) -> None:
        """Learn from features as they are; all former values are forgotten."""
        for value in (self.location, self.spread, self.spread_middle):
            value.zero_()
        nn.init.eye_(self.mixing)
        if self.degree == "identity":
            return
        for value, new in zip((self.centre, self.width, self.varies), moments(rows.features), strict=True):
            value.copy_(new)
        basis, target = self._basis(rows.condition), (rows.features - self.centre) / self.width
        if self.degree != "constant":
            self._fit_moments(basis, target, rows, rounds)
        if self.correlate:
            self._correlate((target - basis @ self.location) * torch.exp(-self._log_scale(basis)), rows.weight)

    def _fit_moments(self, basis: Tensor, target: Tensor, rows: Rows, rounds: int) -> None:
        weight = rows.weight
        for _ in range(rounds):
            self.location.copy_(evidence_ridge(basis, target, weight, self.groups))
            residual = target - basis @ self.location
            self._fit_scale(basis, residual, rows.weight)
            weight = rows.weight * torch.exp(-2 * self._log_scale(basis).mean(1))
        self.location.copy_(evidence_ridge(basis, target, weight, self.groups))
        self._calibrate(basis, target - basis @ self.location, rows.weight)

    def _correlate(self, z: Tensor, weight: Tensor) -> None:
        k, z = z.shape[1], (z * self.varies).double()
        # As if k further rows had been seen without correlation: never singular.
        covariance = z.T @ (weight.double()[:, None] * z / weight.mean()) + k * torch.eye(k, device=z.device)
        width = covariance.diagonal().sqrt()
        self.mixing.copy_(torch.linalg.cholesky(covariance / (width[:, None] * width)))

    def _fit_scale(self, basis: Tensor, residual: Tensor, weight: Tensor) -> None:
        logarithm = torch.log(residual.abs().clamp_min(1e-4))
        self.spread.copy_(evidence_ridge(basis, logarithm, weight, self.groups))
        self.spread_middle.zero_().add_((weight[:, None] * (basis @ self.spread)).sum(0) / weight.sum())
        self.spread[0] -= self.spread_middle
        self._calibrate(basis, residual, weight)

    def _calibrate(self, basis: Tensor, residual: Tensor, weight: Tensor) -> None:
        """The weighted mean square of z becomes 1."""
        z = residual * torch.exp(-self._log_scale(basis))
        square = (weight[:, None] * z**2).sum(0) / weight.sum()
        self.spread_middle += 0.5 * torch.log(square.clamp_min(1e-12))

    def _log_scale(self, basis: Tensor) -> Tensor:
        # Bounded: an extrapolated logarithm must not make samples explode.
        return self.spread_middle + 2.5 * torch.tanh((basis @ self.spread) / 2.5)

    def _basis(self, condition: Tensor) -> Tensor:
        ones = condition.new_ones(len(condition), 1)
        if not DEGREES[self.degree]:
            return ones
        first, second = self.pairs.to(condition.device)
        i, j, k = self.triples.to(condition.device)
        squares, cubes = condition[:, first] * condition[:, second], condition[:, i] * condition[:, j] * condition[:, k]
        return torch.cat([ones, condition, squares, cubes], dim=1)


def _pairs(conditions: int, designs: int) -> Tensor:
    pairs = torch.triu_indices(conditions, conditions)
    if 1 + conditions + pairs.shape[1] > FULL_TERMS:
        pairs = pairs[:, (pairs[1] >= designs) | (pairs[0] == pairs[1])]
    return pairs


def _triples(conditions: int, designs: int, pairs: int) -> Tensor:
    triples = torch.combinations(torch.arange(conditions), 3, with_replacement=True).T
    if 1 + conditions + pairs + triples.shape[1] > CUBIC_TERMS:
        triples = torch.arange(designs).repeat(3, 1)
    return triples


def evidence_ridge(basis: Tensor, target: Tensor, weight: Tensor, groups: Tensor, rounds: int = 8) -> Tensor:
    """Least squares with a Gaussian prior for each group of terms, whose widths maximise the evidence.

    Fixed-point updates of MacKay (Neural Computation 4 (1992) 415): with ``A = Σ w b bᵀ`` and the penalty λ_g
    in units of the noise, ``γ_g = n_g − λ_g tr_g (A + λ)⁻¹`` terms are determined by the data and
    ``λ_g = γ_g / mean_k(Σ_g β² / σ_k²)``.

    Args:
        basis: ``m x t``.
        target: ``m x k``; all k share the penalties.
        weight: ``m``, inverse variances up to a factor.
        groups: ``t`` numbers of groups; group 0 is not penalised.
        rounds: updates.

    Returns:
        β, ``t x k``.
    """
    b, y, w = basis.double(), target.double(), (weight / weight.mean()).double()
    a, right = b.T @ (w[:, None] * b), b.T @ (w[:, None] * y)
    members = nn.functional.one_hot(groups.to(b.device)).double()
    members = members[:, members.sum(0) > 0]
    penalty = torch.ones(members.shape[1], dtype=b.dtype, device=b.device)
    penalty[0] = 1e-6
    floor = 1e-10 * (w[:, None] * y**2).mean(0) + 1e-30
    rounds = rounds if b.shape[1] <= FULL_TERMS else min(rounds, 3)  # an inversion each, cubic in the terms
    for update in range(rounds):
        inverse = torch.linalg.inv(a + torch.diag(members @ penalty))
        beta = inverse @ right
        if update == rounds - 1:
            break
        determined = (members.sum(0) - penalty * (inverse.diagonal() @ members)).clamp_min(1e-3)
        freedom = (len(b) - determined.sum()).clamp_min(1.0)
        noise = ((w[:, None] * (y - b @ beta) ** 2).sum(0) / freedom).clamp_min(floor)
        power = (members.T @ (beta**2 / noise)).mean(1)
        penalty[1:] = (determined / power.clamp_min(1e-12))[1:].clamp(1e-6, 1e9)
    return beta.to(target.dtype)
