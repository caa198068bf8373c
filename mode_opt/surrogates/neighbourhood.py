"""The surrogate for a neighbourhood of designs: a polynomial trend and a small generative model around it."""

from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import NonFiniteError, ShapeError
from mode_opt.events import Events
from mode_opt.simulation import stream
from mode_opt.surrogates.base import Coordinates, Progress, Surrogate, silent
from mode_opt.surrogates.model import ConditionalModel, Rows, finite, moments
from mode_opt.surrogates.training import FitReport, Training, hold_out
from mode_opt.surrogates.trend import Trend


@final
class NeighbourhoodSurrogate(Surrogate):
    """``hits = T(m(c) + s(c) L z)``, z drawn by a model given the condition c of design and primaries.

    Each fit standardises c by the moments of its own events and finds the trend anew; a warm fit keeps the model,
    corrected so that it is the same function of the designs although the neighbourhood has moved.

    Args:
        coordinates: from events to features and back.
        model: of the features around their trend.
        trend: location, scale and correlation.
        conditions: size of the condition.
        training: settings of the fit.
    """

    condition_mean: Tensor
    condition_scale: Tensor

    def __init__(
        self, coordinates: Coordinates, model: ConditionalModel, trend: Trend, conditions: int, training: Training
    ) -> None:
        super().__init__()
        self.coordinates, self.model, self.trend = coordinates, model, trend
        self.training_settings = training
        self.register_buffer("condition_mean", torch.zeros(conditions))
        self.register_buffer("condition_scale", torch.ones(conditions))
        self.model.reset(stream("cpu", 0, "surrogate", "weights"))

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        primaries = primaries.expand(phi.designs)
        condition = self.scaled(self.coordinates.condition(phi, primaries))
        flat = condition.flatten(0, 1)
        features = self.trend(flat, self.model.sample(flat, generator))
        return self.coordinates.events(features.unflatten(0, condition.shape[:2]), phi, primaries)

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
        rows = self._rows(phi, primaries, events, seed)
        self._follow(rows.condition, warm)
        if not warm:
            self.model.reset(stream("cpu", seed, "surrogate", "weights"))
        rows = replace(rows, condition=self.scaled(rows.condition))
        self.trend.fit(rows)
        z = self.trend.around(rows.condition, rows.features, self._stream(seed, "jitter"))
        chosen = stream("cpu", seed, "surrogate", "held-out")
        split = hold_out(phi, events.count, self.training_settings.held_out, chosen)
        return self.model.learn(
            replace(rows, features=z), split, self.training_settings, self._stream(seed, "batches"), progress
        )

    def scaled(self, condition: Tensor) -> Tensor:
        """The condition in units of the fitted neighbourhood, ``... x c``."""
        return (condition - self.condition_mean) / self.condition_scale

    def _rows(self, phi: DesignPoint, primaries: Events, events: Events, seed: int) -> Rows:
        condition = finite("designs and primaries", self.coordinates.condition(phi, primaries))
        finite("hits", events.hits)
        features = finite("features", self.coordinates.features(events, condition, self._stream(seed, "features")))
        weight = finite("weights", events.weight)
        if bool((weight < 0).any()) or not bool((weight > 0).any()):
            raise NonFiniteError("surrogate.fit: negative weights, or none above 0; expected weights of at least 0")
        return Rows(condition.flatten(0, 1), features.flatten(0, 1), weight.flatten() / weight.mean())

    def _follow(self, condition: Tensor, warm: bool) -> None:
        mean, scale, varies = moments(condition)
        if warm:
            # A column that was constant this time keeps its units.
            scale = torch.where(varies, scale, self.condition_scale)
            self.model.follow((mean - self.condition_mean) / self.condition_scale, scale / self.condition_scale)
        self.condition_mean.copy_(mean)
        self.condition_scale.copy_(scale)

    def _stream(self, seed: int, purpose: str) -> torch.Generator:
        return stream(self.condition_mean.device, seed, "surrogate", purpose)
