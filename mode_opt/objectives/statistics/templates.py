"""The likelihood of an experiment from its simulated events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives.base import Reconstruct
from mode_opt.objectives.scenarios import Scenario
from mode_opt.objectives.statistics.building import Channel, Sample, Settings, build
from mode_opt.objectives.statistics.histograms import class_memberships, counted, histogram, memberships
from mode_opt.objectives.statistics.model import Model
from mode_opt.objectives.statistics.modifiers import HistoSys, Modifier, NormFactor, NormSys, StatError
from mode_opt.objectives.statistics.variations import NAMES, Variation, variation_of

FREE = 1000.0
"""Bounds of a parameter without a constraint, in steps of what it does at ±1."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """Events and what is made of them."""

    events: Events
    belief: Distribution
    phi: DesignPoint | None
    reconstruct: Reconstruct | None

    def otherwise(self, key: str, scenario: Scenario, rows: Tensor | slice, reads_belief: bool) -> "_Seen":
        """Events ``rows`` in a scenario, reconstructed if it makes a difference."""
        where = f"objective.templates.shapes.{key}.scenarios"
        if self.phi is None:
            raise ConfigurationError(where, "no designs", "events with their designs")
        if not (scenario.seen and reads_belief):
            changed, taken = scenario(self.events, self.phi)
            return _Seen(changed, self.belief, taken, self.reconstruct)
        if self.reconstruct is None:
            raise ConfigurationError(
                where, "a scenario that changes the belief", "a call of judged() with a reconstruction"
            )
        changed, taken = scenario(self.events.select(rows), self.phi)
        return _Seen(changed, self.reconstruct(changed, taken), taken, self.reconstruct)


class Templates:
    r"""Histograms of an observable of each event, for a signal of free strength μ over a background.

    .. math:: \lambda_i = \mu \, s_i + b_i, \qquad
        s_i = S \, \frac{\sum_{n \in \text{signal}} w_n k_n q_i(x_n)}{\sum_{n \in \text{signal}} w_n}

    and b alike, with the degree :math:`k_n` to which an event is selected and `memberships` :math:`q_i`: the expected
    counts do not depend on how many events of each class a batch holds. Where fewer background counts are expected than
    one simulated event stands for, :math:`B \sum w^2/(\sum w)^2`, this number takes their place, because the sample
    cannot tell them from none. One name among both normalisations and shapes is one parameter that does both.

    Instead of a number the observable may be a belief over bins (`class_memberships`), as of a `SummaryNetwork`: the
    summary statistic that INFERNO trains.

    Args:
        signal: S, expected signal events before the selection.
        background: B, expected background events before the selection.
        edges: of the bins of the observable, increasing; the outer bins are open. Not used for ``memberships``.
        width: h of soft bins in the unit of the observable (``memberships``: the temperature); None: hard bins.
        observable: index of the feature of the first hit; ``belief``: the mean of the reconstructed feature
            ``target`` (for a classifier the probability of the signal); or ``memberships``: the bins are those of the
            belief, a mixture (`torch.distributions.MixtureSameFamily`) whose components are the bins.
        target: index of the truth feature that tells signal from background.
        boundary: signal are the events in which that feature is above this value.
        selected: index of the feature of the first hit that holds :math:`k_n`; None: every event counts fully.
        normalisation: uncertainties of the yields: for each name the relative error of ``signal``, ``background`` or
            both (then correlated), e.g. ``{rate: {background: 0.1}}``. At −1 the factor is 1/(1 + error).
        shapes: uncertainties of the shapes: for each name the arguments of a `Variation`.
        statistical: whether the sample size of the simulation is an uncertainty (one parameter for each bin).
        floor: smallest expected background in each bin; None: as above.
        constraints: standard deviation of the normal constraint of nuisances, by name, in units of what they do at ±1;
            None: no constraint, the parameter is free. 1 for those that are not named.

    Raises:
        ConfigurationError: for rates, errors, edges or names that cannot be used; when called, for a scenario that
            changes the belief without a way to reconstruct, or ``memberships`` of a belief without bins.
        NonFiniteError: when called, if a class has no event with weight.
    """

    def __init__(
        self,
        signal: float = 100.0,
        background: float = 1000.0,
        edges: Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        width: float | None = 0.05,
        observable: int | Literal["belief", "memberships"] = "belief",
        target: int = 0,
        boundary: float = 0.5,
        selected: int | None = None,
        normalisation: Mapping[str, Mapping[str, float]] | None = None,
        shapes: Mapping[str, Variation | Mapping[str, Any]] | None = None,
        statistical: bool = False,
        floor: float | None = None,
        constraints: Mapping[str, float | None] | None = None,
    ) -> None:
        self.normalisation = {name: dict(errors) for name, errors in (normalisation or {}).items()}
        self.shapes = {name: variation_of(name, given) for name, given in (shapes or {}).items()}
        self.constraints = dict(constraints or {})
        self.rates = {"signal": signal, "background": background}
        self.edges, self.width, self.floor = tuple(edges), width, floor
        self.observable, self.target, self.boundary, self.selected = observable, target, boundary, selected
        self.statistical = statistical
        self._check()

    def __call__(
        self,
        events: Events,
        belief: Distribution,
        phi: DesignPoint | None = None,
        reconstruct: Reconstruct | None = None,
    ) -> Model:
        """Likelihood of ``b`` designs, whose parameter of interest is ``mu``.

        Args:
            events: ``b x n``.
            belief: what the reconstruction made of them.
            phi: the ``b`` designs; needed by variations with scenarios only.
            reconstruct: how the varied events become beliefs; needed where a scenario changes the belief.
        """
        seen = _Seen(events, belief, phi, reconstruct)
        samples = [self._sample(name, seen) for name in NAMES]
        return build([Channel("all", samples)], "mu", {key: _settings(w) for key, w in self.constraints.items()})

    def _sample(self, name: str, seen: _Seen) -> Sample:
        member = (seen.events.truth[..., self.target] > self.boundary) == (name == "signal")
        weight = seen.events.weight.double() * member
        total = weight.sum(1, keepdim=True)
        if not bool((total > 0).all()):
            raise NonFiniteError(f"the {name} has no event with weight in a design: simulate more events")
        scale = self.rates[name] * member / total
        one = ((self.rates[name] * weight / total).detach() ** 2).sum(1, keepdim=True) / self.rates[name]
        floor = torch.zeros_like(one) if name == "signal" else one if self.floor is None else one * 0 + self.floor
        share = self._share(seen.events, scale)
        counts, variances = (part.cpu() for part in counted(self._degrees(seen.events, seen.belief), share))
        floor = floor.cpu()
        modifiers = self._norms(name)
        for key, variation in self.shapes.items():
            if variation.concerns(name):
                low, high = (self._varied(key, sign, seen, scale).cpu().maximum(floor) for sign in (-1, 1))
                modifiers.append(HistoSys(key, low, high))
        if self.statistical:
            # A bin at the floor is as uncertain as if the floor had been made of simulated events.
            modifiers.append(StatError("statistics", _root(variances).maximum((one.cpu() * floor).sqrt())))
        return Sample(name, counts.maximum(floor), modifiers)

    def _varied(self, key: str, sign: int, seen: _Seen, scale: Tensor) -> Tensor:
        """Counts at −1 or +1, ``b x i``."""
        variation = self.shapes[key]
        scenario = variation.scenario(sign)
        if scenario is not None:
            rows = _members(scale)
            seen = seen.otherwise(key, scenario, rows, not isinstance(self.observable, int))
            scale = scale if seen.events.count == scale.shape[1] else scale[:, rows]
        share = variation.share(sign, seen.events, self._share(seen.events, scale))
        return counted(self._degrees(seen.events, seen.belief, variation, sign), share)[0]

    def _share(self, events: Events, scale: Tensor) -> Tensor:
        """Expected events that each simulated one stands for, ``b x n``."""
        share = events.weight.double() * scale
        return share if self.selected is None else share * events.hits[:, :, 0, self.selected]

    def _degrees(
        self, events: Events, belief: Distribution, variation: Variation | None = None, sign: int = 0
    ) -> Tensor:
        """Bins of the events, ``b x n x i``."""
        if self.observable == "memberships":
            return class_memberships(_bins(belief), self.width)
        values = self._observable(events, belief)
        return memberships(
            values if variation is None else variation.values(sign, events, values), self.edges, self.width
        )

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
        if not isinstance(self.observable, int) and self.observable not in ("belief", "memberships"):
            raise ConfigurationError(
                "objective.templates.observable", self.observable, "a number, belief or memberships"
            )
        for name, errors in self.normalisation.items():
            good = all(key in NAMES and -1 < value < float("inf") for key, value in errors.items())
            if not good or name in ("mu", "statistics"):
                raise ConfigurationError(
                    f"objective.templates.normalisation.{name}",
                    errors,
                    "relative errors above −1 of signal, background",
                )
        self._check_shapes()
        histogram(torch.zeros(1, 1), torch.ones(1, 1), self.edges, self.width)

    def _check_shapes(self) -> None:
        if {"mu", "statistics"} & set(self.shapes):
            raise ConfigurationError("objective.templates.shapes", list(self.shapes), "names but mu and statistics")
        for name, variation in self.shapes.items():
            if self.observable == "memberships" and variation.of_values:
                raise ConfigurationError(
                    f"objective.templates.shapes.{name}", variation, "scenarios or weights, where bins have no values"
                )
        for name, width in self.constraints.items():
            key = f"objective.templates.constraints.{name}"
            if name not in self.normalisation and name not in self.shapes:
                raise ConfigurationError(key, width, f"one of {', '.join([*self.normalisation, *self.shapes])}")
            if width is not None and not 0 < width < float("inf"):
                raise ConfigurationError(key, width, "a positive number, or null for a free parameter")


def _settings(width: float | None) -> Settings:
    """Of a nuisance with this constraint."""
    if width is None:
        return Settings(constrained=False, bounds=(-FREE, FREE))
    return Settings(width=width, bounds=(-5 * width, 5 * width))


def _members(scale: Tensor) -> Tensor | slice:
    """Events that count: only those have to be reconstructed anew. All, where designs differ in which these are."""
    member = scale > 0
    return member[0] if bool((member == member[:1]).all()) else slice(None)


def _bins(belief: Distribution) -> Tensor:
    """Logits of the bins, ``b x n x K``."""
    mixture = getattr(belief, "mixture_distribution", None)
    if not isinstance(mixture, Categorical):
        raise ConfigurationError(
            "objective.templates.observable", "memberships", "a belief over bins, as that of SummaryNetwork"
        )
    return mixture.logits


def _root(variances: Tensor) -> Tensor:
    """√v, whose derivative at 0 is 0."""
    some = variances > 0
    return torch.where(some, torch.where(some, variances, torch.ones_like(variances)).sqrt(), variances * 0)
