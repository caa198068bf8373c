import csv
import json

import pytest

from mode_opt.experiment import Detector
from mode_opt.geometry import Box, Placement, Volume, material, read_gdml, read_json

CALORIMETER = ("geometry", "detector=sampling_calorimeter")


def test_the_table_on_the_terminal(command):
    text = command(
        *CALORIMETER, "prices.PbWO4=30 EUR/kg", "design.gap_thickness=5", "design.absorber_thickness=2"
    ).stdout
    total = text.splitlines()[-1].split()
    assert total[0] == "total" and total[1] == "100" and float(total[5]) == pytest.approx(350)
    assert "3984 EUR" in text  # 8.3 g/cm3 x 100 mm x 0.16 m2 = 132.8 kg


def test_all_files(command, tmp_path):
    for suffix in ("gdml", "json", "mac", "csv", "txt"):
        done = command(*CALORIMETER, f"output=out.{suffix}", "design.gap_thickness=2.1")
        assert done.stdout == f"sampling_calorimeter in out.{suffix}\n"
    world = read_gdml(tmp_path / "out.gdml")
    assert world == read_json(tmp_path / "out.json")
    assert world.children[1].solid == Box(400, 400, 2.1)
    assert "/mode_opt/gap_thickness 2.1 mm\n" in (tmp_path / "out.mac").read_text()
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert float(rows[-1]["on beam / mm"]) == pytest.approx(50 * (4.5 + 2.1))
    table = json.loads((tmp_path / "out.json").read_text())["table"]
    assert float(rows[-1]["mass / kg"]) == table["total"]["mass"] == pytest.approx(world.mass, rel=2e-3)
    assert (tmp_path / "out.txt").read_text() == command(*CALORIMETER, "design.gap_thickness=2.1").stdout


def test_of_a_run(command, tmp_path):
    (tmp_path / "run").mkdir()
    entry = {"absorber_thickness": {"final": 3.0, "unit": "mm"}, "gap_thickness": {"final": 2.0, "unit": "mm"}}
    (tmp_path / "run" / "result.json").write_text(json.dumps({"design": entry}))
    command(*CALORIMETER, "design=run", "output=run.gdml")
    assert {child.solid.z for child in read_gdml(tmp_path / "run.gdml").children} == {3.0, 2.0}


def test_macro_templates(command, tmp_path):
    words = ("macro.number='/det/{name} {value} {unit}'", "macro.parameters.gap_thickness='/gap {value}'")
    command(*CALORIMETER, "output=a.mac", *words)
    assert (tmp_path / "a.mac").read_text().splitlines()[1:] == ["/det/absorber_thickness 4.5 mm", "/gap 2.5"]


def test_without_volumes_there_is_a_macro_only(command, tmp_path):
    done = command("geometry", "detector=event_selection", check=False)
    assert done.returncode == 2 and "describes its volumes" in done.stderr
    command("geometry", "detector=event_selection", "output=a.mac")
    assert (tmp_path / "a.mac").read_text().startswith("# event_selection")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["output=a.step"], "output: got 'a.step'"),
        (["output=nowhere/a.gdml"], "folder that exists"),
        (["overlaps=ignore"], "error or warn"),
        (["beam=[1,2,3]"], "beam"),
        (["beam=[a,b]"], "beam"),
        (["prices.Xe=3 EUR/kg"], "prices.Xe"),
        (["prices.PbWO4=3"], "prices.PbWO4"),
        (["prices=3"], "prices"),
        (["detector.gap=Xx", "output=a.gdml"], "material"),
        (["macro.number='{value'", "output=a.step"], "output"),
        (["output=a.mac", "macro.number='{oops}'"], "oops"),
    ],
)
def test_what_is_refused(command, words, message, tmp_path):
    done = command(*CALORIMETER, *words, check=False)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("a.*"))


def crossed(phi):
    box = Volume("one", Box(10, 10, 10), material("Pb"))
    other = Volume("two", Box(10, 10, 10), material("Pb"), Placement((0.0, 0.0, 7.0)))
    return Volume("world", Box(100, 100, 100), material("air"), children=(box, other))


def test_overlaps_are_errors_or_warnings(command, monkeypatch, tmp_path):
    import mode_opt.cli.geometry as geometry

    detector = geometry.detector_of

    def doctored(configuration) -> Detector:
        from dataclasses import replace

        return replace(detector(configuration), volumes=crossed)

    monkeypatch.setattr(geometry, "detector_of", doctored)
    done = command(*CALORIMETER, "output=a.gdml", check=False)
    assert done.returncode == 2 and "world/one overlaps with world/two by 3 mm" in done.stderr
    assert not (tmp_path / "a.gdml").exists()
    done = command(*CALORIMETER, "output=a.gdml", "overlaps=warn")
    assert "overlaps with world/two by 3 mm" in done.stderr and (tmp_path / "a.gdml").exists()
