"""The sampling calorimeter as a `Detector`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Detector
from mode_opt.experiment.configuration import detector_settings
from mode_opt.experiment.detector import Progress, SimulatorFactory
from mode_opt.geometry import LayerStack
from mode_opt.objectives import Resolution
from mode_opt.reconstruction import CellNetwork
from mode_opt.simulation import Chain, ParticleGun, Simulator
from mode_opt.simulation.digitisation import Digitisation

from .parametric import ParametricShower

CONFIGURATION = Path(__file__).parent / "conf" / "detector" / "sampling_calorimeter.yaml"

DATA = Path(__file__).parent / "data"

WIDTH = 400.0
"""Transverse size of the calorimeter, mm."""


def sampling_calorimeter(**changes: Any) -> Detector:
    """Layers of absorber and gap; primaries are electrons, the truth is their energy, a cell is a gap.

    Args:
        changes: entries of ``conf/detector/sampling_calorimeter.yaml`` that differ, e.g. ``absorber="Pb"`` or
            ``design={"constraints": ["length <= 380 mm"]}`` (mappings are merged); the file says what there is
            and which units the numbers have.

    Raises:
        ConfigurationError: for an entry that does not exist, an unknown simulator or material, or thicknesses
            whose number does not fit the layers.
    """
    return _build(**detector_settings(CONFIGURATION, changes))


def _build(
    name: str,
    description: str,
    layers: int,
    absorber: str,
    gap: str,
    design: Mapping[str, Any],
    energy: Sequence[float],
    bins: Sequence[float],
    simulators: Mapping[str, Mapping[str, Any] | None],
    digitisation: Mapping[str, Any] | None,
) -> Detector:
    for thickness in ("absorber_thickness", "gap_thickness"):
        size = design["parameters"].get(thickness, {}).get("size")
        if thickness not in design["parameters"] or size not in (None, 1, layers):
            key = f"detector.design.parameters.{thickness}.size"
            raise ConfigurationError(key, size, f"none or {layers}, the layers")
    stack: dict[str, Any] = {"layers": layers, "absorber": absorber, "gap": gap}
    return Detector(
        name=name,
        design=Design(**design),
        simulators=_simulators(simulators, digitisation, stack),
        primaries=ParticleGun(energy),
        reconstruction=CellNetwork.fitting,
        objective=Resolution(bins=bins, width="rms", bias_gradient=False),
        drawing=partial(draw, **stack),
        description=description,
        volumes=LayerStack(_layers(absorber, gap), layers, WIDTH),
        files=[DATA / "em_showers_scan.root"],
    )


def _simulators(
    chosen: Mapping[str, Mapping[str, Any] | None], digitisation: Mapping[str, Any] | None, stack: Mapping[str, Any]
) -> dict[str, Simulator | SimulatorFactory]:
    """Each named shower simulator, followed by the digitisation."""
    showers: dict[str, Callable[..., Simulator]] = {"parametric": _parametric, "surrogate": _surrogate}
    found: dict[str, Simulator | SimulatorFactory] = {}
    for name, arguments in chosen.items():
        if name not in showers:
            raise ConfigurationError("detector.simulators", name, f"one of {', '.join(showers)}")
        if arguments is not None:
            found[name] = partial(_digitised, partial(showers[name], stack, arguments), digitisation)
    return found


def _digitised(
    shower: Callable[[Progress], Simulator], digitisation: Mapping[str, Any] | None, progress: Progress
) -> Simulator:
    parts = {"shower": shower(progress)}
    if digitisation is not None:
        parts["digitisation"] = Digitisation(**digitisation)
    return Chain(parts)


def _parametric(stack: Mapping[str, Any], arguments: Mapping[str, Any], progress: Progress) -> Simulator:
    return ParametricShower(**stack, **arguments)


def _surrogate(stack: Mapping[str, Any], arguments: Mapping[str, Any], progress: Progress) -> Simulator:
    from .surrogate import shower_surrogate

    if dict(stack) != {"layers": 50, "absorber": "PbWO4", "gap": "lAr"}:
        expected = f"parametric for {dict(stack)}: it knows 50 layers PbWO4/lAr"
        raise ConfigurationError("simulator", "surrogate", expected)
    return shower_surrogate(**arguments, progress=progress)


def _layers(absorber: str, gap: str) -> list[dict[str, Any]]:
    """Absorber and gap, which has one channel, for `LayerStack`."""
    return [
        {"kind": "absorber", "thickness": "absorber_thickness", "material": absorber},
        {"kind": "gap", "thickness": "gap_thickness", "material": gap, "sensitive": True, "channels": 1},
    ]


def draw(phi: DesignPoint, layers: int, absorber: str, gap: str) -> list[dict[str, Any]]:
    """The layers of one design as boxes in mm, x along the beam from the front face."""
    shapes, position = [], 0.0
    thicknesses = [phi[name][0].expand(layers).tolist() for name in ("absorber_thickness", "gap_thickness")]
    for pair in zip(*thicknesses, strict=True):
        for thickness, material, label in zip(pair, (absorber, gap), ("absorber", "gap"), strict=True):
            box = {"x": [position, position + thickness], "y": [-WIDTH / 2, WIDTH / 2]}
            shapes.append({"kind": "box", **box, "material": material, "label": label})
            position += thickness
    return shapes
