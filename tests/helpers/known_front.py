"""A detector of somebody else, written into a folder: two distances whose front is known."""

from pathlib import Path

MODULE = '''
import torch

from mode_opt import Design, Detector
from mode_opt.events import Events
from mode_opt.objectives import Objective
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import DifferentiableSimulator, ParticleGun


class Heights(DifferentiableSimulator):
    """Each event reads two heights above (0, 0) and (1, 0) with noise: squared distances r^2, or 1 - exp(-r^2)."""

    def __init__(self, concave, noise):
        super().__init__()
        self.concave, self.noise = concave, noise

    def forward(self, phi, primaries, generator=None):
        events = primaries.expand(phi.designs)
        if bool((phi["x"] > 1.4).any()):
            raise RuntimeError("the towers fall")
        squares = [(phi["x"] - at) ** 2 + phi["y"] ** 2 for at in (0.0, 1.0)]
        heights = torch.cat([1 - torch.exp(-3 * s) if self.concave else s for s in squares], 1)
        noise = torch.randn((*events.truth.shape[:2], 1, 2), generator=generator)
        hits = heights[:, None, None, :] + self.noise * noise
        return Events(events.truth, hits, events.mask.new_ones(hits.shape[:3]), events.weight)


class Height(Objective):
    """Mean of one of the readings."""

    def __init__(self, index=0):
        super().__init__()
        self.index = index

    @property
    def additive(self):
        return True

    def forward(self, events, belief, phi):
        return (events.hits[:, :, 0, self.index] * events.weight).sum(-1) / events.weight.sum(-1)


def detector(design, concave=False, noise=0.02):
    return Detector(
        "twins",
        Design(**design),
        {"heights": Heights(concave, noise)},
        ParticleGun(),
        PriorBelief.fitting,
        Height(1),
        hit_names=("near", "far"),
    )
'''

YAML = """_target_: twins.detector.detector
design:
  parameters:
    x: {start: 0.3, bounds: [-0.5, 1.5], unit: mm}
    y: {start: 0.4, bounds: [-1.0, 1.0], unit: mm}
  derived: {width: {expression: x, unit: cm}}
concave: false
noise: 0.02
"""

NEAR = "{_target_: twins.detector.Height, index: 0}"
"""The first of the goals; ``own`` is the other."""


def write_twins(folder: Path) -> list[str]:
    """Write the detector into a folder; returns the arguments of a command that use it."""
    configuration = folder / "mine" / "twins" / "conf" / "detector"
    configuration.mkdir(parents=True)
    (folder / "mine" / "twins" / "detector.py").write_text(MODULE)
    (configuration / "twins.yaml").write_text(YAML)
    return ["--detectors", str(folder / "mine"), "detector=twins"]
