"""Geant4 itself reads the GDML, in a process of its own, and finds the same volumes, masses and places."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mode_opt.geometry import Box, Cone, Material, Placement, Tube, Volume, material, overlaps, write_gdml

READER = Path(__file__).parent / "geant4_reader.py"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("geant4_pybind") is None, reason="geant4-pybind is not installed"
)


def geant4(path: Path, points) -> dict:
    environment = {name: value for name, value in os.environ.items() if name != "CI"}  # with it, it would download
    places = path.with_suffix(".points")
    places.write_text(json.dumps(np.asarray(points).tolist()))
    words = [sys.executable, str(READER), str(path), str(places)]
    done = subprocess.run(words, input="n\n", capture_output=True, text=True, env=environment, timeout=300)
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(found[0].removeprefix("RESULT "))


def world() -> Volume:
    own = Material.of("heavy_glass", 4.5, {"Pb": 0.5, "Si": 0.2, "O": 0.3})
    core = Volume("core", Cone(10, 20, 60, 5, 8, 0.4, 4.0), material("W"), Placement((3, -2, 5), (0.3, -0.5, 1.1)))
    slab = Volume(
        "slab", Box(120, 80, 100), own, Placement((-90, 20, 10), (0.7, 0.2, -0.4)), (core,), True, 9, kind="slabs"
    )
    twin = Volume(
        "twin", Box(120, 80, 100), own, Placement((150, 0, -200), (0, 0, 2.0)), (core,), True, 9, kind="slabs"
    )
    ring = Volume("ring", Tube(60, 90, 30, -0.5, 2.5), material("lAr"), Placement((0, 0, 200), (1.2, 0, 0)))
    return Volume("hall", Box(700, 600, 800), material("air"), children=(slab, twin, ring))


def compared(volume: Volume, found: dict) -> None:
    assert found["mass"] == pytest.approx(volume.mass, rel=1e-9)
    assert found["cubic_volume"] == pytest.approx(volume.solid.volume, rel=1e-9)
    assert found["material"] == (volume.material.nist or volume.material.name)
    assert found["density"] == pytest.approx(volume.material.density)
    assert found["radiation_length"] == pytest.approx(volume.material.radiation_length, rel=2e-3)
    assert found["translation"] == pytest.approx(list(volume.placement.translation))
    assert not found["overlaps"] and len(found["children"]) == len(volume.children)
    for child, inner in zip(volume.children, found["children"], strict=True):
        compared(child, inner)


def where(volume: Volume, points, depth):
    """Name of the innermost volume of each point, and the distance to the nearest face."""
    names = np.array([volume.name] * len(points), dtype=object)
    near = np.minimum(depth, np.abs(volume.solid.depth(points)))
    for child in volume.children:
        own = child.placement.to_own(points)
        inside = child.solid.depth(own) > 0
        inner, distance = where(child, own, near)
        names = np.where(inside, inner, names)
        near = np.minimum(near, distance)
    return names, near


def test_geant4_finds_the_same(tmp_path):
    made = world()
    assert overlaps(made) == []
    write_gdml(tmp_path / "a.gdml", made)
    points = np.random.default_rng(0).uniform(-1, 1, (20_000, 3)) * [200, 100, 350]
    result = geant4(tmp_path / "a.gdml", points)
    compared(made, result["world"])
    assert [child["copy"] for child in result["world"]["children"]] == [0, 1, 0]
    names, near = where(made, points, math.inf)
    found = np.array([name.partition("_")[0] for name in result["places"]], dtype=object)  # hall_PV, ring_placed
    clear = near > 1e-6
    assert (names[clear] == found[clear]).all()
    assert all((names == name).sum() > 20 for name in ("hall", "slab", "twin", "core", "ring"))
