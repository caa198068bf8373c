"""Simulators: what each promises about its derivatives, how they chain, where primaries come from."""

from mode_opt.simulation.chain import Chain
from mode_opt.simulation.counted import Counted
from mode_opt.simulation.primaries import ParticleGun, PrimarySource, Recorded
from mode_opt.simulation.simulator import (
    BlackBoxSimulator,
    DifferentiableSimulator,
    Promise,
    Simulator,
    StochasticSimulator,
)
from mode_opt.simulation.streams import stream

__all__ = [
    "BlackBoxSimulator",
    "Chain",
    "Counted",
    "DifferentiableSimulator",
    "ParticleGun",
    "PrimarySource",
    "Promise",
    "Recorded",
    "Simulator",
    "StochasticSimulator",
    "stream",
]
