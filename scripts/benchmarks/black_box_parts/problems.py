"""The problems: those of `mode_opt.detectors.benchmarks`, or one of your own as ``module:function``."""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mode_opt.design import DesignPoint
from mode_opt.detectors import benchmarks
from mode_opt.experiment import Detector

from .record import Run

PROBLEMS = ("rosenbrock_10", "three_hump", "rosenbrock_100_in_10", "three_hump_40_in_2", "network_weights")
"""Those of the paper, in the order of table and figures."""

ROSENBROCK, HUMP = (5.0, 2.0, 1.0, 0.5, 0.1), (-0.6, -0.7, -0.8, -0.85)
THRESHOLDS: Mapping[str, Sequence[float]] = {
    "rosenbrock_10": ROSENBROCK,
    "rosenbrock_100_in_10": ROSENBROCK,
    "three_hump": HUMP,
    "three_hump_40_in_2": HUMP[1:3],
}
SHARES = (0.5, 0.1, 0.05, 0.01)
"""Of the distance from the start to the lowest known objective: thresholds of every other problem."""

NEIGHBOURHOODS = {"three_hump": 0.5}
"""Longest step of the original's outer loop, in field units, where it is not 0.2."""


@dataclass(frozen=True)
class Problem:
    """A detector that carries its own truth.

    Attributes:
        name: in tables and figures.
        detector: its first simulator is called.
        truth: with ``exact_objective`` of designs, ``optimum`` and ``start``; no method sees it.
    """

    name: str
    detector: Detector
    truth: Any

    @property
    def optimum(self) -> float:
        """The lowest known J."""
        return float(self.truth.optimum)

    @property
    def start(self) -> float:
        """J of the start design."""
        return float(self.truth.start)

    @property
    def thresholds(self) -> Sequence[float]:
        """Values of J that count as reached, from high to low."""
        relative = [self.optimum + share * (self.start - self.optimum) for share in SHARES]
        return THRESHOLDS.get(self.name, relative)

    @property
    def neighbourhood(self) -> float:
        """Longest step of the original's outer loop, in field units."""
        return NEIGHBOURHOODS.get(self.name, 0.2)

    @torch.no_grad()
    def objective(self, phi: DesignPoint) -> float:
        """Exact J of one design, which costs no simulator calls."""
        return float(self.truth.exact_objective(phi))


def listed(runs: Iterable[Run]) -> list[str]:
    """The problems of these runs, those of the paper first."""
    names = dict.fromkeys(run.problem for run in runs)
    return [*(name for name in PROBLEMS if name in names), *(name for name in names if name not in PROBLEMS)]


def problem_named(name: str) -> Problem:
    """Build a problem.

    Args:
        name: of a problem of `mode_opt.detectors.benchmarks`; ``sphere_D``, its ellipsoid of dimension D; or
            ``module:function``, a function without arguments that returns an object with ``detector`` and ``truth``.

    Raises:
        ConfigurationError: if there is none of that name.
    """
    module, _, function = name.rpartition(":")
    kind, _, dimension = function.rpartition("_")
    if module:
        built = getattr(importlib.import_module(module), function)()
    elif kind == "sphere" and dimension.isdigit():
        built = benchmarks.sphere(int(dimension))
    else:
        built = benchmarks.problem(name)
    return Problem(name, built.detector, built.truth)
