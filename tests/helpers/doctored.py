"""A detector of somebody else, written into a folder: a counter whose gradient is known, or lost by half."""

from pathlib import Path

MODULE = '''
import dataclasses

import torch

from mode_opt import Design, Detector
from mode_opt.events import Events
from mode_opt.gradients import GradientEstimator
from mode_opt.objectives import Objective
from mode_opt.reconstruction import CellNetwork
from mode_opt.simulation import ParticleGun, Promise, StochasticSimulator


class Counter(StochasticSimulator):
    """k ~ Poisson(x); ``kept`` of the log-probability is recorded."""

    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    def forward(self, phi, primaries, generator=None):
        events = primaries.expand(phi.designs)
        rate = phi["x"].expand(-1, events.count)
        count = torch.poisson(rate.detach(), generator=generator)
        score = self.kept * (count * rate.log() - rate - torch.lgamma(count + 1))
        return dataclasses.replace(events, hits=count[..., None, None], log_probability=score)


class Distance(Objective):
    """``<(k - 3)^2>``, whose derivative is ``2 (x - 3) + 1``."""

    def forward(self, events, belief, phi):
        square = (events.hits[:, :, 0, 0] - 3) ** 2
        return (square * events.weight).sum(-1) / events.weight.sum(-1)


class Broken(GradientEstimator):
    """Not finite from the third call on."""

    def __init__(self, good=2):
        self.good = good

    @property
    def requires(self):
        return Promise.BLACK_BOX

    def loss(self, simulator, design, primaries, score, generator=None):
        self.good -= 1
        phi = design()
        value = score(simulator(phi, primaries, generator), phi).mean()
        return value + 0 * design.psi.sum() + (0.0 if self.good >= 0 else float("nan"))


def exact(design):
    return 2 * (design()["x"][0] - 3) + 1


def detector(parameters, kept=1.0, known=True):
    return Detector(
        "counter",
        Design(parameters),
        {"counter": Counter(kept)},
        ParticleGun(),
        CellNetwork.fitting,
        Distance(),
        exact_gradient=exact if known else None,
    )
'''

YAML = """_target_: counter.detector.detector
parameters: {x: {start: 1.5, bounds: [0.5, 6], unit: mm}}
kept: 1.0
known: true
"""

BROKEN = "_target_: counter.detector.Broken\n"


def write_counter(folder: Path) -> list[str]:
    """Write the detector into a folder; returns the arguments of a command that use it."""
    configuration = folder / "mine" / "counter" / "conf"
    for group in ("detector", "gradient"):
        (configuration / group).mkdir(parents=True)
    (folder / "mine" / "counter" / "detector.py").write_text(MODULE)
    (configuration / "detector" / "counter.yaml").write_text(YAML)
    (configuration / "gradient" / "broken.yaml").write_text(BROKEN)
    return ["--detectors", str(folder / "mine"), "detector=counter", "experiment=smoke"]
