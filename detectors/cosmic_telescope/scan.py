"""Brute force: the objective of many designs, with the same tracks and the same noise for all."""

import copy
import math
from collections.abc import Mapping
from typing import NamedTuple

import torch

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Detector
from mode_opt.simulation import stream

from .track_fit import TrackFit

Values = Mapping[str, float | list[float]]
BOX = {"radius": (165.0, 200.0), "gap": (10.2, 120.0), "winding": (0.25, 0.75)}
"""Where the scan looks; the inner radius, which never gains by growing, not up to its bound."""
_COLUMNS = 5


class Scanned(NamedTuple):
    """One design: values of the free parameters and the objective."""

    values: Values
    objective: float


def measured(detector: Detector, phi: DesignPoint, events: int, seed: int = 0, simulator: str = "twin") -> float:
    """J of one design; the same seed gives the same tracks and the same noise."""
    primaries = detector.primaries.sample(events, stream("cpu", seed, "scan", "tracks"))
    with torch.no_grad():
        found = detector.simulator(simulator)(phi.detach(), primaries, stream("cpu", seed, "scan", "noise"))
        return float(detector.objective(found, TrackFit()(found, phi.detach()), phi.detach()))


def scan(detector: Detector, designs: int = 2048, events: int = 4000, seed: int = 0) -> list[Scanned]:
    """Designs that satisfy the constraints, best first: half of them anywhere in `BOX`, half near the best of these.

    Points of a Sobol sequence, uniform in the logarithm of the gaps; those near the best are within a quarter of the
    box, and cut at its faces, so that the faces are looked at too.

    Args:
        detector: the telescope; its design stays as it is.
        designs: that are tried; those that a constraint forbids count.
        events: tracks of each.
        seed: of tracks and noise.
    """
    design = copy.deepcopy(detector.design)
    points = torch.quasirandom.SobolEngine(_COLUMNS, scramble=True, seed=seed).draw(designs)
    anywhere, near = points[: designs // 2], points[designs // 2 :]
    found = _tried(detector, design, anywhere, events, seed)
    best = anywhere[min(range(len(found)), key=lambda k: found[k].objective)]
    around = (best + (near - 0.5) / 2).clamp(0.0, 1.0)
    every = [one for one in found + _tried(detector, design, around, events, seed) if one.objective < math.inf]
    return sorted(every, key=lambda one: one.objective)


def _tried(detector: Detector, design: Design, points: torch.Tensor, events: int, seed: int) -> list[Scanned]:
    found = []
    for point in points.tolist():
        values = _values(point)
        try:
            design.assign(dict(values))
        except ConfigurationError:  # a constraint forbids it
            found.append(Scanned(values, math.inf))
            continue
        found.append(Scanned(values, measured(detector, design(), events, seed)))
    return found


def _values(point: list[float]) -> Values:
    """The design at a point of the unit cube."""
    radius = _between(*BOX["radius"], point[0])
    low, high = (math.log(gap) for gap in BOX["gap"])
    gap = [min(max(math.exp(_between(low, high, part)), BOX["gap"][0]), BOX["gap"][1]) for part in point[1:3]]
    inner = _between(*BOX["winding"], point[3])
    outer = _between(BOX["winding"][0], 1 - inner, point[4])  # together at most one turn
    return {"radius": radius, "gap": gap, "winding": [inner, outer]}


def _between(low: float, high: float, part: float) -> float:
    return low + (high - low) * part
