"""Trees of volumes: masses, costs, rays through them, and the table of it all."""

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mode_opt.errors import ConfigurationError
from mode_opt.geometry import (
    Box,
    Layer,
    Placement,
    Price,
    Tube,
    Volume,
    crossings,
    engineering_table,
    material,
    stack,
)

LEAD, WATER, AIR, STEEL = (material(name) for name in ("Pb", "water", "air", "stainless_steel"))


def barrel() -> Volume:
    """A steel tube in air, full of water, with a brick of lead in it."""
    brick = Volume("brick", Box(100, 100, 200), LEAD, Placement((0, 0, 50)), channels=3, price=Price(500.0, "EUR"))
    water = Volume("water", Tube(190, 980), WATER, children=(brick,), sensitive=True, channels=7)
    tank = Volume("tank", Tube(200, 1000), STEEL, children=(water,))
    return Volume("world", Box(500, 500, 1200), AIR, children=(tank,))


def test_masses_of_nested_volumes():
    world = barrel()
    brick, water, tank = 2e6, math.pi * 190**2 * 980, math.pi * 200**2 * 1000
    by_name = {volume.name: volume for _, volume in world.walk()}
    assert by_name["brick"].mass == pytest.approx(11.35e-6 * brick)
    assert by_name["water"].own_mass == pytest.approx(1e-6 * (water - brick))
    assert by_name["tank"].own_mass == pytest.approx(8e-6 * (tank - water))
    total = 11.35 * brick + (water - brick) + 8 * (tank - water) + 1.205e-3 * (500 * 500 * 1200 - tank)
    assert world.mass == pytest.approx(1e-6 * total)
    assert [path for path, _ in world.walk()][-1] == "world/tank/water/brick"


def test_a_ray_through_nested_volumes():
    pieces = crossings(barrel())
    names = [(piece.volume.name, pytest.approx(piece.length)) for piece in pieces]
    assert names == [
        ("world", 100),
        ("tank", 10),
        ("water", 440),
        ("brick", 200),
        ("water", 340),
        ("tank", 10),
        ("world", 100),
    ]
    assert pieces[3].start == pytest.approx(-50) and pieces[3].path == "world/tank/water/brick"
    assert pieces[3].radiation_lengths == pytest.approx(200 / 5.612)
    across = crossings(barrel(), (-400, 0, 400), (3, 0, 0))
    assert [piece.volume.name for piece in across] == ["world", "tank", "water", "tank", "world"]
    assert math.fsum(piece.length for piece in across) == pytest.approx(500)
    with pytest.raises(ConfigurationError, match="direction"):
        crossings(barrel(), direction=(0, 0, 0))


def test_a_ray_through_what_is_turned():
    """A plate that is turned by 60 degrees about x is twice as thick on the way."""
    plate = Volume("plate", Box(1000, 1000, 5), LEAD, Placement((3, 0, 7), (math.pi / 3, 0, 0)))
    world = Volume("world", Box(3000, 3000, 3000), AIR, children=(plate,))
    (length,) = [piece.length for piece in crossings(world, (1, 2, 0)) if piece.volume is plate]
    assert length == pytest.approx(10)


