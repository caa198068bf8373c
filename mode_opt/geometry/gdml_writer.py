"""Geometries as GDML, which Geant4 and ROOT read."""

import json
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element as Node
from xml.etree.ElementTree import SubElement

from mode_opt.errors import ConfigurationError
from mode_opt.geometry.elements import ELEMENTS
from mode_opt.geometry.json_file import materials_of, volume_json
from mode_opt.geometry.materials import Material
from mode_opt.geometry.solids import Box, Cone, Solid, Tube
from mode_opt.geometry.volumes import Placement, Volume

SCHEMA = "http://service-spi.web.cern.ch/service-spi/app/releases/GDML/schema/gdml.xsd"

SENSITIVE = "SensDet"
"""Geant4's customary auxiliary of sensitive volumes; its value is the `Volume.label`."""

PREFIX = "mode_opt."
"""Of the auxiliaries that hold what GDML has no place for."""

ATTRIBUTES = {
    Box: {"x": "x", "y": "y", "z": "z"},
    Tube: {"z": "z", "rmin": "inner", "rmax": "outer", "startphi": "start", "deltaphi": "opening"},
    Cone: {
        **{"z": "z", "rmin1": "inner", "rmax1": "outer", "rmin2": "far_inner", "rmax2": "far_outer"},
        **{"startphi": "start", "deltaphi": "opening"},
    },
}
"""Of each solid: the attributes in GDML and ours."""


def write_gdml(path: Path, world: Volume) -> None:
    """Write a GDML file; lengths in mm, angles in radians.

    Volumes that differ only in name and placement are one volume of the file, placed several times; the copy number
    counts the daughters of one kind. A placement whose name is taken, e.g. by its volume, ends on ``_placed`` in the
    file. A material that Geant4 knows has Geant4's name, and density and composition of
    ours. Names, channels and prices are in auxiliaries, so that `read_gdml` gives the same tree back.

    Raises:
        ConfigurationError: for a world that is moved or turned, or two different materials of one name.
    """
    ElementTree.ElementTree(gdml(world)).write(path, encoding="UTF-8", xml_declaration=True)


def gdml(world: Volume) -> Node:
    """The XML tree of `write_gdml`."""
    if world.placement != Placement():
        raise ConfigurationError("world.placement", world.placement, "no translation and no rotation")
    root = Node("gdml")
    root.set("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance")
    root.set("xsi:noNamespaceSchemaLocation", SCHEMA)
    _Document(root, world).write()
    ElementTree.indent(root)
    return root


