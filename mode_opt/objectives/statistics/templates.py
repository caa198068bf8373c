"""The likelihood of an experiment from its simulated events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives.statistics.building import Channel, Sample, build
from mode_opt.objectives.statistics.histograms import histogram
from mode_opt.objectives.statistics.model import Model
from mode_opt.objectives.statistics.modifiers import HistoSys, Modifier, NormFactor, NormSys, StatError

NAMES = ("signal", "background")


@dataclass(frozen=True)
class Variation:
    r"""A systematic uncertainty of the shape of one class or both: what it does at ±1 standard deviation.

    The observable becomes :math:`x (1 \pm \text{scale}) \pm \text{shift}`, or is read from other hit features; the
    weights are multiplied with hit features. The yield of the class may change with the weights, not with x.

    Attributes:
        of: ``signal``, ``background``, or ``both`` (with one common parameter).
        shift: added to the observable, in its unit.
        scale: relative change of the observable.
        features: features of the first hit that hold the observable at −1 and at +1.
        weights: features of the first hit with the factors of the weight at −1 and at +1.
    """

    of: Literal["signal", "background", "both"] = "background"
    shift: float = 0.0
    scale: float = 0.0
    features: tuple[int, int] | None = None
    weights: tuple[int, int] | None = None

    def concerns(self, name: str) -> bool:
        return self.of in (name, "both")

    def at(self, sign: int, events: Events, values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Observable and weights at −1 or +1, ``b x n`` each."""
        column = (sign + 1) // 2
        if self.features is not None:
            values = events.hits[:, :, 0, self.features[column]].double()
        if self.weights is not None:
            weight = weight * events.hits[:, :, 0, self.weights[column]]
        return values * (1 + sign * self.scale) + sign * self.shift, weight


