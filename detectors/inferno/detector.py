"""The benchmark as a `Detector`, and its objectives."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from mode_opt.design import Design
from mode_opt.experiment import Detector
from mode_opt.experiment.configuration import detector_settings
from mode_opt.objectives import ExpectedUncertainty
from mode_opt.objectives.statistics import Templates, Variation
from mode_opt.reconstruction import SummaryNetwork

from .instrument import Instrument
from .problem import Mixture, MixtureSource, known
from .unknowns import STEPS, Pair, moved

CONFIGURATION = Path(__file__).parent / "conf" / "detector" / "inferno.yaml"

Move = Callable[[str, float, Mixture], Pair]

FLOOR: Final = 1e-3
"""Smallest expected background in a bin, in events."""


def inferno(**changes: Any) -> Detector:
    """A summary statistic trained for the uncertainty of the number of signal events, and an instrument for it.

    The reconstruction is a `SummaryNetwork` that is trained by the objective. Simulators: ``instrument``, and ``sharp``
    that measures everything without error whatever the design, as in the paper.

    Args:
        changes: entries of ``conf/detector/inferno.yaml`` that differ, e.g. ``benchmark=0`` (mappings are merged).

    Raises:
        ConfigurationError: for an entry that does not exist, or a value that does not fit.
    """
    return _build(**detector_settings(CONFIGURATION, changes))


def _build(
    name: str,
    description: str,
    benchmark: int,
    design: Mapping[str, Any],
    error: float,
    width: float | None,
    steps: Mapping[str, float],
    network: Mapping[str, Any],
) -> Detector:
    return Detector(
        name=name,
        design=Design(**design),
        simulators={"instrument": Instrument(error), "sharp": Instrument(0.0)},
        primaries=MixtureSource(),
        reconstruction=partial(SummaryNetwork.fitting, **network),
        objective=ExpectedUncertainty(summary_templates(benchmark, width, steps)),
        hit_names=("x0", "x1", "x2"),
        description=description,
        reconstruction_goal="objective",
    )


def summary_templates(
    benchmark: int, width: float | None = 1.0, steps: Mapping[str, float] = STEPS, move: Move = moved
) -> Templates:
    """Expected counts in the bins of a `SummaryNetwork`.

    Args:
        benchmark: of `BENCHMARKS`.
        width: temperature of the soft bins; None: each event counts in its most probable bin only.
        steps: of the central differences in the unknown parameters.
        move: `moved`: events go where they would be, and are reconstructed there, which derivatives of the network
            need; `reweighted`: they stay in their bins, which leaves hard bins with a tenth of the noise, but needs
            exact measurements.
    """
    return _templates(benchmark, steps, move, observable="memberships", width=width)


def classifier_templates(
    benchmark: int, bins: int = 10, steps: Mapping[str, float] = STEPS, move: Move = moved
) -> Templates:
    """Expected counts in equal, hard bins of the probability of the signal; arguments as of `summary_templates`."""
    edges = [k / bins for k in range(bins + 1)]
    return _templates(benchmark, steps, move, observable="belief", width=None, edges=edges)


def _templates(benchmark: int, steps: Mapping[str, float], move: Move, **options: Any) -> Templates:
    unknown, mixture = known(benchmark), Mixture()
    return Templates(
        signal=mixture.signal,
        background=mixture.background,
        shapes={name: Variation("background", scenarios=move(name, steps[name], mixture)) for name in unknown},
        constraints={name: None if prior is None else prior / steps[name] for name, prior in unknown.items()},
        floor=FLOOR,
        **options,
    )
