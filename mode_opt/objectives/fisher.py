r"""Fisher information of a differentiable model of the observables, and what it promises: the Cramér–Rao bound.

Source: R. A. Fisher, Phil. Trans. R. Soc. A 222 (1922) 309; C. R. Rao, Bull. Calcutta Math. Soc. 37 (1945) 81;
A. C. Atkinson, A. N. Donev and R. D. Tobias, Optimum Experimental Designs (2007), chapters 9-10.
"""

from collections.abc import Callable, Sequence
from typing import Final, final

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.func import jacrev, vmap

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError, ShapeError
from mode_opt.events import Events
from mode_opt.objectives.base import Objective
from mode_opt.objectives.reading import finite, positive
from mode_opt.objectives.weights import weighted_mean

Model = Callable[[Tensor], Tensor]
"""Parameters ``k`` to expected observables (or their variances) ``m``, by differentiable operations."""

CRITERIA: Final = ("A", "D")


def fisher_information(expected: Model, parameters: Tensor, variance: Model | Tensor | None = None) -> Tensor:
    r"""Fisher information of observables about the parameters of a model.

    With the Jacobian :math:`J_{ia} = \partial \lambda_i/\partial\theta_a` of the expected observables (`torch.func`):

    - counts, :math:`n_i \sim \text{Poisson}(\lambda_i)`: :math:`I_{ab} = \sum_i J_{ia} J_{ib}/\lambda_i`;
    - independent Gaussians of given variances v: :math:`I_{ab} = \sum_i J_{ia} J_{ib}/v_i`, and, if the variances are a
      function of the parameters, :math:`+ \tfrac12 \sum_i \partial_a \ln v_i\, \partial_b \ln v_i`;
    - Gaussians of a given covariance V: :math:`I = J^T V^{-1} J`.

    Information of independent measurements adds, and so does the inverse covariance of a prior. A bin with nothing
    expected and no derivative says nothing.

    Args:
        expected: parameters ``k`` to :math:`\lambda` ``m``.
        parameters: ``k``.
        variance: None for counts, ``m`` (or one number for all) or ``m x m`` for Gaussians,
            or a function of the parameters to ``m``.

    Returns:
        ``k x k`` in the dtype of the parameters. Its derivatives are those through ``expected`` and ``variance``.

    Raises:
        ShapeError: if the expected observables are no vector, or the variance does not fit to them.
        NonFiniteError: if a variance, or an expected count on which a parameter acts, is not positive.
    """
    information, lowest = _information(expected, parameters, variance)
    if not bool(lowest > 0):
        raise NonFiniteError("an expected count (or a variance) is not positive: no Fisher information")
    return information


def _information(expected: Model, parameters: Tensor, variance: Model | Tensor | None) -> tuple[Tensor, Tensor]:
    """The information, and the smallest variance that matters, without a decision, so that `vmap` can batch it."""
    slope, mean = jacrev(_twice(expected), has_aux=True)(parameters)
    if mean.ndim != 1:
        raise ShapeError("the expected observables", mean.shape, "m")
    more = slope.new_zeros(slope.shape[1], slope.shape[1])
    if callable(variance):
        growth, width = jacrev(_twice(variance), has_aux=True)(parameters)
        more = (growth / width.unsqueeze(1)).mT @ (growth / width.unsqueeze(1)) / 2
    else:
        width = mean if variance is None else variance
        width = width.expand(len(mean)) if width.numel() == 1 else width
    if width.shape not in ((len(mean),), (len(mean), len(mean))):
        raise ShapeError("variance", width.shape, f"{len(mean)} or {len(mean)} x {len(mean)}")
    if width.ndim == 2:
        factor, failed = torch.linalg.cholesky_ex(width)
        whitened = torch.linalg.solve_triangular(factor, slope, upper=False)
        return whitened.mT @ whitened, torch.where(failed > 0, -1.0, 1.0)
    silent = (width == 0) & (slope == 0).all(1) & (variance is None)
    width = torch.where(silent, 1.0, width)
    return slope.mT @ (slope / width.unsqueeze(1)) + more, width.min()


