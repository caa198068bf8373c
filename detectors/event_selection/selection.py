"""Selecting events by cuts: with noise on the cuts, so that they have derivatives, and without."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import BlackBoxSimulator
from mode_opt.simulation.choices import Choices
from mode_opt.simulation.program import Program


@final
@dataclass(frozen=True)
class Cut:
    """One cut on one observable; its threshold is the design parameter of the same name.

    Attributes:
        keep: ``above`` or ``below`` the threshold.
        noise: standard deviation of the noise on the cut, in the unit of the observable, or the name of the design
            parameter that holds it.

    Raises:
        ConfigurationError: for another side, or noise that is not positive.
    """

    keep: str = "above"
    noise: float | str = 1.0

    def __post_init__(self) -> None:
        if self.keep not in ("above", "below"):
            raise ConfigurationError("detector.cuts.keep", self.keep, "above or below")
        if not isinstance(self.noise, str) and not 0 < self.noise < float("inf"):
            raise ConfigurationError("detector.cuts.noise", self.noise, "a positive number, or a design parameter")

    @property
    def sign(self) -> float:
        """+1 if values above the threshold are kept, else −1."""
        return 1.0 if self.keep == "above" else -1.0


def _margins(cuts: Mapping[str, Cut], phi: DesignPoint, events: Events, first: int = 0) -> Tensor:
    """``b x n x cuts``: how far each observable, from feature ``first`` on, is on the side that is kept."""
    thresholds = torch.cat([phi[name] for name in cuts], 1).to(events.hits.dtype)
    signs = thresholds.new_tensor([cut.sign for cut in cuts.values()])
    return signs * (events.hits[:, :, 0, first : first + len(cuts)] - thresholds.unsqueeze(1))


def _decided(events: Events, *decisions: Tensor) -> Events:
    """The events with decisions as last features of each real hit; an event without a first hit is rejected."""
    features = [torch.where(events.mask, (one * events.mask[:, :, 0]).unsqueeze(-1), 0.0) for one in decisions]
    return replace(events, hits=torch.cat([events.hits, torch.stack(features, -1).to(events.hits.dtype)], -1))


@final
class NoisySelection(Program):
    """Cuts with noise: an event is selected if every observable, with Gaussian noise added, passes its cut.

    With thresholds t, observables x and noise σ of the cuts, ``±`` for a cut that keeps what is above or below::

        q ~ Bernoulli(p(x)),     p(x) = Π_c Phi(± (x_c − t_c) / σ_c)

    One coin decides for all cuts, which is distributed as the product of one coin for each, and whose score has the
    smaller variance. The expectation of q over the noise is a soft cut: what the relaxed choice returns. As σ → 0
    both become the hard cuts (`HardSelection`).

    Primaries: one hit whose features are the observables, in the order of the cuts. Events come back with q as a
    further, last feature; their weights and masks stay. Rejected events are not removed, because the choice to reject
    them has a probability, too.

    Where the observables are also given as an uncertainty varies them, x', the decision on those precedes q as the
    feature ``q p(x')/p(x)``, whose expectation is ``p(x')``: no second coin.

    Args:
        cuts: by name of the design parameter that is the threshold, in the order of the observables.
        varied: indices of the features with which varied observables begin.
    """

    def __init__(self, cuts: Mapping[str, Cut], varied: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.cuts, self.varied = dict(cuts), varied

    def run(self, phi: DesignPoint, primaries: Events, choices: Choices) -> Events:
        probability = self._passing(phi, primaries, 0)
        selected = choices.bernoulli(probability)
        # What is so unlikely that it underflows has not been drawn: there 0 is divided by what is not 0.
        safe = probability.clamp_min(torch.finfo(probability.dtype).tiny)
        others = [selected * self._passing(phi, primaries, first) / safe for first in self.varied]
        return _decided(primaries, *others, selected)

    def _passing(self, phi: DesignPoint, primaries: Events, first: int) -> Tensor:
        """p of the observables from that feature on, ``b x n``."""
        margins = _margins(self.cuts, phi, primaries, first)
        noise = [self._noise(cut, phi, margins) for cut in self.cuts.values()]
        return torch.special.ndtr(margins / torch.cat(noise, 1).unsqueeze(1)).prod(-1)

    @staticmethod
    def _noise(cut: Cut, phi: DesignPoint, like: Tensor) -> Tensor:
        if isinstance(cut.noise, str):
            return phi[cut.noise].to(like.dtype)
        return like.new_full((phi.designs, 1), cut.noise)


@final
class HardSelection(BlackBoxSimulator):
    """The same cuts without noise: ``q = Π_c [± (x_c − t_c) > 0]``. No derivative, no random number.

    Args:
        cuts: as for `NoisySelection`.
        varied: as for `NoisySelection`.
    """

    def __init__(self, cuts: Mapping[str, Cut], varied: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.cuts, self.varied = dict(cuts), varied

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events = primaries.expand(phi.designs)
        passed = [(_margins(self.cuts, phi, events, first) > 0).all(-1) for first in (*self.varied, 0)]
        return _decided(events, *(one.to(events.hits.dtype) for one in passed))
