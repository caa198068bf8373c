import csv
import json
import signal
import time

import pytest

FAST = ["simulator=parametric", "experiment=smoke"]
LONGER = [*FAST, "budget.steps=30", "hydra.run.dir=run"]


def result(directory):
    return json.loads((directory / "result.json").read_text())


def history(directory):
    with (directory / "history.csv").open() as file:
        return list(csv.DictReader(file))


def comparable(directory):
    """All numbers of a run but the times."""
    rows = [{name: text for name, text in row.items() if name != "seconds"} for row in history(directory)]
    content = result(directory)
    del content["wall_seconds"]
    return rows, content


def test_a_run_leaves_what_a_person_and_a_script_need(command, tmp_path):
    done = command("optimise", *FAST, "hydra.run.dir=run", "seed=3")
    run = tmp_path / "run"
    content = result(run)
    improvement = content["objective"]["improvement"]
    worse = improvement["value"] < -1.96 * improvement["standard_error"]
    assert ("notes" in content) == worse == ("the final design is worse" in done.stderr)  # of so short a run it may be
    assert set(content) - {"notes"} == {
        *("detector", "gradient", "seed", "status", "simulator_calls", "wall_seconds"),
        *("objective", "design", "constraints", "versions", "gradient_reason"),
    }
    assert (content["detector"], content["gradient"], content["seed"]) == ("sampling_calorimeter", "pathwise", 3)
    assert "differentiable" in content["gradient_reason"] and "gradient: pathwise, because" in done.stderr
    assert content["status"] == "finished" and content["objective"]["name"] == "resolution"
    for name in ("initial", "final", "improvement"):
        assert set(content["objective"][name]) == {"value", "standard_error"}
    assert content["design"]["absorber_thickness"]["initial"] == pytest.approx(4.5, abs=1e-3)
    assert content["design"]["absorber_thickness"]["unit"] == "mm"
    length = content["constraints"]["length"]
    assert length["satisfied"] and length["value"] <= length["limit"] == 400 and length["unit"] == "mm"
    rows = history(run)
    assert [row["step"] for row in rows] == [f"{k}.0" for k in range(1, 11)]
    assert int(float(rows[-1]["simulator_calls"])) == content["simulator_calls"]
    assert [bool(row["validation"]) for row in rows] == [False, False, False, False, True] * 2
    for name in (".hydra/config.yaml", "checkpoints/last.ckpt", "report.html", "evaluation.csv", "drawing.json"):
        assert (run / name).is_file(), name
    assert any((run / "figures").iterdir())
    assert "report: run/report.html" in done.stderr and "improvement" in done.stderr


def wait_for_rows(directory, count, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (directory / "history.csv").exists() and len((directory / "history.csv").read_text().splitlines()) > count:
            return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    raise AssertionError("the run did not get that far")


@pytest.fixture
def undisturbed(command, tmp_path):
    """The numbers of the same run without a stop."""
    command("optimise", *FAST, "budget.steps=30", "hydra.run.dir=undisturbed", "quiet=true")
    return comparable(tmp_path / "undisturbed")


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM],
    ids=lambda n: n.name,
)
def test_a_run_that_was_stopped_ends_with_the_numbers_of_an_undisturbed_one(
    number, start, command, tmp_path, undisturbed
):
    process = start("optimise", *LONGER)
    wait_for_rows(tmp_path / "run", 12, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + number, output
        assert result(tmp_path / "run")["status"] == "interrupted"
        assert "mode-opt optimise resume=run" in output and f"interrupted by {number.name}" in output
    assert len(history(tmp_path / "run")) < 30
    command("optimise", "resume=run")
    assert comparable(tmp_path / "run") == undisturbed


def test_resuming_a_finished_run_changes_no_number(command, tmp_path):
    command("optimise", *FAST, "hydra.run.dir=run")
    before = comparable(tmp_path / "run")
    command("optimise", "resume=run")
    assert comparable(tmp_path / "run") == before


def test_a_larger_budget_continues_a_finished_run(command, tmp_path):
    command("optimise", *FAST, "hydra.run.dir=run")
    first = history(tmp_path / "run")
    command("optimise", "resume=run", "budget.steps=15")
    assert len(history(tmp_path / "run")) == 15 and history(tmp_path / "run")[:9] == first[:9]


def test_the_budget_of_simulator_calls_ends_a_run(command, tmp_path):
    command("optimise", *FAST, "hydra.run.dir=run", "budget.simulator_calls=8000", "budget.steps=null")
    calls = [float(row["simulator_calls"]) for row in history(tmp_path / "run")]
    assert calls[-1] >= 8000 > calls[-2]


def test_a_sweep_makes_a_run_for_each_setting(command, tmp_path):
    command("optimise", *FAST, "--multirun", "seed=1,2", "hydra.sweep.dir=sweep", "budget.steps=2", "quiet=true")
    finals = [result(tmp_path / "sweep" / str(k))["objective"]["final"]["value"] for k in range(2)]
    assert finals[0] != finals[1]
    assert [result(tmp_path / "sweep" / str(k))["seed"] for k in range(2)] == [1, 2]


def test_a_hundred_thicknesses_keep_the_length(command, tmp_path):
    command("optimise", *FAST, "detector=sampling_calorimeter_layers", "hydra.run.dir=run")
    content = result(tmp_path / "run")
    assert len(content["design"]["gap_thickness"]["final"]) == 50
    assert content["constraints"]["length"]["satisfied"]


def test_a_nan_objective_stops_the_run_and_keeps_the_last_good_state(command, tmp_path):
    done = command("optimise", *FAST, "hydra.run.dir=run", "detector.digitisation.gain=nan", check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "nan" in done.stderr.lower()


def test_a_manufacturing_grid_is_kept_and_its_price_is_quoted(command, tmp_path):
    grid = "detector.design.parameters.gap_thickness.grid=0.5"
    command("optimise", *FAST, grid, "hydra.run.dir=run")
    content = result(tmp_path / "run")
    assert content["design"]["gap_thickness"]["final"] % 0.5 == pytest.approx(0.0, abs=1e-5)
    assert content["design"]["absorber_thickness"]["final"] % 0.5 != pytest.approx(0.0, abs=1e-5)
    assert content["constraints"]["length"]["satisfied"]
    assert set(content["manufacturing"]["loss"]) == {"value", "standard_error"}
    assert content["manufacturing"]["design"]["gap_thickness"]["unit"] == "mm"
