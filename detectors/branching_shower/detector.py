"""The branching shower as a `Detector`."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Detector
from mode_opt.experiment.configuration import detector_settings
from mode_opt.experiment.detector import Progress
from mode_opt.geometry import LayerStack
from mode_opt.objectives import Objective, Resolution
from mode_opt.reconstruction import CellNetwork, PriorBelief
from mode_opt.simulation import Chain, ParticleGun, Simulator
from mode_opt.simulation.digitisation import StochasticDigitisation

from .objectives import Leakage, ShowerDepth, SignalUniformity, SumResolution
from .shower import ABSORBER, FRONT, GAP, BranchingShower

CONFIGURATION = Path(__file__).parent / "conf" / "detector" / "branching_shower.yaml"

OBJECTIVES: dict[str, type[Objective]] = {
    "resolution": Resolution,
    "shower_depth": ShowerDepth,
    "leakage": Leakage,
    "signal_uniformity": SignalUniformity,
    "sum_resolution": SumResolution,
}


def branching_shower(**changes: Any) -> Detector:
    """Layers of absorber and gap in which showers branch; the truth is the energy of the primary, a cell is a gap.

    Args:
        changes: entries of ``conf/detector/branching_shower.yaml`` that differ (mappings are merged); the file
            says what there is and which units the numbers have.

    Raises:
        ConfigurationError: for an entry, material, particle or objective that does not exist, or thicknesses
            whose number does not fit the layers.
    """
    return _build(**detector_settings(CONFIGURATION, changes))


def _build(
    name: str,
    description: str,
    layers: int,
    absorber: str,
    gap: str,
    front: str,
    particle: str,
    width: float,
    absorber_deposits: bool,
    capacity: int,
    design: Mapping[str, Any],
    energy: Sequence[float],
    spectrum: str,
    objective: Mapping[str, Mapping[str, Any] | None],
    digitisation: Mapping[str, Any] | None,
) -> Detector:
    made, aim = Design(**design), _objective(objective)
    stack: dict[str, Any] = {"layers": layers, "absorber": absorber, "gap": gap, "front": front}
    rest: dict[str, Any] = {"particle": particle, "width": width, "absorber_deposits": absorber_deposits}
    references = _references(made().detach(), layers)
    simulator = partial(_simulator, {**stack, **references, **rest, "capacity": capacity}, digitisation)
    return Detector(
        name=name,
        design=made,
        simulators={"branching": simulator},
        primaries=ParticleGun(energy, spectrum),
        # The other objectives look at the deposits themselves: nothing has to be learnt for them.
        reconstruction=CellNetwork.fitting if isinstance(aim, Resolution) else PriorBelief(),
        objective=aim,
        hit_names=("deposit", "absorber") if absorber_deposits else ("deposit",),
        drawing=partial(draw, **stack, width=width),
        volumes=_volumes(**stack, width=width, slab=FRONT in made()),
        description=description,
    )


def _references(start: DesignPoint, layers: int) -> dict[str, Any]:
    """Thicknesses at the start of the design: those for which steps are chosen."""
    found: dict[str, Any] = {}
    for key, name in (("absorber_reference", ABSORBER), ("gap_reference", GAP)):
        if name not in start or start[name].shape[1] not in (1, layers):
            size = start[name].shape[1] if name in start else None
            raise ConfigurationError(f"detector.design.parameters.{name}.size", size, f"none or {layers}, the layers")
        found[key] = start[name].expand(1, layers)[0].tolist()
    return {**found, "front_reference": float(start[FRONT][0, 0]) if FRONT in start else 0.0}


def _simulator(shower: Mapping[str, Any], digitisation: Mapping[str, Any] | None, progress: Progress) -> Simulator:
    """The shower, alone or followed by the readout."""
    if digitisation is None:
        return BranchingShower(**shower)
    return Chain({"shower": BranchingShower(**shower), "digitisation": StochasticDigitisation(**digitisation)})


def _objective(chosen: Mapping[str, Mapping[str, Any] | None]) -> Objective:
    """The one objective whose arguments are not null."""
    wanted = {name: arguments for name, arguments in chosen.items() if arguments is not None}
    unknown = [name for name in wanted if name not in OBJECTIVES]
    if len(wanted) != 1 or unknown:
        expected = f"exactly one of {', '.join(OBJECTIVES)} (the others null)"
        raise ConfigurationError("detector.objective", sorted(wanted), expected)
    ((name, arguments),) = wanted.items()
    return OBJECTIVES[name](**arguments)


def _volumes(layers: int, absorber: str, gap: str, front: str, width: float, slab: bool) -> LayerStack:
    """The layers, a gap with one channel, behind the slab in front if the design has one."""
    repeated: list[dict[str, Any]] = [
        {"kind": "absorber", "thickness": ABSORBER, "material": absorber},
        {"kind": "gap", "thickness": GAP, "material": gap, "sensitive": True, "channels": 1},
    ]
    first = [{"kind": "front", "thickness": FRONT, "material": front}] if slab else []
    return LayerStack(repeated, layers, width, first)


def draw(phi: DesignPoint, layers: int, absorber: str, gap: str, front: str, width: float) -> list[dict[str, Any]]:
    """The layers of one design as boxes in mm, x along the beam from the front face."""
    slabs = [(float(phi[FRONT][0, 0]), front, "front")] if FRONT in phi else []
    absorbers, gaps = (phi[name][0].expand(layers).tolist() for name in (ABSORBER, GAP))
    for thick, thin in zip(absorbers, gaps, strict=True):
        slabs += [(thick, absorber, "absorber"), (thin, gap, "gap")]
    shapes, position = [], 0.0
    for thickness, material, label in slabs:
        box = {"x": [position, position + thickness], "y": [-width / 2, width / 2]}
        shapes.append({"kind": "box", **box, "material": material, "label": label})
        position += thickness
    return shapes
