"""Momentum scale and resolution as a `Detector`: its design are the parameters of the simulator."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mode_opt.design import Design
from mode_opt.experiment import Detector
from mode_opt.experiment.configuration import detector_settings
from mode_opt.objectives import Sinkhorn
from mode_opt.reconstruction import PriorBelief

from .line_shape import LineShape, MuonPairs
from .matching import MARGIN
from .recorded import DATA, recorded
from .smearing import CutSmearing, WindowedSmearing, checked

CONFIGURATION = Path(__file__).parent / "conf" / "detector" / "z_resolution.yaml"


def z_resolution(**changes: Any) -> Detector:
    """Momentum scale and resolution of muons, tuned to the recorded masses of muon pairs.

    Primaries are muon pairs with their true mass; the simulators ``windowed`` and ``cut`` make the recorded mass of it.
    The objective is the Sinkhorn divergence between the simulated and the recorded masses.

    Args:
        changes: entries of ``conf/detector/z_resolution.yaml`` that differ, e.g. ``sample="TT"`` (mappings are merged).

    Raises:
        ConfigurationError: for an entry that does not exist, or a value that does not fit.
    """
    return _build(**detector_settings(CONFIGURATION, changes))


def _build(
    name: str,
    description: str,
    sample: str,
    window: Sequence[float],
    design: Mapping[str, Any],
    line_shape: Mapping[str, Any],
    sinkhorn: Mapping[str, Any],
) -> Detector:
    low, high = checked(window)
    return Detector(
        name=name,
        design=Design(**design),
        simulators={"windowed": WindowedSmearing(window), "cut": CutSmearing(window)},
        primaries=MuonPairs(LineShape(**line_shape), (low / MARGIN, high * MARGIN)),
        reconstruction=PriorBelief.fitting,
        objective=Sinkhorn(source="hits", recorded=recorded(sample, (low, high)), **sinkhorn),
        hit_names=("mass",),
        description=description,
        files=[DATA],
    )
