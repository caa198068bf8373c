"""Small black boxes that go wrong, or are extreme, in one way each; all carry their truth."""

from typing import final

import torch

from mode_opt.design import Design, DesignPoint
from mode_opt.detectors.benchmarks import MeanResponse, Problem, UniformInputs
from mode_opt.events import Events
from mode_opt.experiment import Detector
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import BlackBoxSimulator

KINDS = ("nan", "raises", "deterministic", "bounded")

LIMIT = 1.1
"""Designs with a first parameter above this fail; the optimum at (1, 1) is near."""


@final
class Bowl(BlackBoxSimulator):
    """``y ~ N(x + Σ (φ_i − 1)², deviation)``.

    Args:
        kind: ``nan``: designs beyond `LIMIT` give NaN. ``raises``: a call with such a design raises. Otherwise none
            fails.
        deviation: of y.
    """

    def __init__(self, kind: str, deviation: float = 0.3) -> None:
        super().__init__()
        self.kind, self.deviation = kind, deviation

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events = primaries.expand(phi.designs)
        failed = phi["point"][:, 0] > LIMIT
        if self.kind == "raises" and bool(failed.any()):
            raise RuntimeError("the geometry overlaps")
        x = events.hits[:, :, 0, 0]
        normal = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        response = x + bowl(phi)[:, None] + self.deviation * normal
        if self.kind == "nan":
            response = torch.where(failed[:, None], torch.nan, response)
        return Events.of(events.truth, response[..., None, None], weight=events.weight)


def bowl(phi: DesignPoint) -> torch.Tensor:
    """The expected objective, ``b``."""
    return (phi["point"] - 1).square().sum(1)


def failing(kind: str) -> Problem:
    """One of `KINDS`.

    ``deterministic`` has neither noise nor spread of its inputs; the optimum of ``bounded`` is a corner of its box.
    """
    still, cut = kind == "deterministic", kind == "bounded"
    spread, deviation = (1e-6, 0.0) if still else (1.0, 0.3)
    limits = {"bounds": [-2.0, 0.5]} if cut else {}
    detector = Detector(
        name=kind,
        design=Design({"point": {"start": [-1.0, -0.5], **limits}}),
        simulators={"black_box": Bowl(kind, deviation)},
        primaries=UniformInputs((-spread,), (spread,)),
        reconstruction=PriorBelief.fitting,
        objective=MeanResponse(),
        hit_names=("y",),
    )
    variance = spread**2 / 3 + deviation**2
    best = torch.full((2,), 0.5 if cut else 1.0)
    return Problem.of(detector, bowl, lambda phi: torch.full_like(bowl(phi), variance), 0.5 if cut else 0.0, [best])
