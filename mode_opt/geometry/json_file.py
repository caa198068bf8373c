"""Geometries as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mode_opt.errors import ConfigurationError, DataError
from mode_opt.geometry.materials import Material
from mode_opt.geometry.prices import Price
from mode_opt.geometry.solids import SOLIDS, Solid
from mode_opt.geometry.volumes import Placement, Volume

FORMAT = "mode_opt geometry 1"

_NAMES = {kind: name for name, kind in SOLIDS.items()}


def geometry_json(world: Volume, **more: Any) -> dict[str, Any]:
    """The tree as dictionaries and lists; lengths in mm, angles in radians, densities in g/cm3.

    Args:
        world: the outermost volume.
        more: other entries for the file, which `volume_of_json` ignores.

    Raises:
        ConfigurationError: for two different materials of one name.
    """
    materials = {name: _material(material) for name, material in materials_of(world).items()}
    return {"format": FORMAT, "materials": materials, "world": volume_json(world), **more}


def materials_of(world: Volume) -> dict[str, Material]:
    """The materials by name, in the order of their first appearance.

    Raises:
        ConfigurationError: for two different materials of one name.
    """
    found: dict[str, Material] = {}
    for path, volume in world.walk():
        if found.setdefault(volume.material.name, volume.material) != volume.material:
            raise ConfigurationError(f"{path}.material", volume.material.name, "one material of that name")
    return found


def write_json(path: Path, world: Volume, **more: Any) -> None:
    """Write `geometry_json`."""
    path.write_text(json.dumps(geometry_json(world, **more), indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Volume:
    """The volume tree of a file that `write_json` wrote.

    Raises:
        DataError: if it is none.
    """
    try:
        return volume_of_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (KeyError, TypeError, AttributeError, RecursionError, ConfigurationError) as error:
        raise DataError(f"{path}: not a geometry of mode_opt ({error!r})") from error


def volume_of_json(content: Mapping[str, Any]) -> Volume:
    """The tree of `geometry_json`.

    Raises:
        DataError: for another format.
        ConfigurationError: for a volume or material that cannot be.
    """
    if content.get("format") != FORMAT:
        raise DataError(f"geometry: the format is {content.get('format')!r}, not {FORMAT!r}")
    materials = {}
    for name, entry in content["materials"].items():
        materials[name] = Material(**{**entry, "name": name, "price": _price(entry["price"])})
    return _volume(content["world"], materials)


def volume_json(volume: Volume) -> dict[str, Any]:
    """One volume and what is in it; the material by name."""
    return {
        "name": volume.name,
        "kind": volume.kind,
        "solid": {"shape": _NAMES[type(volume.solid)], **volume.solid.numbers},
        "material": volume.material.name,
        "translation": list(volume.placement.translation),
        "rotation": list(volume.placement.rotation),
        "sensitive": volume.sensitive,
        "channels": volume.channels,
        "price": None if volume.price is None else str(volume.price),
        "children": [volume_json(child) for child in volume.children],
    }


def _material(material: Material) -> dict[str, Any]:
    return {
        "density": material.density,
        "composition": dict(material.composition),
        "radiation_length": material.radiation_length,
        "interaction_length": material.interaction_length,
        "state": material.state,
        "nist": material.nist,
        "price": None if material.price is None else str(material.price),
    }


def _volume(entry: Mapping[str, Any], materials: Mapping[str, Material]) -> Volume:
    return Volume(
        entry["name"],
        solid_of(**entry["solid"]),
        materials[entry["material"]],
        Placement(tuple(entry["translation"]), tuple(entry["rotation"])),
        tuple(_volume(child, materials) for child in entry["children"]),
        entry["sensitive"],
        entry["channels"],
        _price(entry["price"]),
        entry["kind"],
    )


def solid_of(shape: str, **numbers: float) -> Solid:
    """The solid of that name in `SOLIDS`.

    Raises:
        ConfigurationError: if there is none.
    """
    if shape not in SOLIDS:
        raise ConfigurationError("solid.shape", shape, f"one of {', '.join(SOLIDS)}")
    return SOLIDS[shape](**numbers)


def _price(text: str | None) -> Price | None:
    return None if text is None else Price.of(text)
