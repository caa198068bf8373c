"""What was written is read back: GDML and JSON of random trees, rules of the format, files of others, bad files."""

import json
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from volumes import worlds

from mode_opt.errors import ConfigurationError, DataError
from mode_opt.geometry import (
    Box,
    Cone,
    Layer,
    Material,
    Placement,
    Price,
    Tube,
    Volume,
    engineering_table,
    gdml,
    gdml_volume,
    geometry_json,
    material,
    read_gdml,
    read_json,
    stack,
    volume_of_json,
    write_gdml,
    write_json,
)

LEAD, AIR = material("Pb"), material("air")


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_what_is_written_as_json_is_read_back(world):
    assert volume_of_json(json.loads(json.dumps(geometry_json(world), allow_nan=False))) == world


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_what_is_written_as_gdml_is_read_back(world):
    text = ElementTree.tostring(gdml(world), encoding="unicode")
    assert gdml_volume(text) == world


ORDER = {
    "gdml": ["define", "materials", "solids", "structure", "userinfo", "setup"],
    "material": ["RL", "NIL", "D", "fraction"],
    "volume": ["materialref", "solidref", "physvol", "auxiliary"],
    "physvol": ["volumeref", "position", "rotation"],
}
"""The schema's sequences."""

NEEDED = {
    "box": {"name", "x", "y", "z", "lunit"},
    "tube": {"name", "z", "rmin", "rmax", "startphi", "deltaphi", "lunit", "aunit"},
    "cone": {"name", "z", "rmin1", "rmin2", "rmax1", "rmax2", "startphi", "deltaphi", "lunit", "aunit"},
    "position": {"name", "x", "y", "z", "unit"},
    "rotation": {"name", "x", "y", "z", "unit"},
}


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_the_rules_of_the_schema_hold(world):
    """Names are distinct XML identifiers defined before they are used, elements stand in order, nothing is missing."""
    root = gdml(world)
    for node in root.iter():
        if node.tag in ORDER:
            places = [ORDER[node.tag].index(child.tag) for child in node]
            assert places == sorted(places), node.tag
        assert NEEDED.get(node.tag, set()) <= set(node.attrib)
    defined: set[str] = set()
    for section in ("materials", "solids", "structure", "setup"):
        for entry in root.findall(section if section == "setup" else f"{section}/*"):
            assert all(node.attrib["ref"] in defined for node in entry.iter() if "ref" in node.attrib), entry.tag
            for name in [node.attrib["name"] for node in entry.iter() if "name" in node.attrib]:
                assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name) and name not in defined
                defined.add(name)


