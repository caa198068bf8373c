"""docs/geometry.md does what it says: its commands and its example run, its layers are understood."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from mode_opt.cli import main
from mode_opt.cli.compose import built
from mode_opt.design import DesignPoint
from mode_opt.geometry import overlaps, read_gdml
from mode_opt.geometry.overlaps import POINTS

PAGE = (Path(__file__).parent.parent / "docs" / "geometry.md").read_text()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODE_OPT_DETECTORS", "")
    return tmp_path


def block(marker: str) -> str:
    (text,) = re.findall(rf"<!-- {marker} -->\n```\w+\n(.*?)```", PAGE, re.S)
    return text


def test_commands(folder, capfd):
    for line in block("commands").splitlines():
        assert main(shlex.split(line, comments=True)[1:]) == 0, (line, capfd.readouterr().err)
    assert capfd.readouterr().out.splitlines()[0].startswith("kind")
    assert read_gdml(folder / "design.gdml").children[1].solid.z == 3.0
    assert "8964" in (folder / "design.csv").read_text()  # 30 EUR/kg x 298.8 kg
    assert "/det/gap_thickness 2.5 mm" in (folder / "design.mac").read_text()


def test_example(capsys):
    scope: dict[str, Any] = {"__name__": "page"}
    exec(compile(block("example"), "geometry.md", "exec"), scope)
    table = scope["engineering_table"](scope["world"])
    rows = {row.kind: row for row in table.rows}
    assert set(rows) == {"cup", "crystal", "plate"} and rows["plate"].on_beam == pytest.approx(5.025, rel=1e-3)
    assert rows["crystal"].cost["EUR"] == pytest.approx(900 * 6.16e-6 * 3.14159265 * 30**2 * 180)
    assert rows["cup"].cost == {"EUR": 15.0}
    assert "crystal" in capsys.readouterr().out


def test_layers():
    volumes = built(yaml.safe_load(block("detector"))["volumes"])
    world = volumes(DesignPoint.of(absorber_thickness=4.0, gap_thickness=3.0))
    assert len(world.children) == 33 and overlaps(world) == []
    assert world.children[0].material.name == "Al" and world.children[0].solid.z == 2.0


def test_numbers():
    assert f"{POINTS} points\non every face" in PAGE
