"""Sweeps: a study that fails does not take the others down, if the user has said what it counts."""

import csv
import importlib.util

import pytest

FAST = ["simulator=parametric", "experiment=smoke", "budget.steps=2", "quiet=true", "hydra.sweep.dir=sweep"]


def studies(folder):
    with (folder / "sweep" / "studies.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_holds_every_study(command, tmp_path):
    command("optimise", *FAST, "--multirun", "seed=1,2")
    rows = studies(tmp_path)
    assert [(row["number"], row["status"], row["overrides"].split()[-1]) for row in rows] == [
        ("0", "finished", "seed=1"),
        ("1", "finished", "seed=2"),
    ]
    assert all(float(row["objective"]) > 0 for row in rows)


def test_a_failed_study_counts_as_the_penalty_and_the_others_go_on(command, tmp_path):
    sweep = ["--multirun", "detector.digitisation.gain=nan,1.0", "sweep.penalty=7"]
    done = command("optimise", *FAST, *sweep)
    rows = studies(tmp_path)
    assert [row["status"] for row in rows] == ["failed", "finished"]
    assert "nan" in rows[0]["message"].lower() and rows[0]["objective"] == ""
    assert "study 0: failed" in done.stderr


def test_without_a_penalty_the_sweep_ends_with_the_error(command, tmp_path):
    done = command("optimise", *FAST, "--multirun", "detector.digitisation.gain=nan,1.0", check=False)
    assert done.returncode != 0 and "nan" in done.stderr.lower()
    assert studies(tmp_path)[0]["status"] == "failed"


def test_a_penalty_is_a_finite_number(command):
    done = command("optimise", *FAST, "--multirun", "seed=1,2", "sweep.penalty=.inf", check=False)
    assert done.returncode == 2 and "sweep.penalty" in done.stderr


def needs(module):
    try:
        missing = importlib.util.find_spec(module) is None
    except ModuleNotFoundError:  # of the package around it
        missing = True
    return pytest.mark.skipif(missing, reason=f"{module} is not installed (pip install mode-opt[sweeps])")


@pytest.mark.slow
@needs("hydra_plugins.hydra_joblib_launcher")
@pytest.mark.filterwarnings("ignore")
def test_studies_run_side_by_side_with_joblib(command, tmp_path):
    command("optimise", *FAST, "--multirun", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=1,2")
    assert [row["status"] for row in studies(tmp_path)] == ["finished", "finished"]


@needs("hydra_plugins.hydra_optuna_sweeper")
@pytest.mark.filterwarnings("ignore")
def test_optuna_goes_past_a_failed_study(command, tmp_path):
    options = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1", "sweep.penalty=1e6"]
    command("optimise", *FAST, "--multirun", *options, "detector.digitisation.gain=choice(nan,1.0)")
    rows = studies(tmp_path)
    assert len(rows) == 3 and {row["status"] for row in rows} <= {"finished", "failed"}
