"""Surrogates for a neighbourhood of designs, by name: each function makes an unfitted one that suits given events.

They are factories for ``functools.partial`` and for ``conf/surrogate``: called with designs (``b``), primaries and
events (``b x n``), of which only the shapes matter (and, for `quadratic`, whether all features are 0 or 1).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.surrogates.adversarial import Adversarial
from mode_opt.surrogates.chain_rule import ChainRule
from mode_opt.surrogates.coarse_to_fine import CoarseToFine
from mode_opt.surrogates.composition import Composition
from mode_opt.surrogates.conditional_gaussian import ConditionalGaussian
from mode_opt.surrogates.denoising import Denoising
from mode_opt.surrogates.density import PlainCoordinates
from mode_opt.surrogates.mixture_density import MixtureDensity
from mode_opt.surrogates.model import ConditionalModel
from mode_opt.surrogates.neighbourhood import NeighbourhoodSurrogate
from mode_opt.surrogates.quadratic import QuadraticSurrogate
from mode_opt.surrogates.quadratic_form import QuadraticClassifier, QuadraticDensity
from mode_opt.surrogates.sinh_arcsinh import SinhArcsinh
from mode_opt.surrogates.spline_flow import SplineFlow
from mode_opt.surrogates.training import Training
from mode_opt.surrogates.trend import Trend

TRAINING = Training(
    steps=300, batch=256, learning_rate=5e-3, weight_decay=0.1, held_out=0.15, check_every=20, patience=5
)
"""Of densities: seconds matter, because every step of a design makes a fit."""

Changes = Training | Mapping[str, Any] | None
"""Settings that differ from the default of a family."""


def gaussian(
    phi: DesignPoint,
    primaries: Events,
    events: Events,
    hidden: int = 32,
    trend: str = "cubic",
    training: Changes = None,
) -> NeighbourhoodSurrogate:
    """Mean and covariance functions of primaries and design: `ConditionalGaussian` around a `Trend`."""

    def model(k: int, c: int) -> ConditionalModel:
        return ConditionalGaussian(k, c, hidden)

    return _neighbourhood(phi, primaries, events, model, trend, _settings(TRAINING, training))


def mixture(
    phi: DesignPoint,
    primaries: Events,
    events: Events,
    components: int = 3,
    hidden: int = 24,
    trend: str = "cubic",
    training: Changes = None,
) -> NeighbourhoodSurrogate:
    """Several modes: `MixtureDensity` around a `Trend`."""

    def model(k: int, c: int) -> ConditionalModel:
        return MixtureDensity(k, c, components, hidden)

    return _neighbourhood(phi, primaries, events, model, trend, _settings(TRAINING, training))


def flow(
    phi: DesignPoint,
    primaries: Events,
    events: Events,
    transforms: int = 2,
    bins: int = 6,
    hidden: int = 32,
    trend: str = "cubic",
    training: Changes = None,
) -> NeighbourhoodSurrogate:
    """Any smooth shape: `SplineFlow` around a `Trend`."""

    def model(k: int, c: int) -> ConditionalModel:
        return SplineFlow(k, c, transforms, bins, hidden)

    return _neighbourhood(phi, primaries, events, model, trend, _settings(TRAINING, training))


def gan(
    phi: DesignPoint,
    primaries: Events,
    events: Events,
    hidden: int = 48,
    noise: int = 4,
    critic: str = "cramer",
    penalty: float = 10.0,
    trend: str = "cubic",
    training: Changes = None,
) -> NeighbourhoodSurrogate:
    """`Adversarial`, the family of the original local generative surrogate, around a `Trend`."""

    def model(k: int, c: int) -> ConditionalModel:
        return Adversarial(k, c, hidden, noise, critic, penalty)

    default = replace(TRAINING, steps=400, learning_rate=1e-2, weight_decay=1e-2, check_every=30, patience=4)
    return _neighbourhood(phi, primaries, events, model, trend, _settings(default, training))


def diffusion(
    phi: DesignPoint,
    primaries: Events,
    events: Events,
    hidden: int = 48,
    turns: int = 8,
    trend: str = "cubic",
    training: Changes = None,
) -> NeighbourhoodSurrogate:
    """`Denoising` with few deterministic steps around a `Trend`."""

    def model(k: int, c: int) -> ConditionalModel:
        return Denoising(k, c, hidden, turns)

    default = replace(TRAINING, steps=500, batch=512, check_every=30, patience=8)
    return _neighbourhood(phi, primaries, events, model, trend, _settings(default, training))


def quadratic(
    phi: DesignPoint,
    primaries: Events,
    events: Events,
    kind: str = "auto",
    hidden: int = 24,
    rank: int = 2,
    misses_per_hit: float = 4.0,
    trend: str = "cubic",
    training: Changes = None,
) -> QuadraticSurrogate:
    """Value or logit quadratic in the design: `QuadraticSurrogate`.

    ``kind`` is ``classification`` (features are 0 or 1), ``regression``, or ``auto`` (classification if
    all given features are 0 or 1).

    Raises:
        ConfigurationError: for another kind.
    """
    if kind not in ("auto", "classification", "regression"):
        raise ConfigurationError("surrogate.kind", kind, "auto, classification or regression")
    hits, k, d, p = _sizes(phi, primaries, events)
    settings = _settings(TRAINING, training)
    binary = bool(((events.hits == 0) | (events.hits == 1)).all())
    if kind == "classification" or (kind == "auto" and binary):
        classifier = QuadraticClassifier(d, p, k, hidden, rank, misses_per_hit)
        return QuadraticSurrogate(classifier, Trend(k, d + p, d, "identity"), hits, phi, settings)
    return QuadraticSurrogate(QuadraticDensity(d, p, k, hidden, rank), Trend(k, d + p, d, trend), hits, phi, settings)


def deposits(
    phi: DesignPoint,
    primaries: Events,
    events: Events,
    blocks: Sequence[int] = (4, 8),
    hidden: int = 32,
    trend: str = "quadratic",
    training: Changes = None,
) -> NeighbourhoodSurrogate:
    """Energies of many cells in a row (layers): `Composition`, a skewed total, and `CoarseToFine` for the shares.

    ``blocks`` are the coarse modes of the profile, coarsest first; the finer ones follow as one block.
    """
    hits, k, d, p = _sizes(phi, primaries, events)
    parts, left = [], k
    for size in blocks:
        parts.append(min(size, left))
        left -= parts[-1]
    sizes = [size for size in (*parts, left) if size > 0]
    model = ChainRule(SinhArcsinh(1, d + p, hidden), CoarseToFine(sizes, d + p + 1, hidden))
    positive = (primaries.hits.flatten(2) > 0).all(1).all(0)
    settings = _settings(replace(TRAINING, steps=400, batch=512), training)
    around = Trend(k + 1, d + p, d, trend, correlate=False)  # the modes are sums of neighbours, not of residuals
    return NeighbourhoodSurrogate(Composition(hits, positive), model, around, d + p, settings)


def _neighbourhood(
    phi: DesignPoint,
    primaries: Events,
    events: Events,
    model: Callable[[int, int], ConditionalModel],
    trend: str,
    training: Training,
) -> NeighbourhoodSurrogate:
    hits, k, d, p = _sizes(phi, primaries, events)
    coordinates = PlainCoordinates(hits)
    return NeighbourhoodSurrogate(coordinates, model(k, d + p), Trend(k, d + p, d, trend), d + p, training)


def _sizes(phi: DesignPoint, primaries: Events, events: Events) -> tuple[tuple[int, int], int, int, int]:
    """Hits and features, ``k = h · f``, columns of the design and of the primaries."""
    hits = (events.hits.shape[2], events.hits.shape[3])
    return hits, hits[0] * hits[1], phi.values.shape[1], primaries.hits.shape[2] * primaries.hits.shape[3]


def _settings(default: Training, changes: Changes) -> Training:
    if isinstance(changes, Training):
        return changes
    for key, value in (changes or {}).items():
        if key not in vars(default):
            raise ConfigurationError(f"surrogate.training.{key}", value, f"one of {', '.join(vars(default))}")
    return replace(default, **(changes or {}))
