"""What a set of thresholds is worth: with hard cuts, and as the noisy selection sees it."""

from collections.abc import Mapping
from typing import cast, final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.experiment import Detector
from mode_opt.objectives import Significance
from mode_opt.simulation import Recorded, stream
from mode_opt.simulation.choices import Choices, Chooser, Drawing, Law, Lineages, RelaxableLaw, Site

from .selection import NoisySelection

RESAMPLINGS = 400


@final
class Mean(Chooser):
    """In the place of each outcome its mean: a noisy cut becomes a soft cut."""

    def choose(self, law: Law, site: Site) -> Tensor:
        return law.mean if isinstance(law, RelaxableLaw) else Drawing().choose(law, site)


def recorded(detector: Detector) -> Events:
    """All recorded showers of the detector's sample.

    Raises:
        ConfigurationError: if its primaries are not recorded ones.
    """
    if not isinstance(detector.primaries, Recorded):
        raise ConfigurationError("detector", detector.name, "one with recorded primaries")
    return detector.primaries.events


def objective_of(detector: Detector) -> Significance:
    """The detector's objective, a `Significance`."""
    return cast(Significance, detector.objective)


def hard(detector: Detector, thresholds: Mapping[str, float]) -> Events:
    """The sample of the detector after the hard cuts."""
    return cast(Events, detector.simulator("hard")(DesignPoint.of(**thresholds), recorded(detector)))


def promised(detector: Detector, thresholds: Mapping[str, float]) -> float:
    """Z of the soft cuts on the sample: each event counts with its probability to pass the noisy cuts."""
    events, simulator = recorded(detector), cast(NoisySelection, detector.simulator("noisy"))
    choices = Choices(Lineages.of_events(1, events.count, 0), Mean())
    soft = simulator.run(DesignPoint.of(**thresholds), events, choices)
    return significance(objective_of(detector), soft)


def significance(objective: Significance, events: Events) -> float:
    """Z of the decisions that the events carry."""
    return -float(objective(events, None, DesignPoint.of(unused=0.0)))


def resampled(objective: Significance, events: Events, seed: int = 0, count: int = RESAMPLINGS) -> Tensor:
    """Z of ``count`` bootstrap samples of the events; the same seed draws the same showers for every selection.

    Source: B. Efron, Ann. Statist. 7 (1979) 1.
    """
    generator = stream("cpu", seed, "bootstrap")
    every = torch.full((count, events.count), 1.0 / events.count)
    drawn = torch.multinomial(every, events.count, replacement=True, generator=generator)
    times = torch.zeros_like(every).scatter_add_(1, drawn, torch.ones_like(every))
    point = DesignPoint.of(unused=torch.zeros(count, 1))
    return -objective(events.expand(count).reweighted(times), None, point)
