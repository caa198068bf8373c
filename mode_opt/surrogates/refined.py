"""A surrogate of a dear simulator that starts from what a cheap one says."""

from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, ShapeError
from mode_opt.events import Events
from mode_opt.simulation import Counted, Simulator, attempt, stream
from mode_opt.surrogates.base import Progress, Surrogate, silent
from mode_opt.surrogates.density import PlainCoordinates
from mode_opt.surrogates.ensembles import SurrogateFactory
from mode_opt.surrogates.families import gaussian
from mode_opt.surrogates.model import Rows, finite, moments
from mode_opt.surrogates.training import FitReport
from mode_opt.surrogates.trend import Trend


@final
class Refined(Surrogate):
    """``hits = M(φ, x) + δ(φ, x, u)``: M is the mean of a cheap simulator, δ a surrogate of what it leaves.

    For every event of the dear simulator it is given, ``ratio`` events of the cheap one are simulated once, with the
    same design and primaries x; M is their polynomial `Trend`. What the dear simulator adds is small and flat if the
    cheap one is good, and the priors of δ (`evidence_ridge`) then shrink it away: slopes are as exact as the cheap
    events make them, ``ratio`` times as many. If the cheap one is wrong, δ keeps what the data support, and only
    M's own scatter, ``1 / ratio`` of the variance, is added.

    Args:
        cheap: gives hits of the same shape as the simulator that is replaced (in a chain: its black-box part), with
            features that are continuous.
        inner: learns δ.
        trend: of M.
        coordinates: of hits and conditions.
        ratio: cheap events for each dear one.
        capacity: cheap events that are kept.

    Raises:
        ConfigurationError: for a ratio below 1.

    Source: M. Kennedy and A. O'Hagan, Biometrika 87 (2000) 1, with a scale of 1 and polynomials for Gaussian processes.
    """

    condition_mean: Tensor
    condition_scale: Tensor

    def __init__(
        self,
        cheap: Simulator,
        inner: Surrogate,
        trend: Trend,
        coordinates: PlainCoordinates,
        conditions: int,
        ratio: int = 10,
        capacity: int = 200_000,
    ) -> None:
        super().__init__()
        if not (isinstance(ratio, int) and ratio >= 1):
            raise ConfigurationError("surrogate.ratio", ratio, "a whole number of at least 1")
        self.cheap, self.inner, self.trend = Counted(cheap), inner, trend
        self.coordinates, self.ratio, self.capacity = coordinates, ratio, capacity
        self.register_buffer("condition_mean", torch.zeros(conditions))
        self.register_buffer("condition_scale", torch.ones(conditions))
        self._kept = torch.zeros(0, conditions + len(trend.centre))  # cheap events: condition and features

    @property
    def cheap_calls(self) -> int:
        """Events that the cheap simulator has made."""
        return int(self.cheap.calls)

    def columns(self) -> dict[str, float]:
        return {"cheap_calls": float(self.cheap_calls)}

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        primaries = primaries.expand(phi.designs)
        rest: Events = self.inner(phi, primaries, generator)
        return replace(rest, hits=rest.hits + self.mean(phi, primaries))

    def mean(self, phi: DesignPoint, primaries: Events) -> Tensor:
        """M, ``b x n x h x f``, differentiable in φ and primaries."""
        condition = self.coordinates.condition(phi, primaries)
        flat = self._scaled(condition).flatten(0, 1)
        # The z of a mean event is 0.
        mean = self.trend(flat, flat.new_zeros(len(flat), len(self.trend.centre)))
        return mean.unflatten(0, condition.shape[:2]).unflatten(2, self.coordinates.hits)

    def fit(
        self,
        phi: DesignPoint,
        primaries: Events,
        events: Events,
        *,
        seed: int = 0,
        warm: bool = False,
        progress: Progress = silent,
    ) -> FitReport:
        phi, primaries, events = phi.detach(), primaries.expand(phi.designs).detach(), events.detach()
        if events.truth.shape[:2] != primaries.truth.shape[:2]:
            raise ShapeError("events", events.truth.shape, f"the b x n of the primaries {tuple(primaries.truth.shape)}")
        dear = finite("designs and primaries", self.coordinates.condition(phi, primaries)).flatten(0, 1)
        known = {row.tobytes() for row in self._conditions(self._kept).cpu().numpy()}
        unknown = torch.tensor([row.tobytes() not in known for row in dear.cpu().numpy()], device=dear.device)
        self._simulate(phi, primaries, unknown, stream(dear.device, seed, "cheap"))
        self._learn_mean(dear)
        with torch.no_grad():
            rest = replace(events, hits=events.hits - self.mean(phi, primaries))
        return self.inner.fit(phi, primaries, rest, seed=seed, warm=warm, progress=progress)

    def get_extra_state(self) -> Tensor:
        return self._kept

    def set_extra_state(self, state: Any) -> None:
        self._kept = state.clone()

    def _simulate(self, phi: DesignPoint, primaries: Events, unknown: Tensor, generator: torch.Generator) -> None:
        """Cheap events for the dear ones that have none; designs for which the cheap simulator fails get none."""
        if not bool(unknown.any()):
            return
        designs = DesignPoint(phi.values.repeat_interleave(primaries.count, 0)[unknown], phi.layout)
        inputs = primaries._map(lambda t: t.flatten(0, 1)[unknown, None].repeat_interleave(self.ratio, 1))
        tried = attempt(self.cheap, designs, inputs, generator)
        if tried.events is None:
            return
        good = tried.succeeded.to(designs.values.device)
        designs, inputs = DesignPoint(designs.values[good], phi.layout), inputs._map(lambda t: t[good])
        condition = self.coordinates.condition(designs, inputs)
        features = self.coordinates.features(tried.events, condition, generator)
        rows = torch.cat([condition, features], 2).flatten(0, 1)
        self._kept = torch.cat([self._kept.to(rows), rows])[-self.capacity :]

    def _learn_mean(self, dear: Tensor) -> None:
        """M from the cheap events of these dear ones; 0 as long as there are none."""
        near = {row.tobytes() for row in dear.cpu().numpy()}
        chosen = [row.tobytes() in near for row in self._conditions(self._kept).cpu().numpy()]
        rows = self._kept[torch.tensor(chosen, dtype=torch.bool, device=self._kept.device)]
        if not len(rows):
            return
        mean, scale, _ = moments(self._conditions(rows))
        self.condition_mean.copy_(mean)
        self.condition_scale.copy_(scale)
        self.trend.fit(Rows(self._scaled(self._conditions(rows)), rows[:, len(mean) :], rows.new_ones(len(rows))))

    def _conditions(self, rows: Tensor) -> Tensor:
        return rows[:, : len(self.condition_mean)].contiguous()

    def _scaled(self, condition: Tensor) -> Tensor:
        return (condition - self.condition_mean) / self.condition_scale


def refined(
    phi: DesignPoint,
    primaries: Events,
    events: Events,
    cheap: Simulator,
    surrogate: SurrogateFactory = gaussian,
    ratio: int = 10,
    trend: str = "cubic",
) -> Refined:
    """A `Refined` surrogate around one of another family.

    Args:
        phi: designs, ``b``.
        primaries: ``b x n``.
        events: ``b x n``.
        cheap: simulator.
        surrogate: of what it leaves.
        ratio: cheap events for each dear one.
        trend: degree of the mean of the cheap events, see `Trend`.
    """
    hits = (events.hits.shape[2], events.hits.shape[3])
    d, p = phi.values.shape[1], primaries.hits.shape[2] * primaries.hits.shape[3]
    mean = Trend(hits[0] * hits[1], d + p, d, trend)
    return Refined(cheap, surrogate(phi, primaries, events), mean, PlainCoordinates(hits), d + p, ratio)
