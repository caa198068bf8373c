"""``mode-opt pareto``: fronts that are known, and what happens when something fails."""

import csv
import json
import math
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot
from known_front import NEAR, write_twins

from mode_opt.cli import main
from mode_opt.cli.pareto.rates import slope
from mode_opt.data import read_metadata

QUICK = [
    "quiet=true",
    "hydra.run.dir=front",
    "effort.events=128",
    "effort.validation_events=128",
    "effort.check_every=40",
    "budget.steps=120",
    "early_stopping.patience=null",
    "verification.events=1000",
]
PAGE = Path(__file__).parents[2] / "docs" / "pareto.md"
BOTH = "goals={far: own, near: " + NEAR + "}"


def rows(folder):
    with (folder / "front.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(found, *names):
    return [np.array([float(row[name]) for row in found]) for name in names]


@pytest.fixture
def here(tmp_path, monkeypatch, capfd):
    """The command in this process without the reports of its runs: exit code, and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mode_opt.cli.optimise._report", lambda directory, progress: None)
    monkeypatch.setenv("MODE_OPT_DETECTORS", "")
    path, modules, twins = list(sys.path), set(sys.modules), write_twins(tmp_path)

    def run(*arguments):
        capfd.readouterr()
        code = main(["pareto", *(twins if "resume=front" not in arguments else twins[:2]), *arguments])
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    yield run
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] == "twins":
            del sys.modules[name]


def test_a_convex_front_and_the_slope_at_its_points(here, tmp_path):
    """Of squared distances r², s² to points 1 apart: r + s = 1, and −ds²/dr² = s/r."""
    code, said = here(*QUICK, BOTH, "points=3", "detector.noise=0.005", "design.x=0.5", "design.y=0.5")
    assert code == 0, said
    found = rows(tmp_path / "front")
    assert [row["role"] for row in found] == ["start", "anchor", "anchor", "level", "level"]
    levels = found[3:]
    limits, near, far, price, error = numbers(
        levels, "limit_near", "near", "far", "multiplier_near", "multiplier_near_standard_error"
    )
    assert limits == pytest.approx([2 / 3, 1 / 3], abs=0.01)
    assert np.sqrt(near.clip(0)) + np.sqrt(far.clip(0)) == pytest.approx(np.ones(2), abs=3e-3)
    assert near == pytest.approx(limits, abs=0.02)
    exact = np.sqrt(far / near)
    assert (np.abs(price - exact) < 0.1 * exact + 3 * error).all() and (error < 0.1).all()
    assert all(row["on_front"] == "1" and row["met"] == "1" for row in found[1:]) and found[0]["on_front"] == "0"
    assert "far per near" in said and "multiplier" not in said
    folder = tmp_path / "front"
    tree = uproot.open(folder / "front.root")["front"].arrays(library="np")
    assert tree["near"] == pytest.approx([float(row["near"]) for row in found])
    assert math.isnan(tree["multiplier_near"][0]) and tree["on_front"].tolist() == [0, 1, 1, 1, 1]
    assert tree["design_x"][-1] == pytest.approx(float(levels[-1]["design_x"]))
    assert read_metadata(folder / "front.root")["words"]["role"][0] == "start"
    content = json.loads((folder / "front.json").read_text())
    reference = content["reference"]
    area = reference["near"] * reference["far"]
    assert 0.5 * area < content["hypervolume"]["value"] < area
    for name in ("front.png", "front.pdf", "front.csv"):
        assert (folder / "figures" / name).is_file()


@pytest.fixture
def no_figure(monkeypatch):
    """Drawing takes a second and is tested elsewhere."""
    monkeypatch.setattr("mode_opt.cli.pareto.write_front", lambda directory: None)


def test_a_concave_front_where_weighted_sums_find_its_ends_only(here, tmp_path, no_figure):
    """1 − exp(−3 r²): between the anchors every weighted sum is larger than at one of them, and limits find it."""
    assert here(*QUICK, BOTH, "levels={near: [0.45]}", "detector.concave=true", "detector.noise=0.005")[0] == 0
    found = rows(tmp_path / "front")
    near, far = numbers(found[1:], "near", "far")
    r, s = (np.sqrt(-np.log1p(-value.clip(0)) / 3) for value in (near, far))
    assert r + s == pytest.approx(np.ones(3), abs=0.02)
    assert near[2] == pytest.approx(0.45, abs=0.03) and found[3]["on_front"] == "1"
    for weight in np.linspace(0, 1, 11):
        values = weight * near + (1 - weight) * far
        assert values[2] > min(values[0], values[1])


def test_limits_on_a_quantity_are_exact_and_one_that_nothing_keeps_is_marked(here, tmp_path, no_figure):
    """(x − 1)² with x ≤ L: 2 (1 − L) is the slope. The towers fall beyond 1.4; x is at least −0.5 mm."""
    code, said = here(*QUICK, "goals={far: own, width: width}", "levels={width: [0.5 mm, 0, -0.2]}", "budget.steps=80")
    assert code == 0, said
    start, anchor, *levels = rows(tmp_path / "front")
    assert start["role"] == "start" and float(anchor["width"]) == pytest.approx(0.1, abs=1e-3)  # cm
    kept = levels[:2]
    limits, width, far, price = numbers(kept, "limit_width", "width", "far", "multiplier_width")
    assert limits == pytest.approx([0.05, 0.0])
    assert (width <= limits + 1e-9).all() and width == pytest.approx(limits, abs=2e-3)
    assert far == pytest.approx((1 - 10 * width) ** 2, abs=2e-3)
    assert price == pytest.approx(20 * (1 - 10 * width), rel=0.02)
    assert levels[2]["status"] == "infeasible" and "the smallest is -0.05" in levels[2]["message"]
    assert levels[2]["far"] == "" and "infeasible" in said


def test_three_goals_make_a_grid_and_a_limit_below_the_best_is_called_so(here, tmp_path, no_figure):
    wanted = "goals={far: own, near: " + NEAR + ", width: width}"
    code, said = here(*QUICK, wanted, "levels={near: [-0.1], width: [0.05]}", "budget.steps=10")
    assert code == 0, said
    found = rows(tmp_path / "front")
    assert [row["directory"] for row in found[3:]] == ["levels/00_01", "levels/01_00", "levels/01_01"]
    limits = [(row["limit_near"], row["limit_width"]) for row in found[3:]]
    assert limits == [("", "0.05"), ("-0.1", ""), ("-0.1", "0.05")]
    assert [row["met"] for row in found[3:]] == ["1", "0", "0"] and "beyond its limit -0.1" in found[4]["message"]


def test_a_run_that_fails_is_named_and_a_resumed_front_makes_up_for_what_is_missing(
    here, tmp_path, monkeypatch, no_figure
):
    small = [*QUICK, "budget.steps=3", BOTH, "points=3"]
    from mode_opt.cli import optimise

    made, real = [], optimise.run

    def once(configuration, folder):
        made.append(folder.relative_to("front") if not folder.is_absolute() else folder.relative_to(tmp_path / "front"))
        if str(made[-1]) == "levels/01":
            raise RuntimeError("out of helium\nand more")
        return real(configuration, folder)

    monkeypatch.setattr(optimise, "run", once)
    code, said = here(*small)
    assert code == 0 and "failed: out of helium" in said
    assert [row["status"] for row in rows(tmp_path / "front")] == ["measured", *["finished"] * 2, "failed", "finished"]
    made.clear()
    monkeypatch.setattr(
        optimise, "run", lambda configuration, folder: (made.append(folder), real(configuration, folder))
    )
    assert here("resume=front")[0] == 0
    assert [str(folder) for folder in made] == ["front/levels/01"]
    found = rows(tmp_path / "front")
    assert [row["status"] for row in found] == ["measured", *["finished"] * 4]
    assert here("resume=front", "budget.steps=3")[0] == 2
    assert "resume=front" in here(*small)[1]  # a second one in the same folder


def test_an_interrupted_front_writes_what_it_has(here, tmp_path, monkeypatch, no_figure):
    from mode_opt.cli import optimise
    from mode_opt.training.signals import Interrupted

    real = optimise.run

    def some(configuration, folder):
        if "levels" in str(folder):
            raise Interrupted(15)
        return real(configuration, folder)

    monkeypatch.setattr(optimise, "run", some)
    code, said = here(*QUICK, "budget.steps=3", BOTH, "points=3")
    assert code == 128 + 15 and "SIGTERM" in said
    found = rows(tmp_path / "front")
    assert [row["status"] for row in found] == ["measured", "finished", "finished", "not begun", "not begun"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], "two or three goals"),
        (["goals={far: own, near: nothing}"], "width"),
        (["goals={far: own, objective: width}"], "none of"),
        (["goals={far: own, near: {index: 0}}"], "_target_"),
        ([BOTH, "objective=resolution"], "objective"),
        ([BOTH, "points=1"], "points"),
        ([BOTH, "levels={far: [1]}"], "levels"),
        ([BOTH, "levels={near: [much]}"], "levels.near"),
        ([BOTH, "reference={far: 1}"], "reference"),
        (["goals={far: own, near: {_target_: twins.detector.Nothing}}"], "twins.detector.Nothing"),
    ],
)
def test_refused_before_any_run(here, tmp_path, overrides, words):
    code, said = here(*QUICK, *overrides)
    assert code == 2 and words in said and "Traceback" not in said
    assert not (tmp_path / "front" / "anchors").exists()


def test_a_search_of_the_whole_front_is_verified_and_not_repeated(here, tmp_path, monkeypatch, no_figure):
    """Of squared distances r², s² to points 1 apart r + s is at least 1."""
    wanted = [BOTH, "method=hypervolume", "points=3", "budget.steps=9", "reference={far: 1, near: 1}"]
    code, said = here(*QUICK, *wanted)
    assert code == 0, said
    found = rows(tmp_path / "front")
    assert [row["role"] for row in found][:2] == ["start", "search"] and 2 <= len(found) <= 4
    near, far = numbers(found, "near", "far")
    x, y = numbers(found, "design_x", "design_y")
    assert near == pytest.approx(x**2 + y**2, abs=0.01) and far == pytest.approx((x - 1) ** 2 + y**2, abs=0.01)
    assert json.loads((tmp_path / "front" / "front.json").read_text())["reference"] == {"far": 1.0, "near": 1.0}
    monkeypatch.setattr("mode_opt.cli.pareto.hypervolume.verify", None)
    assert here("resume=front")[0] == 0 and rows(tmp_path / "front") == found


def test_the_commands_of_the_page_can_be_composed(command):
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("mode-opt pareto ")]
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        if not any(word.startswith("resume=") for word in words):
            assert "goals:" in command(*words, "--cfg", "job").stdout
    assert len(lines) > 3


def test_the_slope_of_a_parabola_is_exact_and_its_error_propagated():
    x = [0.0, 1.0, 3.0, 3.01]
    found = slope(x, [v * v for v in x], [0.0] * 4, 1)
    assert found.value == pytest.approx(2.0) and found.standard_error == 0.0
    line = slope([0.0, 2.0], [1.0, 5.0], [0.3, 0.4], 0)
    assert line.value == pytest.approx(2.0) and line.standard_error == pytest.approx(0.25)
    assert math.isnan(slope([1.0], [1.0], [0.1], 0).value)
