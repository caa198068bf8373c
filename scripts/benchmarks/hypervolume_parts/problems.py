"""Problems with several goals whose fronts are known, and the sampling calorimeter."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import final

import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.detectors.sampling_calorimeter import sampling_calorimeter
from mode_opt.events import Events
from mode_opt.search.front import hypervolume
from mode_opt.simulation import BlackBoxSimulator, Opaque, ParticleGun, PrimarySource, Simulator, stream

MEASURED = 4000
"""Events of the calorimeter that measure a design, the same primaries and random numbers for all."""


@dataclass(frozen=True)
class Problem:
    """Several goals of one simulator.

    Attributes:
        title: for a reader.
        goals: names.
        reference: worst values that count, by goal.
        ranges: lowest and highest value of each goal on its front: where a sweep puts its levels.
        events: of an evaluation.
        designs: that a run evaluates.
        design: a fresh one.
        simulator: black box.
        primaries: of the simulator.
        values: of all goals, ``b x k``, of events of ``b`` designs.
        truth: of all goals, without noise, ``b x k``.
        volume: hypervolume of the true front.
    """

    title: str
    goals: tuple[str, ...]
    reference: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]]
    events: int
    designs: int
    design: Callable[[], Design]
    simulator: Callable[[], Simulator]
    primaries: PrimarySource
    values: Callable[[Events, DesignPoint], Tensor]
    truth: Callable[[DesignPoint], Tensor]
    volume: Callable[[], float]


@final
class Readings(BlackBoxSimulator):
    """Each event reads every goal with Gaussian noise."""

    def __init__(self, truth: Callable[[DesignPoint], Tensor], noise: float) -> None:
        super().__init__()
        self.truth, self.noise = truth, noise

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events, level = primaries.expand(phi.designs), self.truth(phi)
        noise = torch.randn((phi.designs, events.count, level.shape[1]), generator=generator)
        hits = (level[:, None] + self.noise * noise)[..., None]
        return Events(events.truth, hits, torch.ones(hits.shape[:3], dtype=torch.bool), events.weight)


def means(events: Events, phi: DesignPoint) -> Tensor:
    """Weighted mean of each reading."""
    return (events.weight[..., None] * events.hits[..., 0]).sum(1) / events.weight.sum(1, keepdim=True)


def bowls() -> Problem:
    """|x − c_1|² and |x − c_2|² in four dimensions, 4 apart squared: the front is (4 t², 4 (1 − t)²)."""
    centre = torch.tensor([0.5, 0.5, 0.5, 0.5])

    def truth(phi: DesignPoint) -> Tensor:
        return torch.stack([(phi["x"] - side * centre).square().sum(1) for side in (1, -1)], 1)

    start = {"x": {"start": [1.2, -1.2, 1.2, -1.2], "size": 4, "bounds": [-2.0, 2.0]}}
    return Problem(
        "two bowls, d = 4",
        ("first", "second"),
        {"first": 4.0, "second": 4.0},
        {"first": (0.0, 4.0), "second": (0.0, 4.0)},
        20,
        30,
        lambda: Design(start),
        lambda: Readings(truth, 0.3),
        ParticleGun((1.0, 2.0)),
        means,
        truth,
        lambda: 40 / 3,
    )


def sphere() -> Problem:
    """DTLZ2 with three goals in four dimensions: an octant of the unit sphere, and ``1 + g`` times it elsewhere."""

    def truth(phi: DesignPoint) -> Tensor:
        x = phi["x"]
        radius = 1 + (x[:, 2:] - 0.5).square().sum(1)
        one, two = (math.pi / 2 * x[:, :2]).unbind(1)
        along = [one.cos() * two.cos(), one.cos() * two.sin(), one.sin()]
        return radius[:, None] * torch.stack(along, 1)

    names = ("first", "second", "third")
    return Problem(
        "DTLZ2, 3 goals, d = 4",
        names,
        dict.fromkeys(names, 1.1),
        dict.fromkeys(names, (0.0, 1.0)),
        20,
        60,
        lambda: Design({"x": {"start": [0.8, 0.8, 0.9, 0.1], "size": 4, "bounds": [0.0, 1.0]}}),
        lambda: Readings(truth, 0.05),
        ParticleGun((1.0, 2.0)),
        means,
        truth,
        lambda: 1.1**3 - math.pi / 6,
    )


def calorimeter() -> Problem:
    """Relative spread of visible over true energy against length; the shower is a black box, nothing is trained."""
    detector = sampling_calorimeter()

    def values(events: Events, phi: DesignPoint) -> Tensor:
        ratio = events.hits.sum((2, 3)).double() / events.truth[..., 0].double()
        weight = events.weight.double()
        mean = (weight * ratio).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        variance = (weight * (ratio - mean).square()).sum(1) / weight.sum(1)
        return torch.stack([variance.sqrt() / mean[:, 0], phi["length"][:, 0].double() / 100], 1)

    simulator = Opaque(detector.simulator("parametric"))

    @torch.no_grad()
    def truth(phi: DesignPoint) -> Tensor:
        found = []
        for index in range(phi.designs):
            primaries = detector.primaries.sample(MEASURED, stream("cpu", 0, "primaries"))
            one = phi.design(index).detach()
            found.append(values(simulator(one, primaries, stream("cpu", 0, "shower")), one))
        return torch.cat(found)

    return Problem(
        "sampling calorimeter, d = 2",
        ("resolution", "length"),
        {"resolution": 0.30, "length": 4.0},
        {"resolution": (0.06, 0.30), "length": (1.0, 4.0)},
        500,
        30,
        lambda: sampling_calorimeter().design,
        lambda: simulator,
        detector.primaries,
        values,
        truth,
        cache(lambda: _of_a_grid(truth, detector.design, torch.tensor([0.30, 4.0]))),
    )


def _of_a_grid(truth: Callable[[DesignPoint], Tensor], design: Design, reference: Tensor) -> float:
    """Hypervolume of 16 x 16 designs in the box of ψ."""
    line = torch.linspace(-2, 2, 16)
    return hypervolume(truth(design.point(torch.cartesian_prod(line, line)).detach()), reference.double())


PROBLEMS: Mapping[str, Callable[[], Problem]] = {
    "bowls": cache(bowls),
    "sphere": cache(sphere),
    "calorimeter": cache(calorimeter),
}
