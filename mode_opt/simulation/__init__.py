"""Simulators: what each promises about its derivatives, how they chain, where primaries come from."""

from mode_opt.simulation.acceptance import Acceptance, Beam, PointSource, UniformBeam
from mode_opt.simulation.attempts import Attempt, attempt
from mode_opt.simulation.branching import BranchingProgram
from mode_opt.simulation.chain import Chain
from mode_opt.simulation.choices import Choices
from mode_opt.simulation.counted import Counted
from mode_opt.simulation.edged import Edge, EdgedSimulator
from mode_opt.simulation.external import ExternalSimulator, conducted, external
from mode_opt.simulation.guard import silent_sampling_refused
from mode_opt.simulation.isolated import PythonFunction
from mode_opt.simulation.opaque import Opaque, opaque
from mode_opt.simulation.particles import Children, Deposits, State, Step
from mode_opt.simulation.primaries import ParticleGun, PrimarySource, Recorded
from mode_opt.simulation.program import Program
from mode_opt.simulation.programs import ExternalProgram
from mode_opt.simulation.regions import Disc, Polygon, Rectangle, Region
from mode_opt.simulation.simulator import (
    BlackBoxSimulator,
    DifferentiableSimulator,
    Promise,
    Simulator,
    StochasticSimulator,
)
from mode_opt.simulation.streams import stream

__all__ = [
    "Acceptance",
    "Attempt",
    "Beam",
    "BlackBoxSimulator",
    "BranchingProgram",
    "Chain",
    "Children",
    "Choices",
    "Counted",
    "Deposits",
    "DifferentiableSimulator",
    "Disc",
    "Edge",
    "EdgedSimulator",
    "ExternalProgram",
    "ExternalSimulator",
    "Opaque",
    "ParticleGun",
    "PointSource",
    "Polygon",
    "PrimarySource",
    "Program",
    "Promise",
    "PythonFunction",
    "Recorded",
    "Rectangle",
    "Region",
    "Simulator",
    "State",
    "Step",
    "StochasticSimulator",
    "UniformBeam",
    "attempt",
    "conducted",
    "external",
    "opaque",
    "silent_sampling_refused",
    "stream",
]