def _twice(model: Model) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The value once to be differentiated and once as it is."""

    def both(parameters: Tensor) -> tuple[Tensor, Tensor]:
        value = model(parameters)
        return value, value

    return both


def cramer_rao_bound(information: Tensor) -> Tensor:
    r"""The inverse information :math:`I^{-1}`: no unbiased estimate of the parameters has a smaller covariance.

    Args:
        information: ``... x k x k``; all others of the k parameters are taken as unknown (profiled).

    Returns:
        ``... x k x k``.

    Raises:
        NonFiniteError: if the information is singular: the observables do not determine all parameters.
    """
    return torch.cholesky_inverse(_factor(information))


def a_optimality(information: Tensor, scales: Tensor | None = None) -> Tensor:
    r""":math:`\operatorname{tr} I^{-1} = \sum_a \sigma_a^2/s_a^2`: the summed variances of all parameters.

    Args:
        information: ``... x k x k``.
        scales: ``k``, what counts as one of each parameter (units!); None: 1.

    Returns:
        ``...``.

    Raises:
        NonFiniteError: if the information is singular.
    """
    variances = cramer_rao_bound(information).diagonal(dim1=-2, dim2=-1)
    return (variances if scales is None else variances / scales**2).sum(-1)


def d_optimality(information: Tensor) -> Tensor:
    r""":math:`-\ln\det I`: twice the logarithm of the volume of the error ellipsoid. Other units only shift it.

    Args:
        information: ``... x k x k``.

    Returns:
        ``...``.

    Raises:
        NonFiniteError: if the information is singular.
    """
    return -2 * _factor(information).diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _factor(information: Tensor) -> Tensor:
    """Cholesky factor of matrices that are scaled to a unit diagonal first: parameters have units."""
    finite("the Fisher information", information)
    size = information.detach().diagonal(dim1=-2, dim2=-1)
    unit = torch.where(size > 0, size, torch.ones_like(size)).sqrt()
    scaled = information / unit.unsqueeze(-1) / unit.unsqueeze(-2)
    factor, failed = torch.linalg.cholesky_ex(scaled)
    pivot = factor.detach().diagonal(dim1=-2, dim2=-1).amin()
    if bool((failed > 0).any()) or not bool(pivot**2 > 8 * torch.finfo(factor.dtype).eps):
        raise NonFiniteError("the Fisher information is singular: the observables do not determine all parameters")
    return factor * unit.unsqueeze(-1)


@final
class CramerRao(Objective):
    r"""The Cramér–Rao bound of the truth, averaged over the events: the best that any reconstruction can do.

    The truth features x of an event are the parameters, of which a model gives the expected observables:

    .. math:: J = \langle \operatorname{tr}\, S\, I(x_i, \phi)^{-1} S\rangle \quad\text{(A)},
        \qquad J = -\langle \ln\det I(x_i, \phi)\rangle \quad\text{(D)}, \qquad S = \operatorname{diag}(1/s)

    Neither hits nor belief are looked at: it is an objective for a first design, before a simulation. The mean of a
    bound for each value of the truth holds for estimates that are unbiased at each value.

    Args:
        expected: truth ``t`` of one event and one design (``phi[name]`` is ``1 x ...``) to the expected observables
            ``m``, in differentiable operations that `torch.func` can batch.
        variance: None for counts, or the variances of Gaussian observables: one number for all, ``m`` numbers, or a
            function as ``expected``.
        criterion: ``A`` or ``D``.
        scales: for A, what counts as one of each truth feature, in field units; one number is for all.
        prior: standard deviations of what is known beforehand, in field units, one per feature; None: nothing.

    Raises:
        ConfigurationError: for an unknown criterion, or variances, scales or a prior that are not positive.
        ShapeError: when called, if the shapes of model, variance, scales or prior do not fit.
        NonFiniteError: when called, if no event has weight, an expected count is not positive or the information of
            an event is singular.
    """

    def __init__(
        self,
        expected: Callable[[Tensor, DesignPoint], Tensor],
        variance: Callable[[Tensor, DesignPoint], Tensor] | Sequence[float] | float | None = None,
        criterion: str = "A",
        scales: Sequence[float] = (1.0,),
        prior: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if criterion not in CRITERIA:
            raise ConfigurationError("objective.criterion", criterion, " or ".join(CRITERIA))
        if not (variance is None or callable(variance)):
            values = [variance] if isinstance(variance, int | float) else variance
            variance = [positive("objective.variance", float(value)) for value in values]
        self.expected, self.variance, self.criterion = expected, variance, criterion
        self.scales = [positive("objective.scales", float(scale)) for scale in scales]
        self.prior = None if prior is None else [positive("objective.prior", float(width)) for width in prior]

    @property
    def additive(self) -> bool:
        return True

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        truth = events.truth
        found = [self._of_design(truth[k].double(), phi.design(k)) for k in range(events.designs)]
        information = torch.stack(found) + self._known(truth.double())
        if self.criterion == "D":
            value = d_optimality(information)
        else:
            value = a_optimality(information, truth.new_tensor(self.scales, dtype=torch.float64))
        return weighted_mean(value.to(truth.dtype), events.weight)

    def _of_design(self, truth: Tensor, phi: DesignPoint) -> Tensor:
        """Information of each event, ``n x t x t``."""

        def expected(x: Tensor) -> Tensor:
            return self.expected(x, phi)

        def one(x: Tensor) -> tuple[Tensor, Tensor]:
            return _information(expected, x, self._variance(x, phi))

        information, lowest = vmap(one)(truth)
        if not bool((lowest > 0).all()):
            raise NonFiniteError("an expected count (or a variance) is not positive: no Fisher information")
        return information

    def _variance(self, x: Tensor, phi: DesignPoint) -> Model | Tensor | None:
        variance = self.variance
        if callable(variance):
            return lambda y: variance(y, phi)
        return None if variance is None else x.new_tensor(variance)

    def _known(self, truth: Tensor) -> Tensor:
        features = truth.shape[-1]
        for name, given in (("scales", self.scales), ("prior", self.prior)):
            if given is not None and len(given) != features and not (name == "scales" and len(given) == 1):
                raise ShapeError(f"objective.{name}", (len(given),), f"a number for each of {features} truth features")
        return torch.diag(truth.new_tensor(self.prior) ** -2.0) if self.prior else truth.new_zeros(features, features)
