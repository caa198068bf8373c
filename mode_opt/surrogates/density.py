"""A surrogate that is a conditional density in given coordinates."""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.errors import ShapeError
from mode_opt.events import Events
from mode_opt.simulation import stream
from mode_opt.surrogates.base import Coordinates, Progress, Surrogate, silent
from mode_opt.surrogates.model import ConditionalModel, Rows, finite, moments
from mode_opt.surrogates.training import FitReport, Training, hold_out, train


class ConditionalDensity(ConditionalModel):
    """A bijection between noise ``u ~ N(0, 1)`` and features ``x``, given a condition: an exact p(x | c).

    Rows are events: features and noise ``m x k``, condition ``m x c``. Learns by maximum likelihood.
    """

    @abstractmethod
    def normalise(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """The noise ``m x k`` that makes ``x``, and ``log |du/dx|``, ``m``."""

    @abstractmethod
    def generate(self, u: Tensor, condition: Tensor) -> Tensor:
        """The features ``m x k`` that the noise makes, differentiable in noise, condition and weights."""

    def log_prob(self, x: Tensor, condition: Tensor) -> Tensor:
        """``log p(x | c) = log N(u) + log |du/dx|``, ``m``."""
        u, volume = self.normalise(x, condition)
        return volume - 0.5 * (u**2).sum(1) - 0.5 * self.features * math.log(2 * math.pi)

    @final
    def sample(self, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        size = (len(condition), self.features)
        u = torch.randn(size, generator=generator, dtype=condition.dtype, device=condition.device)
        return self.generate(u, condition)

    @final
    def learn(
        self,
        rows: Rows,
        split: tuple[Tensor, Tensor],
        settings: Training,
        generator: torch.Generator,
        progress: Callable[[str, float], None],
    ) -> FitReport:
        def loss(index: Tensor, _: torch.Generator) -> Tensor:
            part = rows.take(index)
            return -part.mean(self.log_prob(part.features, part.condition))

        return train(self, loss, *split, settings, generator, progress, first_look=True)


@final
class PlainCoordinates(Coordinates):
    """All features of all hits as they are, conditioned on the design and on the hits of the primaries.

    Args:
        hits: ``h`` and ``f`` of the events, the same for all.
    """

    def __init__(self, hits: tuple[int, int]) -> None:
        self.hits = hits

    def condition(self, phi: DesignPoint, primaries: Events) -> Tensor:
        design = phi.normalised()
        count = primaries.count
        return torch.cat([design[:, None].expand(-1, count, -1), primaries.expand(phi.designs).hits.flatten(2)], dim=2)

    def features(self, events: Events, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        if tuple(events.hits.shape[2:]) != self.hits:
            raise ShapeError("Events.hits", events.hits.shape, f"b x n x {self.hits[0]} x {self.hits[1]}")
        if not events.mask.all():
            raise ShapeError("Events.mask", events.mask.shape, "the same number of real hits in all events")
        return events.hits.flatten(2)

    def events(self, features: Tensor, phi: DesignPoint, primaries: Events) -> Events:
        hits = features.unflatten(2, self.hits)
        mask = torch.ones(hits.shape[:3], dtype=torch.bool, device=hits.device)
        # Replaced rather than new: what upstream simulators recorded of their random choices stays.
        return replace(primaries.expand(phi.designs), hits=hits, mask=mask)


@final
class DensitySurrogate(Surrogate):
    """``hits = T(G(u; c(φ, primaries)))``: noise u, density G, coordinates T.

    Fitted by maximum likelihood; inputs and features are standardised by the moments of the training data of
    the last fit that was not warm. Noise does not depend on the design: samples carry pathwise derivatives.

    Args:
        coordinates: from events to features and back.
        density: of the features.
        conditions: ``c``, the size of the condition.
        training: settings of the fit.
    """

    condition_mean: Tensor
    condition_scale: Tensor
    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(
        self,
        coordinates: Coordinates,
        density: ConditionalDensity,
        conditions: int,
        training: Training | None = None,
    ) -> None:
        super().__init__()
        self.coordinates, self.density = coordinates, density
        self.training_settings = training or Training()
        for name, size in (("condition", conditions), ("feature", density.features)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))
        self.density.reset(stream("cpu", 0, "surrogate", "weights"))

    def forward(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None = None) -> Events:
        primaries = primaries.expand(phi.designs)
        condition = self.coordinates.condition(phi, primaries)
        size = (*condition.shape[:2], self.density.features)
        u = torch.randn(size, generator=generator, dtype=condition.dtype, device=condition.device)
        x = self.density.generate(u.flatten(0, 1), self._scaled(condition).flatten(0, 1)).unflatten(0, size[:2])
        return self.coordinates.events(x * self.feature_scale + self.feature_mean, phi, primaries)

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
        condition = finite("designs and primaries", self.coordinates.condition(phi, primaries))
        finite("hits", events.hits)
        features = finite("features", self.coordinates.features(events, condition, self._stream(seed, "features")))
        if not warm:
            self.density.reset(stream("cpu", seed, "surrogate", "weights"))
            self._standardise(condition, features)
        kept, held = hold_out(
            phi, events.count, self.training_settings.held_out, stream("cpu", seed, "surrogate", "held-out")
        )

        def loss(rows: Tensor, generator: torch.Generator) -> Tensor:
            b, n = rows // events.count, rows % events.count
            part = Events.of(events.truth[b, n][None], events.hits[b, n][None], events.mask[b, n][None])
            c = condition[b, n]
            x = (self.coordinates.features(part, c[None], generator)[0] - self.feature_mean) / self.feature_scale
            weight = events.weight[b, n]
            return -(weight * self.density.log_prob(x, self._scaled(c))).sum() / weight.sum()

        return train(self.density, loss, kept, held, self.training_settings, self._stream(seed, "batches"), progress)

    def _scaled(self, condition: Tensor) -> Tensor:
        return (condition - self.condition_mean) / self.condition_scale

    def _stream(self, seed: int, purpose: str) -> torch.Generator:
        return stream(self.feature_mean.device, seed, "surrogate", purpose)

    def _standardise(self, condition: Tensor, features: Tensor) -> None:
        for name, values in (("condition", condition), ("feature", features)):
            mean, scale, _ = moments(values.flatten(0, 1))
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_scale").copy_(scale)