class _Document:
    """One file while it is written; every name in it is used once."""

    def __init__(self, root: Node, world: Volume) -> None:
        self.world, self.used = world, set[str]()
        sections = ("define", "materials", "solids", "structure", "userinfo", "setup")
        self.section = {name: SubElement(root, name) for name in sections}
        self.materials: dict[str, str] = {}
        self.elements: dict[str, str] = {}
        self.solids: dict[Solid, str] = {}
        self.volumes: dict[str, str] = {}

    def write(self) -> None:
        for material in materials_of(self.world).values():
            self._material(material)
        top = self._volume(self.world)
        self._note(self.section["userinfo"], "world", self.world.name)
        self.section["setup"].attrib.update(name=self._new("Default"), version="1.0")
        SubElement(self.section["setup"], "world", ref=top)

    def _new(self, wanted: str) -> str:
        """The name, or one like it that is not used in the file."""
        name, number = wanted, 1
        while name in self.used:
            number += 1
            name = f"{wanted}_{number}"
        self.used.add(name)
        return name

    def _note(self, parent: Node, what: str, value: str) -> Node:
        return SubElement(parent, "auxiliary", auxtype=PREFIX + what, auxvalue=value)

    def _element(self, symbol: str) -> str:
        if symbol not in self.elements:
            self.elements[symbol] = name = self._new(f"element_{symbol}")
            element = ELEMENTS[symbol]
            node = Node("element", name=name, formula=symbol, Z=str(element.atomic_number))
            SubElement(node, "atom", unit="g/mole", value=repr(element.atomic_weight))
            self.section["materials"].append(node)
        return self.elements[symbol]

    def _material(self, material: Material) -> None:
        parts = [(self._element(symbol), share) for symbol, share in material.composition.items()]
        self.materials[material.name] = name = self._new(material.nist or material.name)
        node = SubElement(self.section["materials"], "material", name=name, state=material.state)
        SubElement(node, "RL", type="X0", unit="mm", value=repr(material.radiation_length))
        SubElement(node, "NIL", type="lambda", unit="mm", value=repr(material.interaction_length))
        SubElement(node, "D", unit="g/cm3", value=repr(material.density))
        for element, share in parts:
            SubElement(node, "fraction", ref=element, n=repr(share))
        note = self._note(self.section["userinfo"], "material", name)
        self._note(note, "name", material.name)
        if material.nist is not None:
            self._note(note, "nist", material.nist)
        if material.price is not None:
            self._note(note, "price", str(material.price))

    def _solid(self, solid: Solid, label: str) -> str:
        if solid not in self.solids:
            self.solids[solid] = name = self._new(f"{label}_solid")
            node = SubElement(self.section["solids"], type(solid).__name__.lower(), name=name)
            for attribute, field in ATTRIBUTES[type(solid)].items():
                node.set(attribute, repr(getattr(solid, field)))
            node.attrib.update({"lunit": "mm"} if isinstance(solid, Box) else {"lunit": "mm", "aunit": "rad"})
        return self.solids[solid]

    def _volume(self, volume: Volume) -> str:
        """The name of the file's volume that is the same but for name and placement."""
        entry = {**volume_json(volume), "name": volume.label, "translation": None, "rotation": None}
        key = json.dumps(entry)
        if key not in self.volumes:
            daughters = [self._volume(child) for child in volume.children]  # a file defines before it refers
            self.volumes[key] = self._logical(volume, daughters)
        return self.volumes[key]

    def _logical(self, volume: Volume, daughters: list[str]) -> str:
        name = self._new(volume.label)
        solid = self._solid(volume.solid, volume.label)
        node = SubElement(self.section["structure"], "volume", name=name)
        SubElement(node, "materialref", ref=self.materials[volume.material.name])
        SubElement(node, "solidref", ref=solid)
        copies: dict[str, int] = {}
        renamed = []
        for child, logical in zip(volume.children, daughters, strict=True):
            number = copies[child.label] = copies.get(child.label, -1) + 1
            placed = self._placed(node, child, logical, number)
            if placed != child.name:
                renamed.append((placed, child.name))
        if volume.sensitive:
            SubElement(node, "auxiliary", auxtype=SENSITIVE, auxvalue=volume.label)
        self._notes(node, volume, renamed)
        return name

    def _placed(self, mother: Node, child: Volume, logical: str, number: int) -> str:
        name = self._new(f"{child.name}_placed" if child.name in self.used else child.name)
        node = SubElement(mother, "physvol", name=name, copynumber=str(number))
        SubElement(node, "volumeref", ref=logical)
        # GDML turns the other way round: its angles make the inverse of the rotation, Rz Ry Rx.
        vectors = {"position": child.placement.translation, "rotation": tuple(-a for a in child.placement.rotation)}
        for what, unit in (("position", "mm"), ("rotation", "rad")):
            if any(vectors[what]):
                x, y, z = (repr(value + 0.0) for value in vectors[what])
                SubElement(node, what, name=self._new(f"{name}_{what}"), x=x, y=y, z=z, unit=unit)
        return name

    def _notes(self, node: Node, volume: Volume, renamed: list[tuple[str, str]]) -> None:
        if volume.kind is not None:
            self._note(node, "kind", volume.kind)
        if volume.channels:
            self._note(node, "channels", str(volume.channels))
        if volume.price is not None:
            self._note(node, "price", str(volume.price))
        for placed, name in renamed:
            self._note(node, "renamed", f"{placed} {name}")
