"""Detectors that describe their volumes: they are as long as the design says, and overlap nowhere."""

import pytest
import yaml

from mode_opt.design import Design, DesignPoint
from mode_opt.detectors.branching_shower import branching_shower
from mode_opt.detectors.branching_shower.materials import MATERIALS as SHOWERED
from mode_opt.detectors.sampling_calorimeter import sampling_calorimeter
from mode_opt.detectors.sampling_calorimeter.materials import MATERIALS as SAMPLED
from mode_opt.errors import ConfigurationError, ModeOptError, ShapeError
from mode_opt.geometry import LayerStack, engineering_table, gdml, gdml_volume, material, overlaps

LAYERED = {"parameters": {"absorber_thickness": {"size": 50}, "gap_thickness": {"size": 50}}}
FRONT = {"parameters": {"front_thickness": {"start": 5.0, "bounds": [0.5, 40.0], "unit": "mm"}}}


@pytest.mark.parametrize(
    ("detector", "layers"),
    [
        (sampling_calorimeter(), 50),
        (sampling_calorimeter(design=LAYERED), 50),
        (sampling_calorimeter(absorber="Pb", gap="polystyrene", layers=20), 20),
        (branching_shower(), 25),
        (branching_shower(design=FRONT), 25),
    ],
)
def test_thicknesses_add_up(detector, layers):
    from xml.etree import ElementTree

    phi = detector.design.buildable()
    world = detector.volumes(phi)
    table = engineering_table(world)
    front = float(phi["front_thickness"]) if "front_thickness" in phi else 0.0
    assert table.total.on_beam == pytest.approx(float(phi["length"]) + front, rel=1e-6)
    shapes = detector.drawing(phi)
    assert table.total.on_beam == pytest.approx(shapes[-1]["x"][1], rel=1e-6)
    expected = sum((shape["x"][1] - shape["x"][0]) / material(shape["material"]).radiation_length for shape in shapes)
    assert table.total.radiation_lengths == pytest.approx(expected, rel=1e-6)
    assert table.total.channels == layers and len(world.children) == len(shapes)
    assert overlaps(world) == []
    assert gdml_volume(ElementTree.tostring(gdml(world), encoding="unicode")) == world


def test_detectors_share_the_constants_of_materials():
    """The numbers that the simulators were validated with."""
    expected = {
        **{"PbWO4": (8.3, 8.903), "Pb": (11.35, 5.612), "Fe": (7.874, 17.57), "W": (19.3, 3.504), "Cu": (8.96, 14.36)},
        **{"lAr": (1.396, 140.0), "polystyrene": (1.06, 413.1), "Si": (2.329, 93.7)},
    }
    assert {name: (made.density, made.radiation_length) for name, made in SAMPLED.items()} == expected
    for name, made in SHOWERED.items():
        assert (made.density, made.radiation_length) == expected[name]
    assert SHOWERED["PbWO4"].composition == {"Pb": 0.455347, "W": 0.404011, "O": 0.140637}
    assert SHOWERED["polystyrene"].composition == {"H": 0.077418, "C": 0.922582}


TILES = """
repeated:
  - {kind: absorber, thickness: plate, material: metal}
  - {kind: tile, thickness: 0.3 cm, material: G4_POLYSTYRENE, sensitive: true, channels: 144, price: 30 EUR}
  - {kind: gap, thickness: 1, material: air}
count: layers
width: 360
back: [{kind: wall, thickness: 10, material: stainless_steel}]
"""
PLATES = {
    "plate": {"start": 5.0, "size": 8, "bounds": [1.0, 20.0], "unit": "mm"},
    "layers": {"kind": "integer", "start": 6, "bounds": [1, 8]},
    "metal": {"start": "W", "options": ["Pb", "W"]},
}


def test_a_stack_in_yaml():
    volumes = LayerStack(**yaml.safe_load(TILES))
    rows = {row.kind: row for row in engineering_table(volumes(Design(PLATES).buildable())).rows}
    assert {kind: row.count for kind, row in rows.items()} == {"absorber": 6, "tile": 6, "gap": 6, "wall": 1}
    assert rows["absorber"].material == "W" and rows["absorber"].on_beam == pytest.approx(30)
    assert rows["tile"].material == "polystyrene" and rows["tile"].channels == 864
    assert rows["tile"].cost == {"EUR": 180.0} and rows["wall"].on_beam == pytest.approx(10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thickness": "plates"}, "plates"),
        ({"thickness": "5 kg"}, "thickness"),
        ({"thickness": -1}, "thickness"),
        ({"material": "Xx"}, r"volumes\.a\.material"),
        ({"kind": "a b"}, "name"),
        ({"colour": "red"}, "repeated"),
        ({"price": "cheap"}, "price"),
    ],
)
def test_stacks_that_are_refused(change, message):
    layer = {"kind": "a", "thickness": "plate", "material": "Pb"}
    with pytest.raises(ModeOptError, match=message):
        LayerStack([{**layer, **change}], 8, 100)(Design(PLATES).buildable())


def test_designs_that_do_not_fit():
    volumes = LayerStack([{"kind": "a", "thickness": "plate", "material": "Pb"}], 9, 100)
    with pytest.raises(ShapeError, match="plate"):
        volumes(Design(PLATES).buildable())  # eight plates for nine layers
    point = DesignPoint.of(plate=Design(PLATES)()["plate"].detach().expand(3, 8))
    with pytest.raises(ShapeError, match="plate"):
        volumes(point)
    with pytest.raises(ConfigurationError, match="kind, thickness and material"):
        LayerStack([{"kind": "a"}], 9, 100)