class Templates:
    r"""Histograms of an observable of each event, for a signal of free strength μ over a background.

    .. math:: \lambda_i = \mu \, s_i + b_i, \qquad
        s_i = S \, \frac{\sum_{n \in \text{signal}} w_n k_n q_i(x_n)}{\sum_{n \in \text{signal}} w_n}

    and b alike, with the degree :math:`k_n` to which an event is selected and `memberships` :math:`q_i`: the expected
    counts do not depend on how many events of each class a batch holds. Where fewer background counts are expected than
    one simulated event stands for, :math:`B \sum w^2/(\sum w)^2`, this number takes their place, because the sample
    cannot tell them from none. One name among both normalisations and shapes is one parameter that does both.

    Args:
        signal: S, expected signal events before the selection.
        background: B, expected background events before the selection.
        edges: of the bins of the observable, increasing; the outer bins are open.
        width: h of soft bins in the unit of the observable; None: hard bins.
        observable: index of the feature of the first hit; or ``belief``: the mean of the reconstructed feature
            ``target`` (for a classifier the probability of the signal).
        target: index of the truth feature that tells signal from background.
        boundary: signal are the events in which that feature is above this value.
        selected: index of the feature of the first hit that holds :math:`k_n`; None: every event counts fully.
        normalisation: uncertainties of the yields: for each name the relative error of ``signal``, ``background`` or
            both (then correlated), e.g. ``{rate: {background: 0.1}}``. At −1 the factor is 1/(1 + error).
        shapes: uncertainties of the shapes: for each name the arguments of a `Variation`.
        statistical: whether the sample size of the simulation is an uncertainty (one parameter for each bin).
        floor: smallest expected background in each bin; None: as above.

    Raises:
        ConfigurationError: for rates, errors, edges or names that cannot be used.
        NonFiniteError: when called, if a class has no event with weight.
    """

    def __init__(
        self,
        signal: float = 100.0,
        background: float = 1000.0,
        edges: Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        width: float | None = 0.05,
        observable: int | Literal["belief"] = "belief",
        target: int = 0,
        boundary: float = 0.5,
        selected: int | None = None,
        normalisation: Mapping[str, Mapping[str, float]] | None = None,
        shapes: Mapping[str, Variation | Mapping[str, Any]] | None = None,
        statistical: bool = False,
        floor: float | None = None,
    ) -> None:
        self.normalisation = {name: dict(errors) for name, errors in (normalisation or {}).items()}
        self.shapes = {name: _variation(name, given) for name, given in (shapes or {}).items()}
        self.rates = {"signal": signal, "background": background}
        self.edges, self.width, self.floor = tuple(edges), width, floor
        self.observable, self.target, self.boundary, self.selected = observable, target, boundary, selected
        self.statistical = statistical
        self._check()

    def __call__(self, events: Events, belief: Distribution) -> Model:
        """Likelihood of ``b`` designs, whose parameter of interest is ``mu``."""
        return build([Channel("all", [self._sample(name, events, belief) for name in NAMES])], "mu")

    def _sample(self, name: str, events: Events, belief: Distribution) -> Sample:
        member = (events.truth[..., self.target] > self.boundary) == (name == "signal")
        weight = events.weight.double() * member
        total = weight.sum(1, keepdim=True)
        if not bool((total > 0).all()):
            raise NonFiniteError(f"the {name} has no event with weight in a design: simulate more events")
        share = self.rates[name] * weight / total
        one = (share.detach() ** 2).sum(1, keepdim=True) / self.rates[name]
        if self.selected is not None:
            share = share * events.hits[:, :, 0, self.selected]
        floor = torch.zeros_like(one) if name == "signal" else one if self.floor is None else one * 0 + self.floor
        values = self._observable(events, belief)
        counts, variances = (part.cpu() for part in histogram(values, share, self.edges, self.width))
        floor = floor.cpu()
        modifiers = self._norms(name)
        for key, variation in self.shapes.items():
            if variation.concerns(name):
                sides = (variation.at(sign, events, values, share) for sign in (-1, 1))
                low, high = (histogram(*side, self.edges, self.width)[0].cpu().maximum(floor) for side in sides)
                modifiers.append(HistoSys(key, low, high))
        if self.statistical:
            # A bin at the floor is as uncertain as if the floor had been made of simulated events.
            modifiers.append(StatError("statistics", _root(variances).maximum((one.cpu() * floor).sqrt())))
        return Sample(name, counts.maximum(floor), modifiers)

    def _norms(self, name: str) -> list[Modifier]:
        found: list[Modifier] = [NormFactor("mu")] if name == "signal" else []
        for key, errors in self.normalisation.items():
            if errors.get(name, 0.0):
                found.append(NormSys(key, 1 / (1 + errors[name]), 1 + errors[name]))
        return found

    def _observable(self, events: Events, belief: Distribution) -> Tensor:
        if isinstance(self.observable, int):
            return events.hits[:, :, 0, self.observable].double()
        return belief.mean[..., self.target].double()

    def _check(self) -> None:
        for key, value in (*self.rates.items(), ("floor", 1.0 if self.floor is None else self.floor)):
            if not 0 < value < float("inf"):
                raise ConfigurationError(f"objective.templates.{key}", value, "a positive number of expected events")
        if not isinstance(self.observable, int) and self.observable != "belief":
            raise ConfigurationError("objective.templates.observable", self.observable, "a number or belief")
        for name, errors in self.normalisation.items():
            good = all(key in NAMES and -1 < value < float("inf") for key, value in errors.items())
            if not good or name in ("mu", "statistics"):
                raise ConfigurationError(
                    f"objective.templates.normalisation.{name}",
                    errors,
                    "relative errors above −1 of signal, background",
                )
        if {"mu", "statistics"} & set(self.shapes):
            raise ConfigurationError("objective.templates.shapes", list(self.shapes), "names but mu and statistics")
        histogram(torch.zeros(1, 1), torch.ones(1, 1), self.edges, self.width)


def _root(variances: Tensor) -> Tensor:
    """√v, whose derivative at 0 is 0."""
    some = variances > 0
    return torch.where(some, torch.where(some, variances, torch.ones_like(variances)).sqrt(), variances * 0)


def _variation(name: str, given: Variation | Mapping[str, Any]) -> Variation:
    if isinstance(given, Variation):
        return given
    try:
        variation = Variation(**given)
    except TypeError as error:
        raise ConfigurationError(f"objective.templates.shapes.{name}", dict(given), str(error)) from error
    if variation.of not in (*NAMES, "both"):
        raise ConfigurationError(f"objective.templates.shapes.{name}.of", variation.of, "signal, background or both")
    return variation
