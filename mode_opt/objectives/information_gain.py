r"""Expected information gain of an experiment whose likelihood is known, for Bayesian experimental design.

The gain is the mutual information of parameters x and outcomes h,
:math:`\langle \ln p(h|x, \phi) - \ln p(h|\phi)\rangle`. The evidence :math:`p(h|\phi)` is a mean over the prior, of
which there is a sample only: with the parameters behind h among them it comes out too large (prior contrastive
estimation, a lower bound of the gain), without them too small in its logarithm (nested Monte Carlo, an upper bound).
The two are a bracket.

Source: A. Foster et al., AISTATS 2020, arXiv 1911.00294; T. Rainforth et al., ICML 2018, arXiv 1709.06181.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives.base import Objective
from mode_opt.objectives.mutual_information import Pairs, info_nce, nested_monte_carlo
from mode_opt.objectives.reading import finite

LogLikelihood = Callable[[Tensor, Tensor], Tensor]
"""Outcomes ``n x k`` and parameters ``... x n x t`` to ``ln p``, ``... x n``."""


def prior_contrastive_gain(
    log_likelihood: LogLikelihood, outcomes: Tensor, parameters: Tensor, others: Tensor, by_score: bool = False
) -> Tensor:
    r"""Lower bound on the expected information gain, in nats.

    .. math:: \frac1n \sum_i \ln \frac{p(h_i|x_i)}{\frac{1}{L+1} \sum_{l=0}^{L} p(h_i|x_{il})}, \qquad x_{i0} = x_i

    Its expectation is below the gain and below :math:`\ln(L + 1)`, and rises to the gain with L.

    Args:
        log_likelihood: of outcomes given parameters; its derivative with respect to the design is followed.
        outcomes: ``n x k``, drawn with the parameters.
        parameters: ``n x t``, from the prior.
        others: ``L x n x t``, from the prior, independent of the outcomes.
        by_score: whether outcomes carry no derivative of their own (they were drawn, not reparametrised): then the
            derivative of their distribution is added by its score, with the mean gain as baseline, for which the
            likelihood must be that which they were drawn from. Otherwise derivatives pass through the outcomes.

    Returns:
        A scalar.

    Raises:
        NonFiniteError: if a likelihood is zero or not finite.
    """
    return info_nce(_pairs(log_likelihood, outcomes, parameters, others, by_score))


def nested_gain(
    log_likelihood: LogLikelihood, outcomes: Tensor, parameters: Tensor, others: Tensor, by_score: bool = False
) -> Tensor:
    r"""Upper bound on the expected information gain, in nats: as `prior_contrastive_gain`, without :math:`x_{i0}`.

    .. math:: \frac1n \sum_i \ln \frac{p(h_i|x_i)}{\frac{1}{L} \sum_{l=1}^{L} p(h_i|x_{il})}

    Its expectation is above the gain by about half the relative variance of the inner mean, of order 1/L: large where
    few of the others explain an outcome. Arguments, result and errors as there.
    """
    return nested_monte_carlo(_pairs(log_likelihood, outcomes, parameters, others, by_score))


def _pairs(
    log_likelihood: LogLikelihood, outcomes: Tensor, parameters: Tensor, others: Tensor, by_score: bool
) -> Pairs:
    outcomes = outcomes.detach() if by_score else outcomes
    joint = log_likelihood(outcomes, parameters)
    contrast = log_likelihood(outcomes, others).movedim(0, -1)
    # Weights of value one: normalised by their sum, their derivative is the score times the gain minus its mean.
    weight = torch.exp(joint - joint.detach()) if by_score else torch.ones_like(joint)
    return Pairs(joint, contrast, weight, torch.ones_like(contrast))


@final
class InformationGain(Objective):
    """``−`` the expected information gain about the truth, in nats, by the known likelihood of the hits.

    For simulators whose likelihood can be computed; the belief is not looked at. Each event is contrasted with the
    truths of the events that follow it, in a circle: they must be independent draws of the prior. Derivatives come
    through the likelihood, through the hits (pathwise) or through the weights (score function).

    Args:
        likelihood: events and designs to ``ln p(hits | truth, φ)``, ``b x n``.
        contrasts: L, other truths for each event; the lower bound cannot exceed ``ln(L + 1)``.
        bound: ``lower`` (prior contrastive) or ``upper`` (nested Monte Carlo); quote both.

    Raises:
        ConfigurationError: for an unknown bound or less than one contrast.
        NonFiniteError: when called, if there is a single event, none has weight or a likelihood is zero or infinite.
    """

    def __init__(
        self, likelihood: Callable[[Events, DesignPoint], Tensor], contrasts: int = 127, bound: str = "lower"
    ) -> None:
        super().__init__()
        if contrasts < 1:
            raise ConfigurationError("objective.contrasts", contrasts, "at least 1")
        if bound not in ("lower", "upper"):
            raise ConfigurationError("objective.bound", bound, "lower or upper")
        self.likelihood, self.contrasts, self.bound = likelihood, contrasts, bound

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        if events.count < 2:
            raise NonFiniteError("information needs events to contrast with: simulate at least two")
        shifts = range(1, min(self.contrasts, events.count - 1) + 1)
        others = [self.likelihood(replace(events, truth=events.truth.roll(-s, 1)), phi) for s in shifts]
        weight = [events.weight.roll(-s, 1) for s in shifts]
        joint = finite("the likelihood of the hits", self.likelihood(events, phi))
        pairs = Pairs(joint, torch.stack(others, -1), events.weight, torch.stack(weight, -1))
        return -(info_nce(pairs) if self.bound == "lower" else nested_monte_carlo(pairs))
