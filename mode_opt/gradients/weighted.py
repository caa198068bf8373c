"""Estimators that put the derivative into the weights of the events."""

from abc import abstractmethod
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.events import Events
from mode_opt.gradients.base import GradientEstimator, Score
from mode_opt.gradients.variates import explained, features_of_primaries
from mode_opt.simulation import Simulator


class WeightedEstimator(GradientEstimator):
    """An estimator that puts the derivative into the weights of the events.

    `events` returns events whose weights have the right derivative: the weight of a drawn event has the value 1
    and the derivative of its log-probability, or alternative events join with weights of value 0 and the
    derivative that their outcome deserves. Every objective that is computed with weights then has its gradient,
    populations included; what acts through continuous hits adds up in the same graph.

    Control variates lower the noise: from ``J`` is subtracted ``Σ w_i γ_i·c_i / Σ w``, whose expectation does not
    depend on the design. The c are the recorded controls of the choices (mean zero at every design) and, with
    ``learned``, functions of the primaries (their mean is subtracted). The coefficients γ_i come from a regression
    of the influence of the events on their c that leaves event i out, so that they do not know the event they are
    used for; with too few events nothing is subtracted.

    Args:
        controls: whether to use the recorded controls.
        learned: whether to use a network of the primaries.
        centred: whether the mean that an average subtracts by its normalisation stays subtracted.
    """

    def __init__(self, controls: bool, learned: bool = False, centred: bool = True) -> None:
        self.controls, self.learned, self.centred = controls, learned, centred

    @abstractmethod
    def events(
        self, simulator: Simulator, phi: DesignPoint, primaries: Events, generator: torch.Generator | None
    ) -> Events:
        """Events of one design whose weights, and perhaps hits, carry d/dφ.

        The first are those of the primaries, in their order; alternatives follow in groups of the same number and
        order.
        """

    @abstractmethod
    def factor(self, weight: Tensor) -> Tensor | float:
        """By how much the derivative of each of the weights ``1 x m`` is to be scaled inside an average over all."""

    @final
    def loss(
        self,
        simulator: Simulator,
        design: Design,
        primaries: Events,
        score: Score,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        phi = design()
        events = self.events(simulator, phi, primaries, generator)
        constant = events.weight.detach()
        scaled = constant + self.factor(constant) * (events.weight - constant)
        value = score(replace(events, weight=scaled), phi)
        if not self.centred:
            value = value + value.detach() * (events.weight.sum() / constant.sum() - 1)
        columns = self._columns(events, primaries)
        if columns is None or not (scaled.requires_grad and value.requires_grad):
            return value.mean()
        (influence,) = torch.autograd.grad(value.sum(), scaled, retain_graph=True, allow_unused=True)
        if influence is None:
            return value.mean()  # an objective of the design alone
        fitted = explained(influence[0, : primaries.count] * constant.sum(), columns, primaries.count)
        if fitted is None:
            return value.mean()
        return value.mean() - (events.weight[0] * fitted).sum() / constant.sum()

    def _columns(self, events: Events, primaries: Events) -> Tensor | None:
        """Control variates of every event, ``m x c``."""
        columns = []
        if self.controls and events.controls is not None:
            columns.append(events.controls[0])
        if self.learned:
            learned = features_of_primaries(primaries)
            columns.append(learned.repeat(events.count // primaries.count, 1))
        return torch.cat(columns, 1) if columns else None


def without_itself(weight: Tensor) -> Tensor:
    """``1/(1 − w_i/Σw)``: an event's distance from the mean of all, times this, is that from the mean of the others.

    An event without others (of weight 0) keeps the factor 1.
    """
    others = weight.sum(-1, keepdim=True) - weight
    return torch.where(others > 0, weight.sum(-1, keepdim=True) / others, torch.ones_like(weight))
