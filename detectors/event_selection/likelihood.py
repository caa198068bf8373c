"""The binned likelihood of the selection: a count behind the cuts, or the histogram of a network's output."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives import (
    Constrained,
    DiscoverySignificance,
    ExpectedUncertainty,
    ExpectedUpperLimit,
    Objective,
    Significance,
)
from mode_opt.objectives.base import Reconstruct
from mode_opt.objectives.statistics import Templates, Variation
from mode_opt.reconstruction import normal

from .features import SPECTRUM, Calibration

FIGURES: Mapping[str, type[DiscoverySignificance] | type[ExpectedUpperLimit] | type[ExpectedUncertainty]] = {
    "discovery": DiscoverySignificance,
    "limit": ExpectedUpperLimit,
    "strength": ExpectedUncertainty,
}
"""Figures of the likelihood by name."""


@final
class ScoreBins(Objective):
    r"""A figure of the histogram of a score whose edges are design parameters.

    The edges are :math:`e_0` and :math:`e_j = e_0 + \delta_1 + \ldots + \delta_j`. The score x, the logit of a
    Bernoulli belief or the mean of another, is mapped by straight lines so that edge j falls on j,

    .. math:: u = \frac{x - e_0}{\delta_1}
        + \sum_{j=1}^{k-1} \max(0, x - e_j) \left(\frac{1}{\delta_{j+1}} - \frac{1}{\delta_j}\right)

    and what it is mapped to is the observable ``belief`` of the likelihood. Its own edges, ``-1, 0, 1, ..., k, k+1``,
    and the width of soft bins are in units of bins.

    Args:
        objective: a figure of a likelihood (`Templates` with the observable ``belief``).
        edge: name of the design parameter :math:`e_0`.
        steps: name of the design parameters :math:`\delta_1 \ldots \delta_k`, positive.
    """

    def __init__(self, objective: Objective, edge: str = "edge", steps: str = "steps") -> None:
        super().__init__()
        self.objective, self.edge, self.steps = objective, edge, steps

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        return self.judged(events, belief, phi)

    def judged(
        self, events: Events, belief: Distribution, phi: DesignPoint, reconstruct: Reconstruct | None = None
    ) -> Tensor:
        def placed(changed: Events, taken: DesignPoint) -> Distribution:
            assert reconstruct is not None
            return self.placed(reconstruct(changed, taken), taken)

        return self.objective.judged(events, self.placed(belief, phi), phi, None if reconstruct is None else placed)

    def placed(self, belief: Distribution, phi: DesignPoint) -> Distribution:
        """A belief whose mean is u."""
        score, first, steps = score_of(belief), phi[self.edge], phi[self.steps]
        edges = first + steps.cumsum(1)
        edge, step, inner = (part.unsqueeze(-1).unsqueeze(-1).to(score.dtype) for part in (first, steps, edges))
        place = (score - edge[:, 0]) / step[:, 0]
        for j in range(steps.shape[1] - 1):
            place = place + torch.relu(score - inner[:, j]) * (1 / step[:, j + 1] - 1 / step[:, j])
        return normal(place, torch.ones_like(place))


@final
class Accepted(Objective):
    """Expected number of events that the selection accepts, ``s + b`` of `Significance.yields`.

    Args:
        signal: S, expected signal events before the selection.
        background: B, expected background events before the selection.
        boundary: signal are the events whose first truth feature is above this value.
    """

    def __init__(self, signal: float = 100.0, background: float = 1000.0, boundary: float = 0.5) -> None:
        super().__init__()
        self.counted = Significance(signal, background, boundary=boundary)

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        signal, background, _ = self.counted.yields(events)
        return signal + background


def score_of(belief: Distribution) -> Tensor:
    """What a belief is histogrammed in, ``b x n x t``: the logit of a Bernoulli belief, the mean of another."""
    base = belief.base_dist if isinstance(belief, Independent) else belief
    found: Tensor = base.logits if isinstance(base, Bernoulli) else belief.mean
    return found


def objective_of(settings: Mapping[str, Any]) -> Objective:
    """The objective of these entries of the configuration.

    Raises:
        ConfigurationError: for an unknown figure, a network whose bins the design does not have, or limits that
            cannot be.
    """
    figure, network = settings["figure"], settings["network"] is not None
    rates = settings["signal"], settings["background"]
    known = (*(() if network else ("significance",)), *FIGURES)
    if figure not in known:
        raise ConfigurationError("detector.figure", figure, f"one of {', '.join(known)}")
    if figure == "significance":
        aim: Objective = Significance(*rates, settings["uncertainty"])
    elif not network:
        aim = FIGURES[figure](counting(settings))
    else:
        aim = ScoreBins(FIGURES[figure](templates(settings, _bins(settings), settings["smearing"])))
    if settings["accepted"] is None:
        return aim
    # A penalty that dwarfs the figure would decide alone how the thresholds move.
    return Constrained(aim, {"accepted": Accepted(*rates)}, {"accepted": settings["accepted"]}, rho=2.0)


def counting(settings: Mapping[str, Any]) -> Templates:
    """One bin: the number of selected events."""
    return templates(settings, (0.0, 1.0), None, 0)


def templates(
    settings: Mapping[str, Any], edges: tuple[float, ...], width: float | None, observable: Any = "belief"
) -> Templates:
    """Histograms of the selected events with the uncertainties of the configuration.

    Args:
        settings: entries of the configuration.
        edges: as of `Templates`.
        width: as of `Templates`.
        observable: as of `Templates`.
    """
    return Templates(
        settings["signal"],
        settings["background"],
        edges,
        width,
        observable,
        selected=-1,
        normalisation={"rate": {"background": settings["uncertainty"]}},
        shapes={
            "calibration": Variation("both", scenarios=(Calibration(-1), Calibration(1))),
            "spectrum": Variation("background", weights=SPECTRUM),
        },
        statistical=settings["statistical"],
    )


def bin_edges(steps: int) -> tuple[float, ...]:
    """Edges of the likelihood of `ScoreBins` with so many steps."""
    return tuple(float(edge) for edge in range(-1, steps + 2))


def _bins(settings: Mapping[str, Any]) -> tuple[float, ...]:
    parameters = settings["design"]["parameters"]
    missing = [name for name in ("edge", "steps") if name not in parameters]
    if missing:
        raise ConfigurationError("detector.design.parameters", list(parameters), f"also {', '.join(missing)}")
    given = parameters["steps"]
    size = given.get("size") or (len(given["start"]) if isinstance(given["start"], list) else 1)
    return bin_edges(int(size))
