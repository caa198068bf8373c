"""Gaussian-process regression of noisy numbers on the design and on what is known of each event."""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from mode_opt.errors import NonFiniteError, ShapeError

JITTER = 1e-6
TINY = 1e-12
"""Keeps the derivative of a standard deviation of 0 finite."""


@dataclass(frozen=True)
class Kernel:
    """Hyperparameters of `GaussianProcess`, all in standardised units (values divided by their spread).

    Attributes:
        reach: ℓ, length scale in ψ.
        amplitude: s, of the part that depends on ψ.
        known_reach: ℓ_x, length scale in the standardised known inputs.
        known_amplitude: s_x, of the part that depends on the known inputs alone.
        coupling: c, share of the dependence on ψ that differs between known inputs.
        slope: s_1, of a linear part of the dependence on ψ.
        bend: s_2, of a quadratic one.
    """

    reach: Tensor
    amplitude: Tensor
    known_reach: Tensor
    known_amplitude: Tensor
    coupling: Tensor
    slope: Tensor
    bend: Tensor

    def __call__(self, a: "Rows", b: "Rows") -> Tensor:
        """Covariance of the values, ``m x n``."""
        of_known = self.of_known(a.known, b.known)
        of_design = self.of_design(a.psi, b.psi)
        return self.known_amplitude**2 * of_known + of_design * (1 + self.coupling**2 * of_known)

    def of_design(self, a: Tensor, b: Tensor) -> Tensor:
        """``k_ψ = s² exp(−|ψ − ψ'|² / 2ℓ²) + s_1² ψ·ψ' + s_2² (ψ·ψ')²``, ``m x n``; ψ counts from `Data.origin`."""
        return self._of(_squares(a, b), a @ b.T)

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """The same for pairs of rows, ``b``."""
        return self._of(((a - b) ** 2).sum(1), (a * b).sum(1))

    def _of(self, squares: Tensor, product: Tensor) -> Tensor:
        stationary = self.amplitude**2 * torch.exp(-0.5 * squares / self.reach**2)
        return stationary + self.slope**2 * product + self.bend**2 * product**2

    def of_known(self, a: Tensor, b: Tensor) -> Tensor:
        """``exp(−|x − x'|² / 2ℓ_x²)``, 0 if nothing is known."""
        if a.shape[1] == 0:
            return a.new_zeros(len(a), len(b))
        return torch.exp(-0.5 * _squares(a, b) / self.known_reach**2)


