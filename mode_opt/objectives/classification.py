r"""How well a score tells two classes apart."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, final

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent
from torch.nn.functional import softplus

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives.base import Objective
from mode_opt.objectives.reading import classes, finite, known_source, positive, read
from mode_opt.objectives.weights import weighted_mean

STEPS = ("normal", "logistic")
PAIRS_AT_A_TIME: Final = 2**22
SMALLEST_SLOPE: Final = 1e-6
"""Of a smooth selection, per width: a gap between scores much wider than the width does not fix the cut inside it."""


def smooth_step(x: Tensor, kind: str = "normal") -> Tensor:
    r"""A step from 0 to 1 of width one: :math:`\Phi(x)` (``normal``) or :math:`1/(1 + e^{-x})` (``logistic``)."""
    return torch.special.ndtr(x) if kind == "normal" else torch.sigmoid(x)


def smooth_area(
    signal: Tensor,
    background: Tensor,
    signal_weight: Tensor,
    background_weight: Tensor,
    width: float,
    kind: str = "normal",
) -> Tensor:
    r"""Smooth area under the receiver operating characteristic: how often signal scores above background.

    .. math:: A = \frac{\sum_{ij} w_i v_j\, K((x_i - y_j)/t)}{\sum_i w_i \sum_j v_j}

    the Wilcoxon–Mann–Whitney statistic with a smooth step K for the sharp one (a tie counts 1/2). For scores
    :math:`N(d, 1)` against :math:`N(0, 1)` and the normal step it is :math:`\Phi(d/\sqrt{2 + t^2})`; the width biases
    it towards 1/2, at second order in t. Pairs are formed in blocks, so that memory without derivatives is bounded.

    Args:
        signal: ``n`` scores x.
        background: ``m`` scores y.
        signal_weight: ``n``, w.
        background_weight: ``m``, v.
        width: t, in units of the score.
        kind: ``normal`` or ``logistic``.

    Returns:
        A scalar.

    Source: L. Yan et al., "Optimizing classifier performance via an approximation to the Wilcoxon–Mann–Whitney
    statistic", ICML 2003.
    """
    total, share = signal.new_zeros(()), background_weight / background_weight.sum()
    rows = max(1, PAIRS_AT_A_TIME // max(1, background.numel()))
    for x, w in zip(signal.split(rows), signal_weight.split(rows), strict=True):
        above = smooth_step((x.unsqueeze(1) - background) / width, kind)
        total = total + (w * (above @ share)).sum()
    return total / signal_weight.sum()


def soft_threshold(scores: Tensor, weight: Tensor, accepted: float, width: float, kind: str = "normal") -> Tensor:
    r"""The cut c above which a smooth selection keeps a given share of the weight.

    c solves :math:`F(c) = \sum_i w_i K((x_i - c)/t)/\sum_i w_i = \beta`. It is found by bisection without derivatives;
    one Newton step with its slope held fixed, :math:`c - (F(c) - \beta)/F'(c)`, gives the derivatives of the implicit
    function theorem, :math:`\partial c = -\partial F/F'(c)`, with respect to scores and weights.

    Args:
        scores: ``n``.
        weight: ``n``, not negative.
        accepted: :math:`\beta` in (0, 1).
        width: t, in units of the score.
        kind: ``normal`` or ``logistic``.

    Returns:
        A scalar, in double precision.
    """
    x, w = scores.double(), weight.double()
    share = w / w.sum()

    def passing(cut: Tensor) -> Tensor:
        return (share * smooth_step((x - cut) / width, kind)).sum()

    with torch.no_grad():
        cut = _bisect(passing, x.min() - 40 * width, x.max() + 40 * width, accepted)
        z = (x - cut) / width
        normal = torch.exp(-(z**2) / 2) / (2 * torch.pi) ** 0.5
        bell = normal if kind == "normal" else torch.sigmoid(z) * torch.sigmoid(-z)
        slope = ((share * bell).sum() / width).clamp_min(SMALLEST_SLOPE / width)
    return cut + (passing(cut) - accepted) / slope


def _bisect(falling: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, level: float) -> Tensor:
    """Where a falling function passes a level, to the last digit."""
    for _ in range(80):
        middle = (low + high) / 2
        above = falling(middle) > level
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (low + high) / 2


def signal_efficiency(
    signal: Tensor,
    background: Tensor,
    signal_weight: Tensor,
    background_weight: Tensor,
    accepted: float,
    width: float,
    kind: str = "normal",
) -> Tensor:
    r"""Share of the signal that passes the cut which keeps a given share :math:`\beta` of the background.

    .. math:: \varepsilon = \sum_i w_i K((x_i - c)/t) / \sum_i w_i,
        \qquad c: \sum_j v_j K((y_j - c)/t) / \sum_j v_j = \beta

    For scores :math:`N(d, 1)` against :math:`N(0, 1)` and the normal step it is
    :math:`\Phi(d/\sqrt{1 + t^2} + \Phi^{-1}(\beta))`. Derivatives pass through the cut (`soft_threshold`).

    Args:
        signal: ``n`` scores x.
        background: ``m`` scores y.
        signal_weight: ``n``, w.
        background_weight: ``m``, v.
        accepted: :math:`\beta` in (0, 1).
        width: t, in units of the score.
        kind: ``normal`` or ``logistic``.

    Returns:
        A scalar, in double precision.
    """
    cut = soft_threshold(background, background_weight, accepted, width, kind)
    return weighted_mean(smooth_step((signal.double() - cut) / width, kind), signal_weight.double())


class _TwoClasses(Objective, ABC):
    """Reads one score of each event and hands signal and background of each design to `value`."""

    def __init__(self, source: str, feature: int, target: int, boundary: float, width: float, kind: str) -> None:
        super().__init__()
        if kind not in STEPS:
            raise ConfigurationError("objective.kind", kind, " or ".join(STEPS))
        self.source, self.feature = known_source("objective.source", source), feature
        self.target, self.boundary = target, boundary
        self.width, self.kind = positive("objective.width", width), kind

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        score = finite("the score", read(events, belief, self.source, [self.feature])[..., 0])
        signal = classes(events, self.target, self.boundary)
        pairs = zip(score, events.weight, signal, strict=True)
        values = [self.value(x[s], x[~s], w[s], w[~s]).to(x.dtype) for x, w, s in pairs]
        return torch.stack(values)

    @abstractmethod
    def value(self, signal: Tensor, background: Tensor, signal_weight: Tensor, background_weight: Tensor) -> Tensor:
        """The objective of one design, from the scores and weights of its classes."""


@final
class AreaUnderCurve(_TwoClasses):
    """``1 − A``, the probability that a background event scores above a signal event (`smooth_area`).

    Classes are normalised separately, so that their mixture in the sample does not matter. A monotonous transformation
    of the score changes nothing but what the width means.

    Args:
        source: the score is a feature of ``belief`` (its mean), ``hits`` (the first one) or ``truth``.
        feature: index of that feature.
        target: index of the truth feature that tells signal from background.
        boundary: signal are the events in which that feature is above this value.
        width: of the smooth step, in units of the score: 0.1 of its spread is small.
        kind: of the step, ``normal`` or ``logistic``.

    Raises:
        ConfigurationError: for an unknown source or kind, or a width that is not positive.
        NonFiniteError: when called, if a class has no event with weight or a score is not finite.
    """

    def __init__(
        self,
        source: str = "belief",
        feature: int = 0,
        target: int = 0,
        boundary: float = 0.5,
        width: float = 0.1,
        kind: str = "normal",
    ) -> None:
        super().__init__(source, feature, target, boundary, width, kind)

    def value(self, signal: Tensor, background: Tensor, signal_weight: Tensor, background_weight: Tensor) -> Tensor:
        return 1 - smooth_area(signal, background, signal_weight, background_weight, self.width, self.kind)


@final
class SignalLoss(_TwoClasses):
    """``1 − ε``, the share of the signal lost at a fixed share of the background (`signal_efficiency`).

    Args:
        accepted: share of the background that passes, in (0, 1). A sample of n background events knows the cut to
            a relative error of the share of about ``1/√(n · accepted)``.
        source: the score is a feature of ``belief`` (its mean), ``hits`` (the first one) or ``truth``.
        feature: index of that feature.
        target: index of the truth feature that tells signal from background.
        boundary: signal are the events in which that feature is above this value.
        width: of the smooth cut, in units of the score: 0.1 of its spread is small.
        kind: of the cut, ``normal`` or ``logistic``.

    Raises:
        ConfigurationError: for an unknown source or kind, a width that is not positive, a share outside (0, 1).
        NonFiniteError: when called, if a class has no event with weight or a score is not finite.
    """

    def __init__(
        self,
        accepted: float = 0.1,
        source: str = "belief",
        feature: int = 0,
        target: int = 0,
        boundary: float = 0.5,
        width: float = 0.1,
        kind: str = "normal",
    ) -> None:
        super().__init__(source, feature, target, boundary, width, kind)
        if not 0 < accepted < 1:
            raise ConfigurationError("objective.accepted", accepted, "a share between 0 and 1")
        self.accepted = accepted

    def value(self, signal: Tensor, background: Tensor, signal_weight: Tensor, background_weight: Tensor) -> Tensor:
        arguments = signal, background, signal_weight, background_weight
        return 1 - signal_efficiency(*arguments, self.accepted, self.width, self.kind)


@final
class CrossEntropy(Objective):
    r"""Weighted cross-entropy of a score against a label, in nats.

    .. math:: J = \langle \ln(1 + e^{z}) - y z \rangle

    with the label y (1 for signal), the logit z of the probability of signal, and the weighted mean over all events,
    or, if ``balanced``, the mean of the two class means: then the mixture in the sample does not matter. At its
    minimum z is the logarithm of the density ratio of the classes plus that of their shares. With a Bernoulli belief
    and ``balanced: false`` it is the loss that trains the reconstruction.

    Args:
        source: where z comes from: ``belief``, whose features must be Bernoulli variables (`Verdict`), or a feature of
            the first of the ``hits``, read as a logit.
        feature: index of that feature.
        target: index of the truth feature that tells signal from background.
        boundary: signal are the events in which that feature is above this value.
        balanced: whether both classes count the same.

    Raises:
        ConfigurationError: for another source; when called, if the belief has no Bernoulli variables.
        NonFiniteError: when called, if nothing (``balanced``: nothing of a class) has weight or z is not finite.
    """

    def __init__(
        self,
        source: str = "belief",
        feature: int = 0,
        target: int = 0,
        boundary: float = 0.5,
        balanced: bool = True,
    ) -> None:
        super().__init__()
        if source not in ("belief", "hits"):
            raise ConfigurationError("objective.source", source, "belief or hits")
        self.source, self.feature, self.target, self.boundary = source, feature, target, boundary
        self.balanced = balanced

    @property
    def additive(self) -> bool:
        return not self.balanced

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        z = finite("the logit", self._logits(events, belief))
        if not self.balanced:
            label = (events.truth[..., self.target] > self.boundary).to(z.dtype)
            return weighted_mean(softplus(z) - label * z, events.weight)
        signal = classes(events, self.target, self.boundary)
        means = (weighted_mean(softplus(side), events.weight * s) for side, s in ((-z, signal), (z, ~signal)))
        return sum(means, torch.zeros_like(z[:, 0])) / 2

    def _logits(self, events: Events, belief: Distribution) -> Tensor:
        if self.source == "hits":
            return read(events, belief, "hits", [self.feature])[..., 0]
        base = belief.base_dist if isinstance(belief, Independent) else belief
        if not isinstance(base, Bernoulli):
            found = type(base).__name__
            raise ConfigurationError("objective.source", f"a {found} belief", "Bernoulli variables (Verdict), or hits")
        return base.logits[..., self.feature]
