"""The calorimeter as a `Detector`."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from mode_opt.campaigns import Job, JobFailure
from mode_opt.design import Design
from mode_opt.detectors.sampling_calorimeter.detector import draw
from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Detector
from mode_opt.experiment.configuration import detector_settings
from mode_opt.experiment.detector import Progress
from mode_opt.geometry import MATERIALS, LayerStack
from mode_opt.objectives import Resolution
from mode_opt.reconstruction import CellNetwork
from mode_opt.simulation import Chain, ExternalSimulator, ParticleGun, PythonFunction, Simulator
from mode_opt.simulation.digitisation import Digitisation

from . import data
from .program import HITS

HERE = Path(__file__).parent
CONFIGURATION = HERE / "conf" / "detector" / "geant4_calorimeter.yaml"
PROGRAM = f"{__package__}.program"


def geant4_calorimeter(**changes: Any) -> Detector:
    """Layers of absorber and gap, simulated by Geant4 through geant4-pybind (``pip install mode-opt[geant4]``).

    Geant4 itself is met when the simulator is chosen, not here.

    Args:
        changes: entries of ``conf/detector/geant4_calorimeter.yaml`` that differ, e.g. ``absorber="G4_Pb"``
            (mappings are merged); the file says what there is and which units the numbers have.

    Raises:
        ConfigurationError: for an entry that does not exist or does not fit. When the simulator is built: if the
            package or Geant4's data sets are missing, saying how to get them, or for names that Geant4 does not know.
    """
    return _build(**detector_settings(CONFIGURATION, changes))


def _build(
    name: str,
    description: str,
    layers: int,
    absorber: str,
    gap: str,
    width: float,
    design: Mapping[str, Any],
    particle: str,
    energy: Sequence[float],
    bins: Sequence[float],
    hits: Sequence[str],
    simulators: Mapping[str, Mapping[str, Any]],
    digitisation: Mapping[str, Any] | None,
) -> Detector:
    _check(layers, width, design, hits, simulators, digitisation)
    stack = {"layers": layers, "absorber": absorber, "gap": gap, "width": width}
    calorimeter = stack | {"particle": particle, "hits": list(hits)}
    return Detector(
        name=name,
        design=Design(**design),
        simulators={"geant4": partial(_simulator, calorimeter, simulators["geant4"], digitisation)},
        primaries=ParticleGun(energy),
        reconstruction=CellNetwork.fitting,
        objective=Resolution(bins=bins, width="rms", bias_gradient=False),
        hit_names=tuple(hits),
        drawing=partial(draw, layers=layers, absorber=absorber, gap=gap),
        volumes=_volumes(layers, absorber, gap, width),
        description=description,
    )


def _volumes(layers: int, absorber: str, gap: str, width: float) -> LayerStack | None:
    """The layers, if mode_opt knows their materials, too: Geant4 has more."""
    if not {absorber, gap} <= {known.nist for known in MATERIALS.values()}:
        return None
    pair: list[dict[str, Any]] = [
        {"kind": "absorber", "thickness": "absorber_thickness", "material": absorber},
        {"kind": "gap", "thickness": "gap_thickness", "material": gap, "sensitive": True, "channels": 1},
    ]
    return LayerStack(pair, layers, width)


def _check(
    layers: int,
    width: float,
    design: Mapping[str, Any],
    hits: Sequence[str],
    simulators: Mapping[str, Any],
    digitisation: Mapping[str, Any] | None,
) -> None:
    if layers < 1:
        raise ConfigurationError("detector.layers", layers, "at least 1")
    if not 0 < width < math.inf:
        raise ConfigurationError("detector.width", width, "a positive number of mm")
    for thickness in ("absorber_thickness", "gap_thickness"):
        size = design["parameters"].get(thickness, {}).get("size")
        if thickness not in design["parameters"] or size not in (None, 1, layers):
            key = f"detector.design.parameters.{thickness}.size"
            raise ConfigurationError(key, size, f"none or {layers}, the layers")
    if not hits or len(set(hits)) < len(hits) or not set(hits) <= set(HITS):
        raise ConfigurationError("detector.hits", list(hits), f"different ones of {', '.join(HITS)}")
    if digitisation is not None and list(hits) != ["gap"]:
        raise ConfigurationError("detector.digitisation", dict(digitisation), f"null, with hits {list(hits)}")
    if set(simulators) != {"geant4"}:
        raise ConfigurationError("detector.simulators", list(simulators), "geant4")


def _simulator(
    calorimeter: Mapping[str, Any],
    settings: Mapping[str, Any],
    digitisation: Mapping[str, Any] | None,
    progress: Progress,
) -> Simulator:
    """Geant4 in a process for each job, followed by the digitisation."""
    shower = _geant4(calorimeter, **settings)
    return shower if digitisation is None else Chain({"shower": shower, "digitisation": Digitisation(**digitisation)})


def _geant4(
    calorimeter: Mapping[str, Any],
    physics: str,
    cut: float,
    events_per_job: int,
    time_limit: float | None,
    memory_limit: str | None,
) -> ExternalSimulator:
    if not 0 < cut < math.inf:
        raise ConfigurationError("detector.simulators.geant4.cut", cut, "a positive number of mm")
    described = _required(physics)
    options: dict[str, Any] = {"files": [HERE / "data.py"], "jobs_per_process": 1, "version": described}
    _inspect(calorimeter, physics, options)
    arguments = dict(calorimeter) | {"physics": physics, "cut": cut}
    limits: dict[str, Any] = {"time_limit": time_limit, "memory_limit": memory_limit}
    work = PythonFunction(f"{PROGRAM}:Calorimeter", arguments, **options, **limits)
    return ExternalSimulator(work, cells=calorimeter["layers"], events_per_job=events_per_job)


def _required(physics: str) -> str:
    """The version of geant4-pybind, which fixes that of Geant4.

    Raises:
        ConfigurationError: if it or data sets that the physics list needs are missing.
    """
    try:
        described = f"geant4-pybind {version('geant4-pybind')}"
    except PackageNotFoundError as error:
        raise ConfigurationError("simulator", "geant4", "geant4-pybind: pip install 'mode-opt[geant4]'") from error
    absent = data.missing(physics)
    if absent:
        sets = ", ".join(f"{data.DATA[variable]} ({variable})" for variable in absent)
        expected = f"a list whose data sets are here; not found: {sets}; {data.HOW}"
        raise ConfigurationError("detector.simulators.geant4.physics", physics, expected)
    return described


def _inspect(calorimeter: Mapping[str, Any], physics: str, options: Mapping[str, Any]) -> None:
    """Let Geant4 say, before the first of many jobs does, whether it knows the names."""
    stack = {name: calorimeter[name] for name in ("layers", "absorber", "gap", "width")}
    work = PythonFunction(f"{PROGRAM}:inspect", stack | {"physics": physics}, **options)
    design: dict[str, Any] = {"absorber_thickness": 1.0, "gap_thickness": 1.0}
    with tempfile.TemporaryDirectory() as folder:
        try:
            volumes = np.asarray(work.run(Job(work.digest, design, 1, 1), Path(folder))["hits"])[0]
        except JobFailure as failure:
            raise ConfigurationError(
                "detector", stack | {"physics": physics}, f"what Geant4 takes: {failure}"
            ) from None
    if volumes[:, -1].any():
        raise ConfigurationError("detector.layers", calorimeter["layers"], "volumes that do not overlap")
