"""Geometries from GDML."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element as Node

from mode_opt.errors import ConfigurationError, DataError
from mode_opt.geometry.elements import ELEMENTS
from mode_opt.geometry.gdml_writer import ATTRIBUTES, PREFIX, SENSITIVE
from mode_opt.geometry.materials import Material
from mode_opt.geometry.prices import Price
from mode_opt.geometry.solids import SOLIDS, Solid
from mode_opt.geometry.volumes import Placement, Triple, Volume
from mode_opt.units import parse_unit

_UNITS = {"radian": "rad", "rad": "rad", "deg": "degree", "degree": "degree", "mrad": "mrad"}

DEEPEST = 100
"""Volumes inside one another; more is taken for a file that refers to itself."""

MOST = 1_000_000
"""Volumes of a tree: a short file can place volumes in volumes without end."""


def read_gdml(path: Path) -> Volume:
    """The tree of a GDML file: exactly that which `mode_opt.geometry.write_gdml` was given.

    Files of others are read if they hold boxes, tubes and cones, placed one by one, of materials made of elements by
    mass fraction or number of atoms, with plain numbers in place of expressions; positions and rotations may be
    defined by name. A material's lengths are computed from its composition where the file has none.

    Raises:
        DataError: for anything else, naming it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    return gdml_volume(text, str(path))