def test_equal_volumes_are_one_placed_often(tmp_path):
    layers = [layer for _ in range(50) for layer in (Layer("lead", 2, LEAD), Layer("gap", 1, AIR, True, 1))]
    root = gdml(stack("world", layers, 100))
    assert [node.get("name") for node in root.findall("structure/volume")] == ["lead", "gap", "world"]
    copies = [node.get("copynumber") for node in root.findall("structure/volume/physvol")]
    assert copies == [str(k // 2) for k in range(100)]
    sensitive = [node.get("auxvalue") for node in root.findall("structure/volume/auxiliary[@auxtype='SensDet']")]
    assert sensitive == ["gap"]


def test_files(tmp_path):
    child = Volume("a", Tube(10, 20, 5, 0.3, 2.0), LEAD, Placement((1 / 3, 0, -7), (0.1, -0.2, math.pi)), (), True, 4)
    other = Volume("b", Cone(5, 3, 2), Material.of("mix", 3.3, "CeF3", price="9 EUR/kg"), price=Price(3.0, "JPY"))
    world = Volume(
        "hall", Box(500, 500, 500), AIR, children=(child, Volume("c", Box(20, 20, 20), AIR, children=(other,)))
    )
    write_gdml(tmp_path / "a.gdml", world)
    write_json(tmp_path / "a.json", world, table=engineering_table(world).as_json())
    assert read_gdml(tmp_path / "a.gdml") == world == read_json(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["table"]["total"]["count"] == 3


FOREIGN = """<?xml version="1.0"?>
<gdml xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <define><position name="p" x="1" y="2" z="3" unit="cm"/><rotation name="r" x="0" y="0" z="90" unit="deg"/></define>
 <materials>
  <element name="ox" formula="O" Z="8"><atom value="16"/></element>
  <element name="hy" formula="H" Z="1"><atom value="1"/></element>
  <material name="ice" state="solid"><D value="920" unit="kg/m3"/>
   <composite n="2" ref="hy"/><composite n="1" ref="ox"/></material>
  <material name="iron" Z="26"><D value="7.874"/><atom value="55.85"/></material>
 </materials>
 <solids><box name="big" x="1" y="2" z="3" lunit="m"/>
  <tube name="small" z="2" rmax="3" deltaphi="180" aunit="deg" lunit="cm"/></solids>
 <structure>
  <volume name="inner"><materialref ref="iron"/><solidref ref="small"/>
   <auxiliary auxtype="SensDet" auxvalue="x"/></volume>
  <volume name="hall"><materialref ref="ice"/><solidref ref="big"/>
   <physvol><volumeref ref="inner"/><positionref ref="p"/><rotationref ref="r"/></physvol></volume>
 </structure>
 <setup name="Default" version="1.0"><world ref="hall"/></setup>
</gdml>"""


def test_a_file_of_others():
    world = gdml_volume(FOREIGN)
    assert world.name == "hall" and world.solid == Box(1000, 2000, 3000)
    ice, iron = world.material, world.children[0].material
    assert ice.density == pytest.approx(0.92) and ice.composition == pytest.approx(material("water").composition)
    assert ice.radiation_length == pytest.approx(360.8 / 0.92, rel=1e-3)
    assert iron.radiation_length == pytest.approx(17.57, rel=1e-3) and iron.composition == {"Fe": 1.0}
    inner = world.children[0]
    assert inner.solid == Tube(30, 20, 0, 0, math.pi) and inner.sensitive and inner.name == "inner_0"
    assert inner.placement.translation == (10, 20, 30)
    assert inner.placement.rotation == pytest.approx((0, 0, -math.pi / 2))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('<?xml version="1.0"?>', '<!DOCTYPE gdml [<!ENTITY a "b">]>', "entities"),
        ("</gdml>", "", "no XML"),
        ('x="1" y="2" z="3" lunit', 'x="2*a" y="2" z="3" lunit', "expressions"),
        ("<box", "<sphere", "sphere"),
        ('<volumeref ref="inner"/>', '<volumeref ref="hall"/>', "inside itself"),
        ('<volumeref ref="inner"/>', '<volumeref ref="none"/>', "no volume 'none'"),
        ('<volumeref ref="inner"/>', "", "no volumeref"),
        ('ref="ice"/>', 'ref="G4_ICE"/>', "no material"),
        ('<D value="7.874"/>', "", "density"),
        ('value="920" unit="kg/m3"', 'value="920" unit="oz/in3"', "oz/in3"),
        ('lunit="m"', 'lunit="kg"', "unit"),
        ('lunit="m"', 'lunit="parsnip"', "unit"),
        ('rmax="3"', "", "lacks"),
        ('rmax="3"', 'rmax="-3"', "outer"),
        ('Z="26"', 'Z="126"', "Z = 126"),
        ('<positionref ref="p"/>', '<positionref ref="p"/><scale x="2"/>', "scaled"),
        ("<physvol>", "<physvol name='a/b'>", "name"),
        ('<world ref="hall"/>', "", "world"),
        ("<physvol>", "<replicavol number='3'/><physvol>", "replicavol"),
        ('value="7.874"', 'value="nan"', "density"),
    ],
)
def test_what_is_not_understood_is_named(old, new, message):
    assert old in FOREIGN
    with pytest.raises(DataError, match=message):
        gdml_volume(FOREIGN.replace(old, new), "their.gdml")


def test_volumes_without_end(monkeypatch):
    monkeypatch.setattr("mode_opt.geometry.gdml_reader.MOST", 1000)
    levels = [
        f"<volume name='v{k}'><materialref ref='iron'/><solidref ref='big'/>"
        + "".join(f"<physvol name='v{k}_{n}'><volumeref ref='v{k + 1}'/></physvol>" for n in range(10) if k < 9)
        + "</volume>"
        for k in range(10)
    ]
    text = FOREIGN.replace("<structure>", "<structure>" + "".join(levels)).replace(
        '<world ref="hall"/>', '<world ref="v0"/>'
    )
    with pytest.raises(DataError, match="more than 1000 volumes"):
        gdml_volume(text)


def test_bad_json(tmp_path):
    path, good = tmp_path / "a.json", geometry_json(stack("world", [Layer("lead", 2, LEAD)], 10))
    with pytest.raises(DataError, match=r"a\.json"):
        read_json(path)
    volume = good["world"]
    bad = [
        {},
        {**good, "format": "2"},
        {**good, "world": {**volume, "solid": {"shape": "sphere", "r": 1}}},
        {**good, "world": {**volume, "material": "Xx"}},
        {**good, "world": {**volume, "name": "a/b"}},
        {**good, "materials": {}},
        {**good, "world": {**volume, "channels": "3"}},
        [],
    ]
    for content in (*map(json.dumps, bad), "{", "[NaN]", "\0"):
        path.write_text(content)
        with pytest.raises(DataError, match=r"a\.json"):
            read_json(path)


def test_what_cannot_be_written():
    heavy = Volume("heavy", Box(1, 1, 1), Material.of("Pb", 12.0, "Pb"))
    two = Volume("world", Box(10, 10, 10), AIR, children=(heavy, Volume("light", Box(1, 1, 1), LEAD)))
    for write in (gdml, geometry_json):
        with pytest.raises(ConfigurationError, match="one material of that name"):
            write(two)
    with pytest.raises(ConfigurationError, match="placement"):
        gdml(Volume("world", Box(10, 10, 10), AIR, Placement((0, 0, 1))))
