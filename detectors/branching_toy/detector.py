"""The branching toy as a `Detector`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mode_opt.design import Design
from mode_opt.experiment import Detector
from mode_opt.experiment.configuration import detector_settings
from mode_opt.reconstruction import PriorBelief

from .objective import RadiusDeviation
from .program import BranchingToy
from .source import CentralSource

CONFIGURATION = Path(__file__).parent / "conf" / "detector" / "branching_toy.yaml"


@dataclass(frozen=True)
class TruthAt:
    """What is known of a toy at one design: means over many events, with standard errors where they matter.

    Attributes:
        inner_radius: θ, mm.
        objective: E[f], mm².
        gradient: dE[f]/dθ, mm.
        gradient_error: its standard error, mm.
        score_deviation: of ``f d log p/dθ`` of one event, mm.
        baseline_deviation: of ``(f − E[f]) d log p/dθ``, mm.
        points: of every event, a constant.
        steps: mean number of particle-steps of an event.
    """

    inner_radius: float
    objective: float
    gradient: float
    gradient_error: float
    score_deviation: float
    baseline_deviation: float
    points: int
    steps: float


REFERENCES: Mapping[str, TruthAt] = {
    "shower": TruthAt(2.5, 1.922, 2.562, 0.006, 12.5, 4.54, 127, 704.0),
    "energy_loss": TruthAt(2.5, 2.845, 3.091, 0.005, 17.2, 6.86, 14, 230.0),
}
"""Means of the numbers published with arXiv 2308.16680 and of independent implementations of its program."""


def branching_toy(**changes: Any) -> Detector:
    """A ring of material around a source; the design is its inner radius, the aim a mean radius of its points.

    Args:
        changes: entries of ``conf/detector/branching_toy.yaml`` that differ, e.g. ``variant="energy_loss"``
            (mappings are merged).

    Raises:
        ConfigurationError: for an entry that does not exist, or a value that does not fit.
    """
    return _build(**detector_settings(CONFIGURATION, changes))


def _build(
    name: str,
    description: str,
    variant: str,
    design: Mapping[str, Any],
    energy: float,
    target: float,
    program: Mapping[str, Any],
) -> Detector:
    return Detector(
        name=name,
        design=Design(**design),
        simulators={"program": BranchingToy(variant, **program)},
        primaries=CentralSource(energy),
        reconstruction=PriorBelief.fitting,
        objective=RadiusDeviation(target),
        hit_names=("sum of radii", "points"),
        description=description,
    )
