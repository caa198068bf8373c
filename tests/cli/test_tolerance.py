"""``mode-opt tolerance``: one table that an engineer can use."""

import csv
import json

import pytest

FAST = ["simulator=parametric", "experiment=smoke", "quiet=true", "hydra.run.dir=run"]


def rows(folder):
    with (folder / "run" / "tolerance.csv").open(newline="") as file:
        return {row["parameter"]: row for row in csv.DictReader(file)}


def test_the_design_of_a_run_gets_tolerances_that_grow_with_the_loss(command, tmp_path):
    command("optimise", *FAST)
    effort = ["verification.steps=100", "verification.batch=256"]
    said = command("tolerance", "run", "loss=2", *effort).stdout
    wide = rows(tmp_path)
    final = json.loads((tmp_path / "run" / "result.json").read_text())["design"]
    assert {name: float(row["value"]) for name, row in wide.items()} == {
        name: pytest.approx(entry["final"]) for name, entry in final.items()
    }
    assert "absorber_thickness" in said and "direction 1" in said and "for a loss of 2 %" in said
    command("tolerance", "run", "loss=1", *effort)
    for name, row in rows(tmp_path).items():
        assert row["unit"] == "mm" and 0 < float(row["deviation"]) < float(wide[name]["deviation"])
    content = json.loads((tmp_path / "run" / "tolerance.json").read_text())
    assert content["loss_percent"] == 1 and len(content["directions"]) == len(content["hessian"]) == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["loss=1"], "run directory"),
        (["elsewhere"], "elsewhere"),
        (["run", "loss=much"], "much"),
        (["run", "loss=0"], "loss"),
    ],
)
def test_mistakes_are_named(command, tmp_path, words, named):
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    (tmp_path / "run" / ".hydra" / "config.yaml").write_text("seed: 0\n")
    done = command("tolerance", *words, check=False)
    assert done.returncode == 2 and named in done.stderr


def test_a_simulator_without_derivatives_is_refused_by_name(command):
    command("optimise", "detector=rosenbrock_10", "gradient=random_search", *FAST[1:], "budget.steps=1")
    done = command("tolerance", "run", check=False)
    assert done.returncode == 2 and "differentiable" in done.stderr
