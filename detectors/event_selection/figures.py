"""What a selection is worth in the end: hard cuts, hard bins, every figure of the likelihood, on either half."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import torch

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.experiment import Detector
from mode_opt.objectives import Nominal, Objective
from mode_opt.objectives.statistics import Templates
from mode_opt.objectives.uncertainty import Replicas, jackknife
from mode_opt.reconstruction import PriorBelief, Reconstruction

from .detector import configured, event_selection
from .features import Calibration
from .likelihood import FIGURES, Accepted, ScoreBins, bin_edges, counting, score_of, templates
from .measure import recorded

GROUPS = 20
"""Of the jackknife: 400 showers each, half of them electrons."""


@final
@dataclass(frozen=True, eq=False)
class Selection:
    """Cuts, and perhaps a network behind them.

    Attributes:
        changes: of the configuration, as for `event_selection`.
        values: of all parameters of the design, by name.
        network: whose output is histogrammed; None: the selected events are counted.
    """

    changes: Mapping[str, Any]
    values: Mapping[str, Any]
    network: Reconstruction | None = None

    def detector(self, sample: str) -> Detector:
        """The detector with that half of the showers."""
        return event_selection(**{**self.changes, "sample": sample})

    def point(self) -> DesignPoint:
        """The design, in the layout of the detector if a network is conditioned on it."""
        if self.network is None:  # the thresholds of a scan may be outside the bounds
            return DesignPoint.of(**self.values)
        design = self.detector("training").design
        design.assign(self.values)
        return design().detach()

    def events(self, sample: str) -> Events:
        """That half after the hard cuts."""
        detector = self.detector(sample)
        with torch.no_grad():
            events: Events = detector.simulator("hard")(self.point(), recorded(detector))
        return events


def figures(selection: Selection, sample: str, groups: int = GROUPS) -> dict[str, Replicas]:
    """Significance without and with uncertainties, expected limit and uncertainty of the strength, accepted events.

    The errors are those of the delete-a-group jackknife. A bootstrap would draw showers several times and so have
    larger uncertainties from their number in every replica than the sample has.

    Args:
        selection: what is measured.
        sample: ``training`` or ``held_out``.
        groups: of the jackknife.
    """
    settings, events, phi = configured(**selection.changes), selection.events(sample), selection.point()
    if selection.network is None:
        return counted(settings, events, groups)
    with torch.no_grad():
        belief = selection.network(events, phi)
    aims = objectives(settings, phi["steps"].shape[1])
    return {name: jackknife(aim, events, belief, phi, groups, selection.network) for name, aim in aims.items()}


def objectives(settings: Mapping[str, Any], steps: int | None) -> dict[str, Objective]:
    """The figures by name: ``plain`` (−Z without uncertainties), those of `FIGURES`, ``accepted``.

    Args:
        settings: entries of the configuration.
        steps: of the histogram of a network's output, with hard bins; None: selected events are counted.
    """
    rates = settings["signal"], settings["background"]
    if steps is None:
        certain = Templates(*rates, (0.0, 1.0), None, 0, selected=-1)
        found: dict[str, Objective] = {name: figure(counting(settings)) for name, figure in FIGURES.items()}
        return {"plain": FIGURES["discovery"](certain), **found, "accepted": Accepted(*rates)}
    edges = bin_edges(steps)
    certain = Templates(*rates, edges, None, selected=-1)
    found = {name: ScoreBins(figure(templates(settings, edges, None))) for name, figure in FIGURES.items()}
    return {"plain": ScoreBins(FIGURES["discovery"](certain)), **found, "accepted": Accepted(*rates)}


def behind(selection: Selection, sample: str, threshold: float) -> Events:
    """That half after the hard cuts and a cut on the network's output, which is decided under the tilts, too.

    Args:
        selection: with a network.
        sample: ``training`` or ``held_out``.
        threshold: of the logit; what is above is kept.

    Raises:
        ConfigurationError: without a network.
    """
    if selection.network is None:
        raise ConfigurationError("selection.network", None, "a network")
    events, phi = selection.events(sample), selection.point()
    decisions = []
    with torch.no_grad():
        for scenario in (Calibration(-1), Calibration(1), Nominal()):
            seen, _ = scenario(events, phi)
            above = score_of(selection.network(seen, phi))[..., :1] > threshold
            decisions.append(seen.hits[..., -1] * above)
    return replace(events, hits=torch.cat([events.hits[..., :-3], torch.stack(decisions, -1)], -1))


def counted(settings: Mapping[str, Any], events: Events, groups: int = GROUPS) -> dict[str, Replicas]:
    """`figures` of selected events that are only counted."""
    phi = DesignPoint.of(unused=0.0)
    belief = PriorBelief.fitting(events, phi)(events, phi)
    aims = objectives(settings, None)
    return {name: jackknife(aim, events, belief, phi, groups) for name, aim in aims.items()}
