"""Fitting the twin to pairs of reconstructed and true tracks."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.objectives.resolution import wrapped
from mode_opt.simulation import stream

from .data import Pairs
from .passage import Apparatus
from .track_fit import TrackFit
from .twin import TelescopeTwin

Array = NDArray[np.float64]
FREE = ("stereo", "axial", "wall")
EDGES = (0.0, 2000.0, 5000.0, 10_000.0, float("inf"))
"""Of the bins of the momentum, MeV."""
CENTRAL = (0.5, 0.682689, 0.9)
"""Parts of the residuals whose half-widths are compared, over all momenta."""
BOOTSTRAPS = 400


def recorded_design() -> DesignPoint:
    """Layers of the recorded run: radii, windings and pitch that its strips tell (see ``geometry.py``)."""
    return DesignPoint.of(
        radius=165.8, gap=torch.tensor([10.8, 10.7]), winding=torch.tensor([0.511, 0.468]), pitch=10.28
    )


def events_of(pairs: Pairs, copies: int = 1) -> Events:
    """Primaries: every track so many times, one copy of all after the other; truth φ, cot θ, z, b."""
    truth, momentum = pairs.truth.repeat(copies, 1), pairs.momentum.repeat(copies)
    return Events.of(truth.unsqueeze(0), torch.cat([truth, momentum.unsqueeze(1)], 1)[None, :, None])


def residuals(found: Tensor, truth: Tensor) -> Array:
    """``n x 4`` of φ (wrapped), cot θ, z, b."""
    difference = found - truth
    return torch.cat([wrapped(difference[:, :1]), difference[:, 1:]], 1).detach().double().numpy()


def half_width(values: Array, part: float = CENTRAL[1]) -> Array:
    """Half of the interval that holds the central part of the values along the first dimension."""
    low, high = np.quantile(values, [(1 - part) / 2, (1 + part) / 2], axis=0)
    return np.asarray((high - low) / 2)


def widths(residual: Array, momentum: Array) -> Array:
    """What twin and file are compared in, ``4 x 7``.

    For each of φ, cot θ, z, b: half-widths of the central 50 %, 68.27 % and 90 % over all momenta, then of the central
    68.27 % in the bins of the momentum.
    """
    overall = [half_width(residual, part) for part in CENTRAL]
    inside = [(momentum >= low) & (momentum < high) for low, high in pairwise(EDGES)]
    return np.stack([*overall, *(half_width(residual[mask]) for mask in inside)], 1)


@final
@dataclass(frozen=True)
class Calibration:
    """The twin that describes the pairs best.

    Attributes:
        values: of `FREE`.
        covariance: of the values, ``3 x 3``, from the bootstrap of the pairs.
        observed: `widths` of the pairs.
        errors: their standard errors, from the bootstrap.
        predicted: `widths` of the twin.
        distance: ``Σ ((predicted − observed)/errors)²``.
        probability: of a larger distance if the twin were true; from samples of the twin, refitted.
    """

    values: Array
    covariance: Array
    observed: Array
    errors: Array
    predicted: Array
    distance: float
    probability: float


def simulated(
    pairs: Pairs, values: Sequence[float], copies: int, seed: int = 0, sharing: float = 0.0
) -> tuple[Array, Array]:
    """Residuals ``n x 4`` of the twin for the tracks of the pairs, and their momenta, MeV; a seed fixes the noise."""
    apparatus, phi = Apparatus(**dict(zip(FREE, values, strict=True)), sharing=sharing), recorded_design()
    with torch.no_grad():
        events = TelescopeTwin(apparatus)(phi, events_of(pairs, copies), stream("cpu", seed, "calibration"))
        found = TrackFit()(events, phi).mean[0]
    return residuals(found, events.truth[0]), pairs.momentum.repeat(copies).double().numpy()


def calibrate(
    pairs: Pairs,
    sharing: float = 0.0,
    start: Sequence[float] = (0.2, 0.2, 0.2),
    copies: int = 100,
    seed: int = 0,
) -> Calibration:
    """Errors of the crossings and matter of the walls for which the twin has the `widths` of the pairs.

    Least squares in the logarithms of the values, with the squared bootstrap errors of the observed widths; the noise
    of the twin is the same at every step. Errors of the values and the probability of the distance come from one
    Gauss-Newton step for each bootstrap sample of the pairs and each sample of the twin.

    Args:
        pairs: reconstructed and true tracks.
        sharing: of `Apparatus`, not fitted.
        start: of `FREE`.
        copies: of each track that the twin simulates.
        seed: of twin and bootstrap.
    """
    from scipy.optimize import least_squares

    residual, momentum = residuals(pairs.found, pairs.truth), pairs.momentum.double().numpy()
    observed = widths(residual, momentum)
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, len(momentum), (BOOTSTRAPS, len(momentum)))
    resampled = np.stack([widths(residual[i], momentum[i]) for i in drawn])
    errors = resampled.std(0)

    def pulls(logarithms: Array) -> Array:
        return (
            (widths(*simulated(pairs, np.exp(logarithms).tolist(), copies, seed, sharing)) - observed) / errors
        ).ravel()

    # Quantiles of a finite sample have kinks: the step is larger than the noise of the difference.
    fit = least_squares(pulls, np.log(start), diff_step=0.05, x_scale=0.3, xtol=1e-3, ftol=1e-4, gtol=1e-6)
    values = np.exp(fit.x)
    slope = np.linalg.pinv(fit.jac)
    moved = ((resampled - observed) / errors).reshape(BOOTSTRAPS, -1) @ slope.T
    predicted = pulls(fit.x).reshape(observed.shape) * errors + observed
    samples = _samples(pairs, values.tolist(), seed + 1, sharing)
    noise = ((samples - predicted) / errors).reshape(len(samples), -1)
    distances = ((noise - noise @ slope.T @ fit.jac.T) ** 2).sum(1)
    distance = float((pulls(fit.x) ** 2).sum())
    covariance = np.cov((values * np.exp(moved)).T)
    return Calibration(values, covariance, observed, errors, predicted, distance, float((distances > distance).mean()))


def _samples(pairs: Pairs, values: Sequence[float], seed: int, sharing: float) -> Array:
    """`widths` of samples of the twin, each as large as the pairs, with the momenta of the pairs."""
    residual, momentum = simulated(pairs, values, BOOTSTRAPS, seed, sharing)
    count = len(pairs.momentum)
    return np.stack([widths(residual[k : k + count], momentum[:count]) for k in range(0, len(momentum), count)])