@settings(deadline=None)
@given(st.tuples(*[st.floats(-3, 3)] * 3), st.tuples(*[st.floats(-100, 100)] * 3))
def test_placements_are_rigid(rotation, translation):
    placement = Placement(translation, rotation)
    np.testing.assert_allclose(placement.matrix @ placement.matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(placement.matrix) == pytest.approx(1)
    points = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(placement.to_own(placement.to_mother(points)), points, atol=1e-9)


def test_turns_are_about_the_own_axes_in_order():
    quarter = math.pi / 2
    placement = Placement(rotation=(quarter, quarter, 0))
    # x to y', which is z after the first turn: then about the new y
    np.testing.assert_allclose(placement.to_mother(np.array([[0.0, 1, 0]])), [[0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(placement.to_mother(np.array([[0.0, 0, 1]])), [[1, 0, 0]], atol=1e-12)


thickness = st.floats(0.01, 100)


@settings(deadline=None)
@given(st.lists(st.tuples(thickness, thickness), min_size=1, max_size=20), st.floats(1, 1000))
def test_table_of_a_stack_in_closed_form(pairs, width):
    layers = []
    for lead, water in pairs:
        layers += [Layer("lead", lead, LEAD), Layer("water", water, WATER, True, 2)]
    table = engineering_table(stack("world", layers, width).priced({"Pb": Price(2.0, "EUR", "kg")}))
    lead, water = (math.fsum(pair[k] for pair in pairs) for k in (0, 1))
    assert [row.kind for row in table.rows] == ["lead", "water"]
    assert [row.count for row in table.rows] == [len(pairs)] * 2
    assert [row.on_beam for row in table.rows] == pytest.approx([lead, water])
    assert table.total.radiation_lengths == pytest.approx(lead / 5.612 + water / 360.8)
    assert table.total.interaction_lengths == pytest.approx(lead / 175.9 + water / 833.0)
    assert [row.mass for row in table.rows] == pytest.approx([11.35e-6 * lead * width**2, 1e-6 * water * width**2])
    assert table.total.channels == 2 * len(pairs)
    assert table.total.cost == {"EUR": pytest.approx(2 * table.rows[0].mass)}
    assert (table.total.unpriced, table.rows[1].cost) == (len(pairs), {})
    assert table.rows[0].thinnest == min(pair[0] for pair in pairs)


def test_table_of_nested_volumes():
    table = engineering_table(barrel())
    rows = {row.kind: row for row in table.rows}
    assert set(rows) == {"tank", "water", "brick"}  # the hall itself is left out
    assert rows["water"].on_beam == pytest.approx(780) and rows["tank"].on_beam == pytest.approx(20)
    assert rows["brick"].cost == {"EUR": 500.0} and table.total.channels == 10
    aside = {row.kind: row.on_beam for row in engineering_table(barrel(), (100, 0)).rows}
    assert aside == pytest.approx({"tank": 20, "water": 980, "brick": 0})


def test_table_in_three_formats():
    world = barrel().priced({"water": Price(1.0, "CHF", "mm^3")})
    table = engineering_table(world)
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    assert [row["kind"] for row in rows] == ["tank", "water", "brick", "total"]
    assert float(rows[-1]["mass / kg"]) == table.total.mass
    assert rows[2]["cost"] == "500.0 EUR" and rows[-1]["volumes without a price"] == "1"
    assert rows[-1]["cost"].split(" + ")[1] == "500.0 EUR"
    content = json.loads(json.dumps(table.as_json()))
    assert content["total"]["cost"] == dict(table.total.cost) and content["rows"][0]["kind"] == "tank"
    lines = table.text().splitlines()
    assert len({len(line) for line in lines[:2]}) == 1 and lines[-1].startswith("total")
    assert f"{table.total.mass:.4g}" in lines[-1]


def test_two_thicknesses_share_a_row():
    world = stack("world", [Layer("plate", 2, LEAD), Layer("plate", 4, LEAD), Layer("none", 0, LEAD)], 10)
    (row,) = engineering_table(world).rows
    assert (row.count, row.thinnest, row.thickest) == (2, 2.0, 4.0)
    assert "2 to 4" in engineering_table(world).text()


@pytest.mark.parametrize(
    "name", ["", "1st", "a b", "a/b", "ä", "a\nb", "a;b", "<a>", "a&b", "x0x1", "=1+1", "a" * 300, None, 3]
)
def test_odd_names_are_refused(name):
    with pytest.raises(ConfigurationError, match="name"):
        Volume(name, Box(1, 1, 1), LEAD)
    if name is not None:
        with pytest.raises(ConfigurationError, match="kind"):
            Volume("fine", Box(1, 1, 1), LEAD, kind=name)


def test_impossible_volumes_are_refused():
    box = Volume("box", Box(1, 1, 1), LEAD)
    with pytest.raises(ConfigurationError, match="distinct"):
        replace(box, children=(box, box))
    for channels in (-1, 1.5, True):
        with pytest.raises(ConfigurationError, match="channels"):
            replace(box, channels=channels)
    with pytest.raises(ConfigurationError, match=r"volume\.box\.material"):
        replace(box, material="Pb")
    for translation in ((1, 2), (1, 2, float("nan")), "123"):
        with pytest.raises(ConfigurationError, match="translation"):
            Placement(translation)
    with pytest.raises(ConfigurationError, match=r"prices\.Xe"):
        box.priced({"Xe": Price(1.0, "EUR", "kg")})
    with pytest.raises(ConfigurationError, match="layer"):
        stack("world", [Layer("none", 0, LEAD)], 10)
    with pytest.raises(ConfigurationError, match=r"plate\.thickness"):
        stack("world", [Layer("plate", -1, LEAD)], 10)
