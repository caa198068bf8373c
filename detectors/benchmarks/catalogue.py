"""The problems by name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Detector
from mode_opt.experiment.configuration import detector_settings

from .camel import camel_problem
from .chain import chain_problem
from .latent import ellipsoid_problem, rosenbrock_problem
from .network import network_problem
from .parabola import parabola_problem
from .problem import Problem

CONFIGURATION = Path(__file__).parent / "conf" / "detector"

FAMILIES: Mapping[str, Callable[..., Problem]] = {
    "chain": chain_problem,
    "ellipsoid": ellipsoid_problem,
    "network": network_problem,
    "parabola": parabola_problem,
    "rosenbrock": rosenbrock_problem,
    "three_hump": camel_problem,
}


def names() -> tuple[str, ...]:
    """The names of all problems, as in ``detector=NAME``."""
    return tuple(sorted(file.stem for file in CONFIGURATION.glob("*.yaml")))


def problem(name: str, **changes: Any) -> Problem:
    """A problem with its truth.

    Args:
        name: one of `names`.
        changes: entries of ``conf/detector/NAME.yaml`` that differ, e.g. ``dimension=16`` (mappings are merged).

    Raises:
        ConfigurationError: for an unknown name, an entry that does not exist, or a value that does not fit.
    """
    if name not in names():
        raise ConfigurationError("problem", name, f"one of {', '.join(names())}")
    settings = detector_settings(CONFIGURATION / f"{name}.yaml", changes)
    return FAMILIES[settings.pop("family")](**settings)


def benchmark(family: str, **settings: Any) -> Detector:
    """The detector of a problem: what ``detector=NAME`` makes of its file, whose entries are the arguments.

    Raises:
        ConfigurationError: for an unknown family, or a value that does not fit.
    """
    if family not in FAMILIES:
        raise ConfigurationError("detector.family", family, f"one of {', '.join(FAMILIES)}")
    return FAMILIES[family](**settings).detector


def rosenbrock_10() -> Problem:
    """Rosenbrock's function of 10 parameters under noise."""
    return problem("rosenbrock_10")


def rosenbrock_100_in_10() -> Problem:
    """The same on a linear subspace of 100 parameters."""
    return problem("rosenbrock_100_in_10")


def three_hump() -> Problem:
    """The probabilistic three-hump camel of 2 parameters."""
    return problem("three_hump")


def three_hump_40_in_2() -> Problem:
    """The same on a curved surface in 40 dimensions."""
    return problem("three_hump_40_in_2")


def sphere(dimension: int = 8) -> Problem:
    """The rotated ellipsoid of ``sphere_d`` in any dimension, with value and noise of its start the same in all."""
    return problem("sphere_d", dimension=dimension)


def network_weights() -> Problem:
    """The 73 weights of a small network."""
    return problem("network_weights")


def noisy_parabola() -> Problem:
    """One parameter."""
    return problem("noisy_parabola")


def mixed_chain() -> Problem:
    """A differentiable part, a black box and a counter in a row."""
    return problem("mixed_chain")
