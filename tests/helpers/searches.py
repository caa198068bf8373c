"""A search for tests, and a detector of somebody else around it."""

import time
from pathlib import Path

import torch

from mode_opt.errors import SimulationError
from mode_opt.gradients import Advance, DesignSearch
from mode_opt.objectives import Estimate
from mode_opt.simulation import attempt


class Walk(DesignSearch):
    """Random local search: a step to a neighbour is kept if it is better than all that is in the store, which grows.

    Every third step has a column of its own and every step from the second on a note.

    Args:
        events: of each candidate.
        spread: standard deviation of the steps in ψ.
        pause: seconds that a step takes at least, so that a test can interrupt it.
    """

    def __init__(self, events=64, spread=0.3, pause=0.0):
        super().__init__()
        self.events, self.spread, self.pause = events, spread, pause
        self.store: list[tuple[torch.Tensor, float]] = []
        self.prepared = 0

    def prepare(self, pipeline, generator):
        self.prepared += 1

    def advance(self, pipeline, generator):
        time.sleep(self.pause)
        design = pipeline.design
        best = self.best(design)
        step = self.spread * torch.randn(best.shape, generator=generator) if self.store else torch.zeros_like(best)
        phi = design.point(best + step)
        tried = attempt(pipeline.simulator, phi, pipeline.primaries.sample(self.events, generator), generator)
        if tried.events is None and not self.store:
            raise SimulationError(f"nothing came back: {tried.reasons[0]}")
        columns = {"failed_designs": float(tried.failures)}
        if tried.events is not None:
            with torch.no_grad():
                value = float(pipeline.score(tried.events, phi)[0])
            self.store.append((best + step, value))
        with torch.no_grad():
            design.psi.copy_(self.best(design))
        if len(self.store) % 3 == 0:
            columns["radius"] = self.spread
        notes = ("still walking",) if len(self.store) > 1 else ()
        return Advance(Estimate(self.store[-1][1], 0.01), columns, notes)

    def answer(self, design):
        return self.best(design)

    def best(self, design):
        if not self.store or self.store[0][0].shape != design.psi.shape:
            return design.psi.detach().clone()
        return min(self.store, key=lambda entry: entry[1])[0].clone()

    def get_extra_state(self):
        return {"store": [(psi, value) for psi, value in self.store], "prepared": self.prepared}

    def set_extra_state(self, state):
        self.store = [(psi.clone(), float(value)) for psi, value in state["store"]]
        self.prepared = int(state["prepared"])


DETECTOR = '''
from mode_opt import Design, Detector
from mode_opt.reconstruction import CellNetwork
from mode_opt.objectives import Resolution
from mode_opt.simulation import BlackBoxSimulator, ParticleGun
from dataclasses import replace
import torch


class Closed(BlackBoxSimulator):
    """E (1 + s(x) e), best at x = 3; beyond ``edge`` nothing works."""

    def __init__(self, edge):
        super().__init__()
        self.edge = edge

    def simulate(self, phi, primaries, generator):
        if bool((phi["x"] > self.edge).any()):
            raise ValueError("x is beyond the edge")
        events = primaries.expand(phi.designs)
        sigma = (0.0025 + (phi["x"] - 3) ** 2 / 100).sqrt()[:, :, None, None]
        return replace(events, hits=events.hits * (1 + sigma * torch.randn(events.hits.shape, generator=generator)))


def detector(edge=10.0):
    x = {"start": 1.5, "bounds": [0.5, 6], "unit": "mm"}
    simulators = {"closed": Closed(edge)}
    return Detector("closed", Design({"x": x}), simulators, ParticleGun(), CellNetwork.fitting, Resolution())
'''


def write_closed(folder: Path) -> list[str]:
    """Write detector and search into a folder; returns the arguments of a command that use them."""
    package = folder / "mine" / "closed"
    for group in ("detector", "gradient"):
        (package / "conf" / group).mkdir(parents=True)
    (package / "detector.py").write_text(DETECTOR)
    (package / "walking.py").write_text(Path(__file__).read_text())
    (package / "conf" / "detector" / "closed.yaml").write_text("_target_: closed.detector.detector\nedge: 10.0\n")
    (package / "conf" / "gradient" / "walk.yaml").write_text("_target_: closed.walking.Walk\nevents: 64\npause: 0.0\n")
    return ["--detectors", str(folder / "mine"), "detector=closed", "experiment=smoke"]
