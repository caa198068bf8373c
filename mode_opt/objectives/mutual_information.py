r"""Bounds on the mutual information of truth and hits, from the scores that a critic gives to pairs.

A critic T(x, h) scores how well a truth x and the hits h fit together. The bounds compare its scores of pairs that
belong together with those of pairs that do not: another event's truth or hits. With :math:`\langle\cdot\rangle_1` the
mean over events and :math:`\langle\cdot\rangle_0` that over pairs of different events:

============================ ========================================================== ============================
bound                        value                                                      best critic
============================ ========================================================== ============================
`info_nce`                   :math:`\langle T - \ln \overline{e^T}\rangle_1`            ln p(x|h)/p(x) + c(x) (*)
`nguyen_wainwright_jordan`   :math:`\langle T\rangle_1 - \langle e^{T-1}\rangle_0`      1 + ln p(x|h)/p(x)
`donsker_varadhan`           :math:`\langle T\rangle_1 - \ln\langle e^T\rangle_0`       ln p(x|h)/p(x) + c
============================ ========================================================== ============================

(*) if the pairs of an event keep its truth and take the hits of others, as in `ContrastiveInformation`; c(h) otherwise.

Source: B. Poole et al., ICML 2019, arXiv 1905.06922; D. McAllester and K. Stratos, AISTATS 2020, arXiv 1811.04251.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError, ShapeError
from mode_opt.events import Events
from mode_opt.objectives.base import Objective
from mode_opt.objectives.reading import finite
from mode_opt.objectives.weights import weighted_mean


class Pairs(NamedTuple):
    """Scores of a critic.

    Attributes:
        joint: ``... x n``, of the pairs that belong together.
        others: ``... x n x k``, of k pairs of each event with others.
        weight: ``... x n``, of the events.
        other_weight: ``... x n x k``, of the others.
    """

    joint: Tensor
    others: Tensor
    weight: Tensor
    other_weight: Tensor


def pairs_of(scores: Tensor, weight: Tensor) -> Pairs:
    """All pairs of a batch: ``scores[..., i, j]`` is that of the truth of event i with the hits of event j (or v. v.).

    Args:
        scores: ``... x n x n``.
        weight: ``... x n``.

    Raises:
        ShapeError: if the scores are not square, or there is a single event.
    """
    n = scores.shape[-1]
    if scores.ndim < 2 or scores.shape[-2] != n or n < 2:
        raise ShapeError("scores", scores.shape, "... x n x n with n of at least 2")
    off = ~torch.eye(n, dtype=torch.bool, device=scores.device)

    def others(matrix: Tensor) -> Tensor:
        return matrix.expand(*scores.shape)[..., off].unflatten(-1, (n, n - 1))

    return Pairs(scores.diagonal(dim1=-2, dim2=-1), others(scores), weight, others(weight.unsqueeze(-2)))


def info_nce(pairs: Pairs) -> Tensor:
    r"""The bound of noise-contrastive estimation, in nats.

    .. math:: \frac{\sum_i w_i \left[T_{ii} - \ln \frac{\sum_j w_j e^{T_{ij}}}{\sum_j w_j}\right]}{\sum_i w_i},
        \qquad j = i \text{ and } k \text{ others}

    Its expectation is never above the mutual information, for any critic (that is not fitted to the same events), nor
    above :math:`\ln(k + 1)`: its bias is small while the information is below about :math:`\ln(k + 1) - 1` and is all
    that exceeds :math:`\ln(k + 1)` far above it. Its variance is the lowest of the three.

    Returns:
        ``...``.

    Raises:
        NonFiniteError: if no event has weight or a score is not finite.

    Source: A. van den Oord et al., arXiv 1807.03748 (2018).
    """
    joint, others, weight, other_weight = _finite(pairs)
    everything = torch.cat([joint.unsqueeze(-1), others], -1)
    every_weight = torch.cat([weight.unsqueeze(-1), other_weight], -1)
    # An event without weight is no contrast to itself; where all of them have none it does not count.
    dead = every_weight.sum(-1, keepdim=True) == 0
    return weighted_mean(joint - _log_mean(everything, torch.where(dead, 1.0, every_weight)), weight)


def nested_monte_carlo(pairs: Pairs) -> Tensor:
    r"""As `info_nce` without the pair of an event itself among its contrasts, in nats.

    .. math:: \frac{\sum_i w_i \left[T_{ii} - \ln \frac{\sum_{j \ne i} w_j e^{T_{ij}}}{\sum_{j \ne i} w_j}\right]}
        {\sum_i w_i}

    With scores that are exact log-likelihoods its expectation is never below the mutual information: above it by about
    half the relative variance of the mean under the logarithm. With other scores it bounds nothing.

    Returns:
        ``...``.

    Raises:
        NonFiniteError: if no event has weight, an event with weight has no other with weight, or a score is not finite.
    """
    pairs = _finite(pairs)
    return weighted_mean(pairs.joint - _log_contrast(pairs), pairs.weight)


def nguyen_wainwright_jordan(pairs: Pairs) -> Tensor:
    r"""The bound :math:`\langle T\rangle_1 - \langle e^{T-1}\rangle_0`, in nats.

    Unbiased as a bound: its expectation is never above the mutual information, for any critic and any number of pairs,
    and reaches it for the best one. Its variance grows like :math:`e^I/k`: above a few nats single values say nothing.

    Returns:
        ``...``.

    Raises:
        NonFiniteError: if no event or pair has weight or a score is not finite.

    Source: X. Nguyen, M. Wainwright and M. Jordan, IEEE Trans. Inf. Theory 56 (2010) 5847, arXiv 0809.0853.
    """
    pairs = _finite(pairs)
    return weighted_mean(pairs.joint, pairs.weight) - torch.exp(_log_partition(pairs) - 1)


def donsker_varadhan(pairs: Pairs, running: Tensor | None = None) -> Tensor:
    r"""The representation :math:`\langle T\rangle_1 - \ln\langle e^T\rangle_0`, in nats (MINE).

    With expectations it is a lower bound; with the mean of a batch under the logarithm it is none: the concave
    logarithm biases it upward by about half the relative variance of that mean, which grows like :math:`e^I/n`. The
    gradient :math:`-\langle e^T \partial T\rangle_0/\langle e^T\rangle_0` of a batch is biased for the same reason;
    with ``running`` the denominator is an average over earlier batches (`running_partition`), nearly free of it.

    Args:
        pairs: the scores.
        running: ``...``, logarithm of the running average of :math:`\langle e^T\rangle_0`; changes the derivative only.

    Returns:
        ``...``.

    Raises:
        NonFiniteError: if no event or pair has weight or a score is not finite.

    Source: M. Belghazi et al., ICML 2018, arXiv 1801.04062.
    """
    pairs = _finite(pairs)
    joint, partition = weighted_mean(pairs.joint, pairs.weight), _log_partition(pairs)
    if running is None:
        return joint - partition
    pull = torch.exp(partition - running.detach())
    return joint - partition.detach() - (pull - pull.detach())


def running_partition(pairs: Pairs, running: Tensor | None = None, rate: float = 0.1) -> Tensor:
    r"""Exponential average :math:`(1 - r) \bar Z + r \langle e^T\rangle_0` for `donsker_varadhan`, as a logarithm.

    Args:
        pairs: the scores of this batch.
        running: that of the batches before, or None.
        rate: r in (0, 1], of which ``1/r`` is the number of batches that it remembers.

    Returns:
        ``...``, without derivative.
    """
    with torch.no_grad():
        now = _log_partition(pairs)
        if running is None:
            return now
        keep, take = now.new_tensor(1 - rate).log(), now.new_tensor(rate).log()
        return torch.logaddexp(running + keep, now + take)


def _finite(pairs: Pairs) -> Pairs:
    finite("the scores of the pairs", pairs.joint)
    finite("the scores of the pairs", pairs.others)
    return pairs


def _log_mean(scores: Tensor, weight: Tensor) -> Tensor:
    """``ln Σ w e^T / Σ w`` over the last dimension; weights may be 0 and still have derivatives."""
    top = scores.detach().amax(-1, keepdim=True)
    return top.squeeze(-1) + torch.log((weight * torch.exp(scores - top)).sum(-1) / weight.sum(-1))


def _log_contrast(pairs: Pairs) -> Tensor:
    """``ln Σ_j w_j e^T / Σ_j w_j`` over the others of each event, ``... x n``."""
    alone = pairs.other_weight.sum(-1, keepdim=True) == 0
    if bool((alone.squeeze(-1) & (pairs.weight != 0)).any()):
        raise NonFiniteError("an event has no other with weight to contrast with: simulate more events")
    return _log_mean(pairs.others, torch.where(alone, 1.0, pairs.other_weight))


def _log_partition(pairs: Pairs) -> Tensor:
    """``ln⟨e^T⟩₀``; a pair has the product of the weights of its events."""
    weight = (pairs.weight.unsqueeze(-1) * pairs.other_weight).flatten(-2)
    if bool((weight.sum(-1) == 0).any()):
        raise NonFiniteError("a mean over pairs of events has no pair with weight: simulate more events")
    return _log_mean(pairs.others.flatten(-2), weight)


BOUNDS: Mapping[str, Callable[[Pairs], Tensor]] = {
    "info_nce": info_nce,
    "nguyen_wainwright_jordan": nguyen_wainwright_jordan,
    "donsker_varadhan": donsker_varadhan,
}
"""Lower bounds by name."""


@final
class ContrastiveInformation(Objective):
    r"""``−I``: minus a lower bound on the mutual information of truth and hits, in nats.

    The critic is the density of the belief, :math:`T(x, h) = \ln q(x | h, \phi)`, so that nothing new is trained. Each
    event keeps its truth and is contrasted with the hits of k others (`info_nce`):

    .. math:: J = -\Big\langle \ln \frac{q(x_i | h_i)}{\frac{1}{k+1} \sum_{j} q(x_i | h_j)} \Big\rangle_i

    where the sum is an estimate of the density that the beliefs give to :math:`x_i` altogether: the prior cancels, and
    needs not be known. For any belief that was not fitted to these events this is a lower bound in expectation, at most
    :math:`\ln(k + 1)`; for the exact posterior it tends to the information as k grows.

    `PosteriorBound` differs from the information by the entropy of the primaries; where their distribution depends on
    the design, or where nats are to be quoted, this one is the right one. At fixed weights of a reconstruction that is
    trained with `PosteriorBound` its design gradient is exact where the belief is the exact posterior.

    With a critic of its own (``reconstruction: critic``, ``reconstruction_goal: objective``) the bound that trains it
    is the objective: at its maximum over the critic the design gradient is exact, whatever the posterior looks like.
    Then there are two further ones: ``nguyen_wainwright_jordan``, without the limit of ln(k + 1) and with a spread that
    grows like e^I, and ``donsker_varadhan`` (MINE), which is biased upward by about half the relative variance of its
    mean over pairs: trust it where I is small against ln n. As critic for these a density is poor, because it lacks
    that of the truth itself.

    The others of event i are the k that follow it, in a circle. Events must be independent of each other.

    Args:
        contrasts: k; 3.5 nats need about 100 (``ln(k + 1) > I + 1``). The effort is k evaluations of the belief.
        bound: ``info_nce``, ``nguyen_wainwright_jordan`` or ``donsker_varadhan``.

    Raises:
        ConfigurationError: if there is less than one contrast, or for an unknown bound.
        NonFiniteError: when called, if there is a single event, none has weight or a density is 0 or infinite.
    """

    def __init__(self, contrasts: int = 127, bound: str = "info_nce") -> None:
        super().__init__()
        if bound not in BOUNDS:
            raise ConfigurationError("objective.bound", bound, f"one of {', '.join(BOUNDS)}")
        self.bound = bound
        if contrasts < 1:
            raise ConfigurationError("objective.contrasts", contrasts, "at least 1")
        self.contrasts = contrasts

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        if events.count < 2:
            raise NonFiniteError("information needs events to contrast with: simulate at least two")
        shifts = range(1, min(self.contrasts, events.count - 1) + 1)
        # q(x_i | h_{i+s}) is the density at position i + s of the truth that is moved there, moved back.
        moved = [belief.log_prob(events.truth.roll(s, 1)).roll(-s, 1) for s in shifts]
        weight = [events.weight.roll(-s, 1) for s in shifts]
        pairs = Pairs(belief.log_prob(events.truth), torch.stack(moved, -1), events.weight, torch.stack(weight, -1))
        return -BOUNDS[self.bound](pairs)