def gdml_volume(text: str, name: str = "GDML") -> Volume:
    """The tree of a GDML text; ``name`` is what messages call it.

    Raises:
        DataError: as `read_gdml`.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{name}: has a document type or entities, which are not read")
    try:
        return _File(ElementTree.fromstring(text)).world()
    except ElementTree.ParseError as error:
        raise DataError(f"{name}: no XML ({error})") from None
    except (_Unreadable, ConfigurationError) as error:
        raise DataError(f"{name}: {error}") from error


class _Unreadable(Exception):
    """Something in a file that is not understood."""


@final
class _File:
    """What the sections of a file define, by name."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.defined = {_attribute(node, "name"): node for node in root.findall("define/*")}
        self.elements = {_attribute(n, "name"): n for n in root.findall("materials/element")}
        notes = {note.get("auxvalue", ""): note for note in root.findall("userinfo/auxiliary")}
        self.materials = {
            name: self._material(node, notes.get(name))
            for node in root.findall("materials/material")
            for name in [_attribute(node, "name")]
        }
        self.solids = {_attribute(node, "name"): node for node in root.findall("solids/*")}
        self.volumes = {_attribute(node, "name"): node for node in root.findall("structure/volume")}
        self.read = 0

    def world(self) -> Volume:
        top = self._reference(self.root, "setup/world")
        notes = {note.get("auxtype"): note.get("auxvalue", "") for note in self.root.findall("userinfo/auxiliary")}
        return self._volume(top, notes.get(PREFIX + "world", top), Placement(), 0)

    def _volume(self, logical: str, name: str, placement: Placement, level: int) -> Volume:
        if level > DEEPEST:
            raise _Unreadable(f"volume {logical!r} is inside itself, or more than {DEEPEST} deep")
        self.read += 1
        if self.read > MOST:
            raise _Unreadable(f"there are more than {MOST} volumes")
        node = _known(self.volumes, logical, "volume")
        for other in ("replicavol", "paramvol", "divisionvol", "loop", "assembly"):
            if node.find(other) is not None:
                raise _Unreadable(f"volume {logical!r} has a {other}; only physvol is read")
        notes = list(_notes(node))
        names = dict(value.split(" ", 1) for what, value in notes if what == "renamed" and " " in value)
        given = dict(notes)
        return Volume(
            name,
            self._solid(self._reference(node, "solidref")),
            _known(self.materials, self._reference(node, "materialref"), "material"),
            placement,
            tuple(self._child(child, names, level) for child in node.findall("physvol")),
            any(aux.get("auxtype") == SENSITIVE for aux in node.findall("auxiliary")),
            _whole(given.get("channels", "0")),
            Price.of(given["price"]) if "price" in given else None,
            given.get("kind"),
        )

    def _child(self, node: Node, names: dict[str, str], level: int) -> Volume:
        logical = self._reference(node, "volumeref")
        name = node.get("name", f"{logical}_{node.get('copynumber', '0')}")
        angles = self._vector(node, "rotation", "rad")
        rotation = -angles[0], -angles[1], -angles[2]
        return self._volume(
            logical, names.get(name, name), Placement(self._vector(node, "position", "mm"), rotation), level + 1
        )

    def _vector(self, node: Node, what: str, unit: str) -> Triple:
        found, named = node.find(what), node.find(f"{what}ref")
        if named is not None:
            found = _known(self.defined, _attribute(named, "ref"), what)
        if node.find("scale") is not None or node.find("scaleref") is not None:
            raise _Unreadable("a physvol is scaled, which is not read")
        if found is None:
            return (0.0, 0.0, 0.0)
        factor = _factor(found.get("unit", unit), unit)
        x, y, z = (_number(found.get(axis, "0")) * factor for axis in "xyz")
        return x, y, z

    def _solid(self, name: str) -> Solid:
        node = _known(self.solids, name, "solid")
        if node.tag not in SOLIDS:
            raise _Unreadable(f"solid {name!r} is a {node.tag}; {', '.join(SOLIDS)} are read")
        kind = SOLIDS[node.tag]
        length, angle = _factor(node.get("lunit", "mm"), "mm"), _factor(node.get("aunit", "rad"), "rad")
        numbers = {}
        for attribute, field in ATTRIBUTES[kind].items():
            if node.get(attribute) is not None:
                factor = angle if attribute in ("startphi", "deltaphi") else length
                numbers[field] = _number(_attribute(node, attribute)) * factor
        try:
            return kind(**numbers)
        except TypeError as error:
            raise _Unreadable(f"solid {name!r} lacks an attribute ({error})") from None

    def _material(self, node: Node, notes: Node | None) -> Material:
        name = _attribute(node, "name")
        given = dict(_notes(notes)) if notes is not None else {}
        density = _quantity(node, "D", "g/cm3")
        if density is None:
            raise _Unreadable(f"material {name!r} has no density")
        shares, state = self._composition(node, name), node.get("state", "solid")
        state = "solid" if state == "unknown" else state
        price = Price.of(given["price"]) if "price" in given else None
        own = given.get("name", name)
        made = Material.of(own, density, shares, state, given.get("nist"), price)
        lengths = _quantity(node, "RL", "mm"), _quantity(node, "NIL", "mm")
        radiation, interaction = lengths[0] or made.radiation_length, lengths[1] or made.interaction_length
        return Material(own, density, made.composition, radiation, interaction, state, given.get("nist"), price)

    def _composition(self, node: Node, name: str) -> dict[str, float]:
        parts = [(part, True) for part in node.findall("fraction")] + [(p, False) for p in node.findall("composite")]
        found: dict[str, float] = {}
        for part, by_mass in parts:
            symbol = self._symbol(_attribute(part, "ref"))
            number = _number(_attribute(part, "n"))
            found[symbol] = found.get(symbol, 0.0) + (number if by_mass else number * ELEMENTS[symbol].atomic_weight)
        if not found and node.get("Z"):
            return {_by_number(_number(_attribute(node, "Z"))): 1.0}
        if not found:
            raise _Unreadable(f"material {name!r} has no composition")
        total = 1.0 if parts[0][1] else sum(found.values())
        return {symbol: share / total for symbol, share in found.items()}

    def _symbol(self, name: str) -> str:
        return _by_number(_number(_attribute(_known(self.elements, name, "element"), "Z")))

    def _reference(self, node: Node, tag: str) -> str:
        found = node.find(tag)
        if found is None:
            raise _Unreadable(f"a {node.tag} has no {tag}")
        return _attribute(found, "ref")


def _attribute(node: Node, name: str) -> str:
    value = node.get(name)
    if value is None:
        raise _Unreadable(f"a {node.tag} has no attribute {name!r}")
    return value


def _known(table: dict[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise _Unreadable(f"there is no {what} {name!r}")
    return table[name]


def _notes(node: Node) -> Iterator[tuple[str, str]]:
    """Our own auxiliaries of a node."""
    for note in node.findall("auxiliary"):
        if note.get("auxtype", "").startswith(PREFIX):
            yield _attribute(note, "auxtype").removeprefix(PREFIX), _attribute(note, "auxvalue")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _Unreadable(f"{text!r} is no number; expressions are not read") from None


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise _Unreadable(f"{text!r} is no number of channels")
    return int(text)


def _by_number(number: float) -> str:
    for element in ELEMENTS.values():
        if element.atomic_number == number:
            return element.symbol
    raise _Unreadable(f"there is no element with Z = {number:g}")


def _factor(unit: str, kind: str) -> float:
    """Of a unit that fits ``mm`` or ``rad``, to that."""
    given = parse_unit(_UNITS.get(unit, unit), "unit")
    if not given.fits(parse_unit(kind)):
        raise _Unreadable(f"the unit {unit!r} does not fit {kind}")
    return given.factor


def _quantity(node: Node, tag: str, unit: str) -> float | None:
    """A density in g/cm3 or a length in mm; None if the material has none."""
    found = node.find(tag)
    if found is None:
        return None
    number, given = _number(_attribute(found, "value")), found.get("unit", "g/cm3" if tag == "D" else "cm")
    if given == unit:
        return number
    density = {"kg/m3": 1e-3, "mg/cm3": 1e-3}
    if tag == "D" and given not in density:
        raise _Unreadable(f"a density in {given!r}; g/cm3, mg/cm3 and kg/m3 are read")
    return number * (density[given] if tag == "D" else _factor(given, unit))
