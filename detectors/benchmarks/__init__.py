"""Black-box problems that carry their own truth: those of arXiv 2002.04632, and others for what they leave open."""

from .camel import Coordinates, HumpMixture
from .catalogue import (
    benchmark,
    mixed_chain,
    names,
    network_weights,
    noisy_parabola,
    problem,
    rosenbrock_10,
    rosenbrock_100_in_10,
    sphere,
    three_hump,
    three_hump_40_in_2,
)
from .chain import ClearCrystal, Counter, Crystal, Degrader
from .inputs import UniformInputs
from .landscapes import Ellipsoid, Landscape, Rosenbrock
from .latent import LatentResponse
from .network import NoisyNetwork
from .objectives import MeanResponse, ResponseObjective, SquaredError, Window
from .parabola import NoisyOffset
from .problem import Problem, Truth

__all__ = [
    "ClearCrystal",
    "Coordinates",
    "Counter",
    "Crystal",
    "Degrader",
    "Ellipsoid",
    "HumpMixture",
    "Landscape",
    "LatentResponse",
    "MeanResponse",
    "NoisyNetwork",
    "NoisyOffset",
    "Problem",
    "ResponseObjective",
    "Rosenbrock",
    "SquaredError",
    "Truth",
    "UniformInputs",
    "Window",
    "benchmark",
    "mixed_chain",
    "names",
    "network_weights",
    "noisy_parabola",
    "problem",
    "rosenbrock_10",
    "rosenbrock_100_in_10",
    "sphere",
    "three_hump",
    "three_hump_40_in_2",
]
