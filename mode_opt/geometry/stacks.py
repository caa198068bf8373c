"""Layers behind one another, the commonest detector."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, final

import torch

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, ShapeError
from mode_opt.geometry.library import material
from mode_opt.geometry.materials import Material
from mode_opt.geometry.names import finite, positive
from mode_opt.geometry.prices import Price
from mode_opt.geometry.solids import Box
from mode_opt.geometry.volumes import Placement, Volume
from mode_opt.units import DIMENSIONLESS, reported, to_field

MARGIN = 100.0
"""Of the world around a stack, mm on each side."""


@final
@dataclass(frozen=True)
class Layer:
    """A slab across the beam.

    Attributes:
        kind: what it is, e.g. ``absorber``; the volume's name adds a number.
        thickness: mm; a layer of 0 mm is left out.
        material: what it is of.
        sensitive, channels, price: as of `Volume`.
    """

    kind: str
    thickness: float
    material: Material
    sensitive: bool = False
    channels: int = 0
    price: Price | None = None


def stack(name: str, layers: Sequence[Layer], width: float, height: float | None = None) -> Volume:
    """A world of air around boxes along z, the first face at ``z = 0``.

    Args:
        name: of the world.
        layers: in the direction of the beam.
        width: along x, mm.
        height: along y, mm; None: the width.

    Raises:
        ConfigurationError: for sizes that are not positive, or no layer that is thicker than 0.
    """
    width, height = positive(width, "width", "mm"), positive(width if height is None else height, "height", "mm")
    total, boxes, numbers = 0.0, [], dict[str, int]()
    for layer in layers:
        if layer.thickness == 0:
            continue
        number = numbers[layer.kind] = numbers.get(layer.kind, -1) + 1
        box = Box(width, height, positive(layer.thickness, f"{layer.kind}.thickness", "mm"))
        place = Placement((0.0, 0.0, total + layer.thickness / 2))
        readout = layer.sensitive, layer.channels, layer.price
        boxes.append(Volume(f"{layer.kind}_{number}", box, layer.material, place, (), *readout, layer.kind))
        total += layer.thickness
    if not boxes:
        raise ConfigurationError("layers", [layer.kind for layer in layers], "a layer with a thickness")
    world = Box(width + 2 * MARGIN, height + 2 * MARGIN, 2 * (total + MARGIN))
    return Volume(name, world, material("air"), children=tuple(boxes))


@final
class LayerStack:
    """The volumes of a design made of layers, for ``Detector.volumes``, in Python or in YAML.

    A layer is ``{kind, thickness, material}`` and, if it is read out, ``sensitive: true`` and ``channels``, or a
    ``price`` such as ``120 EUR`` for the piece. The thickness is a number in mm, a text with a unit, or the name of a
    parameter, whose elements go to the repetitions; the material is a name in `MATERIALS`, or of a categorical
    parameter whose options are such names.

    Args:
        repeated: the layers of one repetition.
        count: number of repetitions, or the name of a parameter.
        width: along x and y, mm.
        front, back: layers before the first and behind the last repetition.

    Raises:
        ConfigurationError: for entries that layers do not have; when called, for a design without such parameters, or
            unknown materials.
    """

    def __init__(
        self,
        repeated: Sequence[Mapping[str, Any]],
        count: int | str,
        width: float,
        front: Sequence[Mapping[str, Any]] = (),
        back: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        known = {field.name for field in fields(Layer)}
        for where, layers in (("repeated", repeated), ("front", front), ("back", back)):
            for layer in layers:
                if not {"kind", "thickness", "material"} <= set(layer) <= known:
                    expected = f"kind, thickness and material, and perhaps {', '.join(sorted(known))}"
                    raise ConfigurationError(f"volumes.{where}", dict(layer), expected)
        self.repeated, self.count, self.width = repeated, count, width
        self.front, self.back = front, back

    def __call__(self, phi: DesignPoint) -> Volume:
        """The world of one design."""
        return stack("world", list(self._layers(phi)), self.width)

    def _layers(self, phi: DesignPoint) -> Iterator[Layer]:
        count = self.count if isinstance(self.count, int) else round(thicknesses(phi, self.count, 1)[0])
        for layers, times in ((self.front, 1), (self.repeated, count), (self.back, 1)):
            lengths = [_lengths(phi, layer["thickness"], times) for layer in layers]
            for index in range(times):
                for layer, thickness in zip(layers, lengths, strict=True):
                    yield _layer(phi, layer, thickness[index])


def _lengths(phi: DesignPoint, given: Any, count: int) -> list[float]:
    """Thickness of a layer in each repetition, mm."""
    if isinstance(given, str) and given.isidentifier():
        return thicknesses(phi, given, count)
    length = to_field(given, "mm", "thickness") if isinstance(given, str) else finite(given, "thickness", "mm")
    return [length] * count


def _layer(phi: DesignPoint, entry: Mapping[str, Any], thickness: float) -> Layer:
    name, price = entry["material"], entry.get("price")
    if name in phi.layout.options:
        name = phi.layout.options[name][int(phi[name][0].argmax())]
    made = material(name, f"volumes.{entry['kind']}.material")
    cost = Price.of(price, f"volumes.{entry['kind']}.price") if isinstance(price, str) else price
    return Layer(entry["kind"], thickness, made, entry.get("sensitive", False), entry.get("channels", 0), cost)


def thicknesses(phi: DesignPoint, name: str, count: int) -> list[float]:
    """``count`` lengths (mm) of one design's parameter, without digits below the precision of its numbers.

    Raises:
        ConfigurationError: if there is no such parameter.
        ShapeError: for more than one design, or fewer elements than ``count`` (unless there is one for all).
    """
    values = phi[name].detach()
    if phi.designs != 1 or (values.shape[1] != 1 and values.shape[1] < count):
        raise ShapeError(f"phi[{name!r}]", values.shape, f"1 x 1 or 1 x {count}")
    resolution = torch.finfo(values.dtype).eps
    found = [reported(value, DIMENSIONLESS, resolution) for value in values[0].tolist()]
    return found[:count] if len(found) > 1 else found * count
