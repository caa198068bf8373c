"""A network that scores how well a truth and hits fit together, for bounds on their mutual information."""

from collections.abc import Callable
from typing import Any, NoReturn, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.reconstruction.base import Reconstruction
from mode_opt.reconstruction.beliefs import standardised
from mode_opt.reconstruction.inputs import StandardInputs
from mode_opt.reconstruction.network import multilayer


@final
class Scores(Distribution):
    """The scores T(x, hits) of a critic in the place of log-densities, which need not integrate to one.

    Args:
        embed: truth, ``... x t``, to ``... x (r + 1)``.
        seen: what the critic made of the hits, ``b x n x (r + 1)``.
        targets: ``t``.
    """

    def __init__(self, embed: Callable[[Tensor], Tensor], seen: Tensor, targets: int) -> None:
        super().__init__(seen.shape[:-1], torch.Size([targets]), validate_args=False)
        self.embed, self.seen = embed, seen

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Scores":
        return Scores(self.embed, self.seen.expand(*batch_shape, -1), self.event_shape[0])

    def log_prob(self, value: Tensor) -> Tensor:
        truth = self.embed(value)
        return (truth[..., :-1] * self.seen[..., :-1]).sum(-1) + truth[..., -1] + self.seen[..., -1]

    @property
    def mean(self) -> NoReturn:
        expected = "an objective that reads scores, such as contrastive_information: a critic makes no estimate"
        raise ConfigurationError("objective", "one that reads an estimate of the truth", expected)


@final
class Critic(Reconstruction):
    r"""Scores of pairs of truth and hits, which say nothing but how well these fit together.

    .. math:: T(x, h) = \sum_{m=1}^{r} u_m(x)\, v_m(h, \varphi) + a(x) + c(h, \varphi)

    with two multilayer perceptrons: (u, a) of the truth, standardised, and (v, c) of the hits (`StandardInputs`). It is
    trained by the bound itself (``reconstruction_goal: objective``, with `ContrastiveInformation`), and answers with
    `Scores`. For hits of a Gaussian channel r = 2 would do.

    Args:
        cells: ``h``, number of cells of an event.
        parameters: ``d``, number of design columns it is conditioned on.
        features: ``f``, features of a hit.
        targets: ``t``, truth features.
        rank: r.
        hidden: width of the hidden layers.
        depth: number of hidden layers.

    Raises:
        ConfigurationError: for sizes below one.

    Source: the form is the separable critic of B. Poole et al., ICML 2019, arXiv 1905.06922.
    """

    goals = ("objective",)

    truth_centre: Tensor
    truth_scale: Tensor

    def __init__(
        self,
        cells: int,
        parameters: int,
        features: int = 1,
        targets: int = 1,
        rank: int = 16,
        hidden: int = 32,
        depth: int = 2,
    ) -> None:
        super().__init__()
        for key, value in {"targets": targets, "rank": rank, "hidden": hidden, "depth": depth}.items():
            if value < 1:
                raise ConfigurationError(f"reconstruction.{key}", value, "at least 1")
        self.targets = targets
        self.inputs = StandardInputs(cells, parameters, range(features))
        self.register_buffer("truth_centre", torch.zeros(targets))
        self.register_buffer("truth_scale", torch.ones(targets))
        self.of_truth = multilayer(targets, hidden, depth, rank + 1)
        self.of_hits = multilayer(self.inputs.size, hidden, depth, rank + 1)
        for network in (self.of_truth, self.of_hits):  # where both are zero their product has no derivative
            last = network[-1]
            assert isinstance(last, nn.Linear)
            nn.init.xavier_uniform_(last.weight)

    @classmethod
    def fitting(cls, events: Events, phi: DesignPoint, **options: Any) -> "Critic":
        """The critic whose sizes fit these events and designs; ``options`` are those of the constructor."""
        _, _, cells, features = events.hits.shape
        sizes = {"cells": cells, "features": features, "targets": events.truth.shape[2]}
        critic = cls(parameters=phi.values.shape[1], **sizes, **options)
        critic.inputs.fit(events)
        every = torch.ones_like(events.weight, dtype=torch.bool)
        critic.truth_centre, critic.truth_scale = standardised(events.truth.detach(), every)
        return critic

    def embed(self, truth: Tensor) -> Tensor:
        """``u`` and ``a`` of a truth, ``... x t``."""
        embedded: Tensor = self.of_truth((truth - self.truth_centre) / self.truth_scale)
        return embedded

    def forward(self, events: Events, phi: DesignPoint) -> Distribution:
        return Scores(self.embed, self.of_hits(self.inputs(events, phi)), self.targets)
