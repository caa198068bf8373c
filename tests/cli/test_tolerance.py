"""``mode-opt tolerance``: one table that an engineer can use."""

import csv
import json

import pytest

from mode_opt.cli.tolerance import recall
from mode_opt.objectives import Constrained, DesignCost

FAST = ["simulator=parametric", "experiment=smoke", "quiet=true", "hydra.run.dir=run"]
EFFORT = ["verification.steps=30", "verification.batch=128", "verification.replicas=1"]


def rows(folder):
    with (folder / "run" / "tolerance.csv").open(newline="") as file:
        return {row["parameter"]: row for row in csv.DictReader(file)}


def content(folder):
    return json.loads((folder / "run" / "tolerance.json").read_text())


@pytest.fixture
def unreported(monkeypatch):
    """Runs without a report, which takes seconds to draw; yields the folders whose report is written anew."""
    folders = []
    monkeypatch.setattr("mode_opt.cli.optimise._report", lambda directory, progress: None)
    monkeypatch.setattr("mode_opt.cli.tolerance.write_report", folders.append)
    return folders


def test_the_design_of_a_run_gets_tolerances_that_grow_with_the_loss(command, tmp_path, unreported):
    command("optimise", *FAST)
    few, run = ["events=128", "batches=3"], tmp_path / "run"
    (run / "report.html").touch()
    said = command("tolerance", "run", "loss=2", *few, *EFFORT, "verification.replicas=2").stdout
    assert [folder.name for folder in unreported] == ["run"] and not (run / "figures" / "tolerance.png").exists()
    wide = rows(tmp_path)
    final = json.loads((run / "result.json").read_text())["design"]
    assert {name: float(row["value"]) for name, row in wide.items()} == {
        name: pytest.approx(entry["final"]) for name, entry in final.items()
    }
    assert "absorber_thickness" in said and "direction 1" in said and "for a loss of 2 %" in said
    assert "length <= 400 mm" in said
    (run / "report.html").unlink()
    command("tolerance", "run", "loss=1", *few, *EFFORT)
    for name, row in rows(tmp_path).items():
        assert row["unit"] == "mm" and 0 < float(row["deviation"]) < float(wide[name]["deviation"])
        assert float(row["deviation"]) == min(float(row[side]) for side in ("below", "above") if row[side])
    found = content(tmp_path)
    assert found["loss_percent"] == 1 and len(found["directions"]) == len(found["hessian"]) == 2
    assert found["method"] == "differences" and found["fit"] is None
    hidden = ["opaque=true", "calls=2000", "radius=0.05", "surveyed=false"]
    said = command("tolerance", "run", *hidden, *EFFORT).stdout
    found = content(tmp_path)
    assert "quadratic fitted to 13 designs" in said and found["method"] == "regression"
    assert found["fit"]["simulator_calls"] >= 2000 and set(found["fit"]["radius"]) == set(final)
    assert (run / "figures" / "tolerance.png").is_file() and (run / "figures" / "tolerance.csv").is_file()
    assert len(unreported) == 1  # a figure, but no report where there is none


def test_a_black_box_is_fitted_and_a_gradient_of_it_refused(command, tmp_path, unreported):
    command("optimise", "detector=noisy_parabola", "gradient=random_search", *FAST[1:], "budget.steps=1")
    said = command("tolerance", "run", "calls=4000").stdout
    (row,) = rows(tmp_path).values()
    assert float(row["curvature"]) > 0 and float(row["curvature_standard_error"]) > 0
    assert "quadratic fitted to 5 designs" in said and "simulator calls" in said
    done = command("tolerance", "run", "method=differences", check=False)
    assert done.returncode == 2 and "differentiable" in done.stderr


def test_limits_of_the_objective_have_the_multipliers_of_the_run(tmp_path):
    limited = {"cost": DesignCost("cost"), "rate": DesignCost("rate")}
    objective = Constrained(
        DesignCost("x"), limited, {"cost": 1.0, "rate": 2.0}, multipliers={"cost": 0.5, "rate": 0.7}
    )
    history = tmp_path / "history.csv"
    recall(objective, history)
    assert objective.by_name() == pytest.approx({"cost": 0.5, "rate": 0.7})
    history.write_text("step,multiplier/cost,multiplier/rate\n1,0.1,0.2\n2,0.3,\n")
    recall(objective, history)
    assert objective.by_name() == pytest.approx({"cost": 0.3, "rate": 0.7})


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["loss=1"], "run directory"),
        (["elsewhere"], "elsewhere"),
        (["run", "loss=much"], "much"),
        (["run", "loss=0"], "loss"),
        (["run", "calls=many"], "a whole number"),
        (["run", "calls=10"], "at least 1000"),
        (["run", "radius=2"], "radius"),
        (["run", "surveyed=perhaps"], "true or false"),
        (["run", "method=guess"], "differences, regression"),
    ],
)
def test_mistakes_are_named(command, tmp_path, words, named):
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    (tmp_path / "run" / ".hydra" / "config.yaml").write_text("seed: 0\ngradient: null\nopaque: null\n")
    done = command("tolerance", *words, check=False)
    assert done.returncode == 2 and named in done.stderr
