"""The cases and methods of the comparison."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from mode_opt.detectors.sampling_calorimeter import sampling_calorimeter
from mode_opt.experiment import Effort, Experiment
from mode_opt.gradients import DesignSearch, LocalRegression, LocalSurrogate
from mode_opt.gradients.sampling import Sampling
from mode_opt.objectives import Resolution
from mode_opt.simulation import opaque
from mode_opt.surrogates import deposits

BINS = (500.0, 910.0, 1657.0, 3017.0, 5493.0, 10000.0)
"""MeV, those of the detector."""
LAYERS: Mapping[str, Any] = {
    "design": {"parameters": {"absorber_thickness": {"size": 50}, "gap_thickness": {"size": 50}}},
    "simulators": {"surrogate": None},
}


@dataclass(frozen=True)
class Case:
    """An objective of the sampling calorimeter.

    Attributes:
        label: for people.
        width: of `Resolution`.
        changes: of the detector.
        events: of each design of the generative surrogate.
        learnt: whether the reconstruction is trained in the loop.
    """

    label: str
    width: str = "rms"
    changes: Mapping[str, Any] = field(default_factory=dict)
    events: int = 256


CASES: Mapping[str, Case] = {
    "rms": Case("two thicknesses, rms"),
    "quantile": Case("two thicknesses, quantile width", "quantile"),
    "layers": Case("100 thicknesses, rms", changes=LAYERS, events=32),
}

REPLAYED = Effort(warm_up=500, reconstruction_steps=150, designs=16, events_per_design=64, memory=100)
"""For searches, whose reconstruction trains on what they give it, without simulator calls; 1024 events a step, as the
default effort."""

Search = Callable[[Case], DesignSearch]


@dataclass(frozen=True)
class Method:
    """A way to optimise; ``search`` is None for pathwise derivatives of the simulator that is no black box."""

    label: str
    search: Search | None = None


def surrogate(case: Case) -> DesignSearch:
    sampling = Sampling(calls=8192, events=case.events, most=2)
    return LocalSurrogate(deposits, radius=0.5, sampling=sampling, window=24_000, members=1)


def regression(events: int, calls: int) -> Search:
    """With so many events of each design and in the first batch."""

    def search(case: Case) -> DesignSearch:
        return LocalRegression(radius=0.5, sampling=Sampling(calls=calls, events=events, most=2), window=100_000)

    return search


METHODS: Mapping[str, Method] = {
    "pathwise": Method("pathwise derivatives (no black box)"),
    "surrogate": Method("generative surrogate", surrogate),
    **{
        f"regression_{n}_{calls}": Method(f"regression of J, {n} events a design, {calls} a step", regression(n, calls))
        for n, calls in ((128, 4096), (512, 4096), (512, 8192))
    },
}


def experiment(case: Case, search: DesignSearch | None = None, seed: int = 0) -> Experiment:
    """The shower is a black box if a search is given; the digitisation never is."""
    torch.manual_seed(seed)  # of the weights of the reconstruction
    detector = sampling_calorimeter(**case.changes)
    simulator = detector.simulator("parametric")
    return Experiment(
        detector.design,
        simulator if search is None else opaque(simulator, ["shower"]),
        detector.primaries,
        detector.reconstruction,
        Resolution(bins=BINS, width=case.width, bias_gradient=False),
        search,
    )