@dataclass(frozen=True)
class Rows:
    """Designs and known inputs of single values: ``psi``, ``n x d``, and standardised ``known``, ``n x k``."""

    psi: Tensor
    known: Tensor

    def __getitem__(self, index: Tensor) -> "Rows":
        return Rows(self.psi[index], self.known[index])


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances ``m x n``; by the scalar product, whose rounding float64 can afford."""
    return ((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T).clamp_min(0.0)


@final
class GaussianProcess:
    """``y = β·h(x) + g(x) + f(ψ, x) + ε`` with Gaussian-process priors on g and f, and a learnt noise.

    ``h = (1, x, x²)`` has a flat prior; g and f have the `Kernel` covariances ``s_x² k_x`` and ``k_ψ (1 + c² k_x)``,
    so that data which do not show an interaction of design and known inputs pool all events for the dependence on the
    design. The polynomial part of ``k_ψ`` is there because a bowl far below the constant has, under the stationary part
    alone, the same curvature in all directions. The noise of a value is ``exp(θ·(1, |x|, x²))``: events from which
    little can be learnt count less. What is asked for is the mean over the known inputs, ``J(ψ) = ⟨E y⟩_x``.

    Hyperparameters maximise the evidence of at most ``subset`` values (Adam, warm-started); the posterior then uses all
    values through ``inducing`` of them, and what these cannot explain counts as noise of the value (fully independent
    training conditional approximation), so that it does not pretend to know. Float64 on the CPU.

    Args:
        subset: values for the evidence.
        inducing: points that carry the posterior.
        first_steps: of the first maximisation.
        steps: of later ones.

    Sources: C. Rasmussen and C. Williams, "Gaussian Processes for Machine Learning", MIT Press 2006, section 2.7;
    E. Snelson and Z. Ghahramani, NeurIPS 2005 (inducing points); P. Goldberg et al., NeurIPS 1997 (noise that depends
    on the input).
    """

    def __init__(self, subset: int = 500, inducing: int = 600, first_steps: int = 80, steps: int = 12) -> None:
        self.subset, self.inducing, self.first_steps, self.steps = subset, inducing, first_steps, steps
        self.parameters: dict[str, Tensor] = {}

    def state(self) -> dict[str, Any]:
        """The hyperparameters; the posterior follows from the data."""
        return {name: value.clone() for name, value in self.parameters.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over hyperparameters."""
        self.parameters = {name: value.clone() for name, value in state.items()}

    def fit(
        self,
        psi: Tensor,
        known: Tensor,
        values: Tensor,
        generator: torch.Generator,
        variance: Tensor | None = None,
        centre: Tensor | None = None,
    ) -> "Posterior":
        """Learn from single values.

        Args:
            psi: ``n x d``.
            known: ``n x k``, inputs that are not designed; k may be 0.
            values: ``n``.
            generator: chooses subset and inducing points.
            variance: ``n``, of values that are averages; None learns it.
            centre: ``d``, where the answer matters: the polynomial part is about it, and nearer values are preferred as
                inducing points; None is the mean of the designs.

        Raises:
            ShapeError: if the numbers of rows differ.
            NonFiniteError: for values that are not finite.
        """
        psi, known, values = psi.double().cpu(), known.double().cpu(), values.double().cpu()
        if not len(psi) == len(known) == len(values):
            raise ShapeError("GaussianProcess.fit", (len(psi), len(known), len(values)), "one row per value")
        if not bool(values.isfinite().all() and psi.isfinite().all() and known.isfinite().all()):
            raise NonFiniteError("GaussianProcess.fit: designs, known inputs or values that are NaN or infinite")
        origin = psi.mean(0) if centre is None else centre.double().cpu()
        data = Data.of(psi, known, values, None if variance is None else variance.double().cpu(), origin)
        self._maximise(data, generator)
        order = self._order(data, centre is not None, generator)
        return Posterior(data, self.parameters, order)

    def _order(self, data: "Data", centred: bool, generator: torch.Generator) -> Tensor:
        """Inducing points: at random, or half of them nearest to the origin."""
        n = len(data.values)
        if n <= self.inducing:
            return torch.arange(n)
        shuffled = torch.randperm(n, generator=generator)
        if not centred:
            return shuffled[: self.inducing]
        near = (data.rows.psi**2).sum(1).argsort()[: self.inducing // 2]
        others = shuffled[~torch.isin(shuffled, near)]
        return torch.cat([near, others[: self.inducing - len(near)]])

    def _maximise(self, data: "Data", generator: torch.Generator) -> None:
        first = not self.parameters or len(self.parameters["noise"]) != data.noise_features.shape[1]
        if first:
            self.parameters = _start(data)
        n = len(data.values)
        part = data.part(torch.randperm(n, generator=generator)[: self.subset])
        leaves = {name: value.clone().requires_grad_() for name, value in self.parameters.items()}
        optimiser = torch.optim.Adam(leaves.values(), lr=0.1 if first else 0.05)
        for _ in range(self.first_steps if first else self.steps):
            optimiser.zero_grad()
            loss = -_evidence(part, _kernel(leaves), _noise(leaves, part)) + _prior(leaves, data.spread)
            if not bool(loss.isfinite()):
                return
            loss.backward()
            torch.nn.utils.clip_grad_norm_(list(leaves.values()), 100.0)
            optimiser.step()
        if all(bool(leaf.isfinite().all()) for leaf in leaves.values()):
            self.parameters = {name: leaf.detach() for name, leaf in leaves.items()}


Scales = tuple[float, float, Tensor, Tensor, Tensor]
"""Shift and scale of the values, shifts and scales of the known inputs, origin of the designs."""


@final
class Data:
    """Standardised rows and values of a fit."""

    def __init__(self, rows: Rows, values: Tensor, variance: Tensor | None, scales: Scales) -> None:
        self.rows, self.values, self.variance, self.scales = rows, values, variance, scales
        self.shift, self.scale, self.known_shift, self.known_scale, self.origin = scales
        self.means = torch.cat([torch.ones(len(values), 1, dtype=values.dtype), rows.known, rows.known**2], 1)
        self.noise_features = torch.cat([self.means[:, :1], rows.known.abs(), rows.known**2], 1)
        self.spread = float(rows.psi.std(0, unbiased=False).norm()) if len(values) > 1 else 1.0

    @classmethod
    def of(cls, psi: Tensor, known: Tensor, values: Tensor, variance: Tensor | None, origin: Tensor) -> "Data":
        """Known inputs and values with mean 0 and variance 1, designs relative to the origin."""
        shift, scale = float(values.mean()), max(float(values.std(unbiased=False)), 1e-12)
        known_shift = known.mean(0)
        known_scale = ((known - known_shift) ** 2).mean(0).sqrt()
        # An input that does not vary says nothing: it is 0 for all rows.
        known_scale = torch.where(known_scale > 1e-9 * known_shift.abs(), known_scale, torch.inf)
        rows = Rows(psi - origin, (known - known_shift) / known_scale)
        scaled = None if variance is None else variance / scale**2
        return cls(rows, (values - shift) / scale, scaled, (shift, scale, known_shift, known_scale, origin))

    def rows_of(self, psi: Tensor, known: Tensor) -> Rows:
        """Other rows on the same scales."""
        return Rows(self.relative(psi), (known.double().cpu() - self.known_shift) / self.known_scale)

    def relative(self, psi: Tensor) -> Tensor:
        """Designs ``b x d`` from the origin."""
        return psi.double().cpu() - self.origin

    def part(self, index: Tensor) -> "Data":
        """Some of the rows."""
        variance = None if self.variance is None else self.variance[index]
        return Data(self.rows[index], self.values[index], variance, self.scales)


def _start(data: Data) -> dict[str, Tensor]:
    one = torch.zeros((), dtype=torch.float64)
    reach = math.log(max(2.0 * data.spread, 1e-6))
    noise = torch.zeros(data.noise_features.shape[1], dtype=torch.float64)
    noise[0] = math.log(0.5)
    return {
        "reach": one + reach,
        "amplitude": one + math.log(1.0),
        "known_reach": one.clone(),
        "known_amplitude": one + math.log(0.3),
        "coupling": one + math.log(0.3),
        "slope": one - math.log(2 * max(data.spread, 1e-9)),
        "bend": one - math.log(3 * max(data.spread, 1e-9) ** 2),
        "noise": noise,
    }


def _kernel(parameters: dict[str, Tensor]) -> Kernel:
    names = ("reach", "amplitude", "known_reach", "known_amplitude", "coupling", "slope", "bend")
    return Kernel(*(parameters[name].exp() for name in names))


def _noise(parameters: dict[str, Tensor], data: Data) -> Tensor:
    """Variance of each value: learnt, or what came with it."""
    learnt = torch.exp((data.noise_features @ parameters["noise"]).clamp(-12.0, 6.0))
    return learnt if data.variance is None else data.variance + 1e-3 * learnt + JITTER


def _prior(parameters: dict[str, Tensor], spread: float) -> Tensor:
    """Minus the logarithm of wide priors: a length scale below the spread of the designs needs evidence."""
    spread = max(spread, 1e-9)
    reach = parameters["reach"] - math.log(2.5 * spread)
    slope, bend = parameters["slope"] + math.log(2 * spread), parameters["bend"] + math.log(3 * spread**2)
    value = 2.0 * reach**2 + 0.5 * (parameters["amplitude"] / 3) ** 2 + 0.5 * (parameters["known_reach"] / 1) ** 2
    value = (
        value + 0.5 * ((parameters["coupling"] + 1.2) / 1) ** 2 + 0.5 * ((parameters["known_amplitude"] + 1) / 1) ** 2
    )
    return value + 0.5 * ((slope / 2) ** 2 + (bend / 2) ** 2 + (parameters["noise"][1:] ** 2).sum())


def _evidence(data: Data, kernel: Kernel, noise: Tensor) -> Tensor:
    """Logarithm of the evidence with a flat prior on β (Rasmussen and Williams, equation 2.45)."""
    covariance = kernel(data.rows, data.rows) + torch.diag(noise + JITTER)
    root = torch.linalg.cholesky(covariance)
    both = torch.linalg.solve_triangular(root, torch.cat([data.means, data.values[:, None]], 1), upper=False)
    h, y = both[:, :-1], both[:, -1]
    gram = torch.linalg.cholesky(h.T @ h + 1e-9 * torch.eye(h.shape[1], dtype=h.dtype))
    fitted = torch.linalg.solve_triangular(gram, (h.T @ y)[:, None], upper=False)
    misfit = y @ y - (fitted**2).sum()
    return -0.5 * misfit - root.diagonal().log().sum() - gram.diagonal().log().sum()


def _full(kernel: Kernel, rows: Rows) -> Tensor:
    """``n``, prior variance of single values."""
    known = 1.0 if rows.known.shape[1] else 0.0
    of_design = kernel.between(rows.psi, rows.psi) * (1 + known * kernel.coupling**2)
    return known * kernel.known_amplitude**2 + of_design


@final
class Posterior:
    """What is known of ``J(ψ)``, up to a constant, after a fit.

    Args:
        data: of the fit.
        parameters: its hyperparameters.
        inducing: ``m`` row numbers.
    """

    def __init__(self, data: Data, parameters: dict[str, Tensor], inducing: Tensor) -> None:
        self.data, self.parameters, self.inducing = data, parameters, inducing
        self.kernel = kernel = _kernel(parameters)
        noise = _noise(parameters, data) + JITTER
        self.points = data.rows[inducing]
        within = kernel(self.points, self.points)
        self.whitening = torch.linalg.cholesky(within + JITTER * torch.eye(len(inducing), dtype=torch.float64))
        explained = self._white(kernel(data.rows, self.points))
        noise = noise + (_full(kernel, data.rows) - (explained**2).sum(1)).clamp_min(0.0)
        # One linear model: m coefficients with prior precision 1, and those of h with next to none.
        features = torch.cat([explained, data.means], 1)
        precision = features.T @ (features / noise[:, None])
        m = len(inducing)
        precision += torch.diag(torch.cat([torch.ones(m), torch.full((data.means.shape[1],), 1e-6)]).double())
        self.root = torch.linalg.cholesky(precision)
        right = features.T @ (data.values / noise)
        self.coefficients = torch.cholesky_solve(right[:, None], self.root)[:, 0]
        self.mean_known = kernel.of_known(self.points.known, data.rows.known).mean(1)
        self.both_known = self.mean_known.mean()  # over pairs of rows, the first of them inducing

    def state(self) -> dict[str, Any]:
        """What `of` needs to make it again, bit for bit."""
        data = self.data
        content = {"psi": data.rows.psi, "known": data.rows.known, "values": data.values, "variance": data.variance}
        return content | {"scales": list(data.scales), "parameters": self.parameters, "inducing": self.inducing}

    @classmethod
    def of(cls, state: dict[str, Any]) -> "Posterior":
        """From what `state` gave."""
        shift, scale, known_shift, known_scale, origin = state["scales"]
        scales = (shift, scale, known_shift, known_scale, origin)
        data = Data(Rows(state["psi"], state["known"]), state["values"], state["variance"], scales)
        return cls(data, state["parameters"], state["inducing"])

    def predict(self, psi: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of single values, noise included, at designs ``b x d`` with known inputs ``b x k``."""
        rows = self.data.rows_of(psi, known)
        fresh = Data(rows, torch.zeros(len(psi), dtype=torch.float64), None, self.data.scales)
        explained = self._white(self.kernel(rows, self.points))
        features = torch.cat([explained, fresh.means], 1)
        variance = self._variance(features) + (_full(self.kernel, rows) - (explained**2).sum(1)).clamp_min(0.0)
        variance = variance + _noise(self.parameters, fresh) * (self.data.variance is None) + JITTER
        return features @ self.coefficients * self.data.scale + self.data.shift, variance * self.data.scale**2

    def _white(self, covariance: Tensor) -> Tensor:
        """``b x m`` covariances with the inducing values to features with independent coefficients."""
        return torch.linalg.solve_triangular(self.whitening, covariance.T, upper=False).T

    def _variance(self, features: Tensor) -> Tensor:
        """Posterior variance of ``features · coefficients``."""
        return (torch.linalg.solve_triangular(self.root, features.T, upper=False) ** 2).sum(0)

    def _features(self, psi: Tensor) -> Tensor:
        """``b x m + h``: features of J at designs, averaged over the known inputs."""
        of_design = self.kernel.of_design(self.data.relative(psi), self.points.psi)
        coupled = of_design * (1 + self.kernel.coupling**2 * self.mean_known)
        white = self._white(coupled + self.kernel.known_amplitude**2 * self.mean_known)
        return torch.cat([white, self.data.means.mean(0).expand(len(psi), -1)], 1)

    def mean(self, psi: Tensor) -> Tensor:
        """Expected ``J``, ``b`` for ``b x d``; differentiable."""
        return self._features(psi) @ self.coefficients * self.data.scale + self.data.shift

    def difference_error(self, a: Tensor, b: Tensor) -> Tensor:
        """Standard deviation of ``J(a) − J(b)``, each ``b x d``, under the posterior."""
        difference = self._features(a) - self._features(b)
        of_design, here, there = self.kernel.between, self.data.relative(a), self.data.relative(b)
        prior = of_design(here, here) + of_design(there, there) - 2 * of_design(here, there)
        prior = prior * self._coupled()
        open_part = (prior - (difference**2).sum(1)).clamp_min(0.0)
        return (self._variance(difference) + open_part + TINY).sqrt() * self.data.scale

    def value_error(self, psi: Tensor) -> Tensor:
        """Standard deviation of ``J`` itself, ``b`` for ``b x d``."""
        features = self._features(psi)
        rows = self.data.relative(psi)
        prior = self.kernel.between(rows, rows) * self._coupled() + self.kernel.known_amplitude**2 * self.both_known
        open_part = (prior - (features[:, : len(self.inducing)] ** 2).sum(1)).clamp_min(0.0)
        return (self._variance(features) + open_part + TINY).sqrt() * self.data.scale

    def _coupled(self) -> Tensor:
        """``1 + c² ⟨k_x⟩``, averaged over pairs of known inputs."""
        return 1 + self.kernel.coupling**2 * self.both_known
