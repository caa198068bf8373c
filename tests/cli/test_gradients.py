"""``mode-opt gradients``, and the short look that ``mode-opt optimise`` takes at its estimator."""

import csv
import json
import sys

import pytest
from doctored import write_counter

from mode_opt.cli import main

QUIET = ["quiet=true", "hydra.run.dir=run"]


def rows(directory, name="gradients.csv"):
    with (directory / name).open() as file:
        return list(csv.DictReader(file))


def content(directory, name="gradients.json"):
    return json.loads((directory / name).read_text())


@pytest.fixture
def no_report(monkeypatch):
    """Drawing takes most of the time of a short run and is not what the test is about."""
    monkeypatch.setattr("mode_opt.cli.optimise._report", lambda directory, progress: None)


@pytest.fixture
def here(tmp_path, monkeypatch, capfd):
    """The command in this process, which saves the import of torch: exit code and what it said to stderr."""
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)

    def run(*arguments):
        code = main(list(arguments))
        return code, capfd.readouterr().err

    yield run
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] == "counter":
            del sys.modules[name]


@pytest.fixture
def no_figure(monkeypatch):
    monkeypatch.setattr("mode_opt.cli.gradients.write_gradients", lambda directory: [])


@pytest.fixture
def counter(tmp_path):
    return write_counter(tmp_path)


def test_estimators_are_compared_with_the_exact_gradient_of_a_plug_in(command, counter, tmp_path):
    named = "gradients=[score_function,pathwise,broken,{finite_differences: {step: 0.2}}]"
    done = command("gradients", *counter, *QUIET, named, "batches=32", "design.x=2.0")
    run = tmp_path / "run"
    found = {row["estimator"]: row for row in rows(run)}
    assert list(found) == ["score_function", "pathwise", "broken", "finite_differences(step=0.2)"]
    score = found["score_function"]
    assert score["verdict"] == "agrees" and score["parameter"] == "x" and score["unit"] == "mm"
    assert float(score["reference"]) == pytest.approx(-1.0, abs=1e-4)
    assert abs(float(score["gradient"]) + 1.0) < 4 * float(score["standard_error"])
    assert found["pathwise"]["verdict"] == "refused" and found["pathwise"]["gradient"] == ""
    assert "not finite in 30 of 32 batches" in found["broken"]["words"]
    summary = content(run)
    assert summary["reference"]["kind"] == "exact" and summary["coordinates"] == "phi"
    assert summary["detector"] == "counter" and summary["design"]["x"]["value"] == pytest.approx(2.0)
    for name in ("figures/gradients.png", "figures/gradients.pdf", "provenance.json", ".hydra/config.yaml"):
        assert (run / name).is_file(), name
    assert "score_function" in done.stdout and str(run) in done.stdout and "x [mm]" in done.stdout


def test_without_names_all_that_fit_are_compared_and_a_wrong_one_is_found(command, counter, tmp_path, no_figure):
    half = ["detector.kept=0.5", "detector.known=false", "batches=32", "warm_up=2"]
    done = command("gradients", *counter, *QUIET, *half)
    found = content(tmp_path / "run")
    verdicts = {name: entry["verdict"] for name, entry in found["estimators"].items()}
    assert found["reference"]["kind"] == "central differences"
    assert verdicts["score_function"] == "biased" and verdicts["finite_differences"] == "agrees"
    assert verdicts["pathwise"] == "refused" and "auto" not in verdicts
    assert "not for this simulator" in done.stdout and "pathwise" in done.stdout


def test_a_part_that_is_replaced_makes_the_exact_gradient_void(command, counter, tmp_path, no_figure):
    few = ["gradient=score_function", "batches=8", "warm_up=2"]
    command("gradients", *counter, *QUIET, *few, "objective=resolution")
    found = content(tmp_path / "run")
    assert found["reference"]["kind"] == "central differences" and list(found["estimators"]) == ["score_function"]


def test_the_same_seed_gives_the_same_gradients(here, counter, tmp_path):
    for name in ("a", "b"):
        here("gradients", *counter, f"hydra.run.dir={name}", "quiet=true", "gradients=[score_function]", "batches=8")
    values = [[row["gradient"] for row in rows(tmp_path / name)] for name in ("a", "b")]
    assert values[0] == values[1]


def test_the_calorimeter_has_two_parameters(command, tmp_path, no_figure):
    fast = ["simulator=parametric", "experiment=smoke", "gradients=[pathwise]", "batches=4", "events=32", "warm_up=0"]
    done = command("gradients", *fast, *QUIET)
    assert [row["parameter"] for row in rows(tmp_path / "run")] == ["absorber_thickness", "gap_thickness"]
    assert "bias out of its derivative" in done.stdout


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("gradients=[magic]", ["gradient", "magic", "pathwise"]),
        ("gradients=[]", ["gradients", "at least one"]),
        ("gradients=[pathwise,pathwise]", ["gradients", "once"]),
        ("gradients=[{pathwise: 3}]", ["gradients", "option"]),
        ("batches=2", ["batches", "2"]),
        ("reference.step=-1", ["reference.step", "-1"]),
        ("seconds=0", ["seconds", "0", "positive"]),
        ("seconds=0", ["seconds", "0", "positive"]),
        ("events=1", ["events", "1"]),
        ("warm_up=-1", ["warm_up", "-1"]),
    ],
)
def test_refused(here, counter, override, words):
    code, said = here("gradients", *counter, *QUIET, override)
    assert code == 2 and "Traceback" not in said
    for word in words:
        assert word in said


# The short look before an optimisation

# A large budget for the look, and a run that stops at its second validation.
SMALL = ["verification.steps=2", "verification.events=200", "verification.replicas=1", "effort.warm_up=2"]
ENOUGH = [*SMALL, "budget.steps=2000", "early_stopping.patience=1", "early_stopping.significance=1000"]


def test_strict_refuses_a_wrong_estimator_and_warn_says_so_in_the_report(command, counter, tmp_path):
    wrong = [*counter, "detector.kept=0.5", *ENOUGH]
    done = command("optimise", *wrong, *QUIET, "gradient_check=strict", check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "ScoreFunction" in done.stderr and "biased: x by" in done.stderr and "gradient_check=warn" in done.stderr
    assert content(tmp_path / "run", "result.json")["status"] == "failed"
    done = command("optimise", *wrong, "hydra.run.dir=warned")
    assert "warning: the gradient of ScoreFunction" in done.stderr
    entry = content(tmp_path / "warned", "result.json")["gradient_check"]
    assert entry["verdict"] == "biased" and entry["alarming"] and set(entry["pulls"]) == {"x"}
    assert content(tmp_path / "warned", "provenance.json")["gradient_check_seconds"] > 0
    assert "cannot be trusted" in (tmp_path / "warned" / "report.html").read_text()


def test_the_look_changes_no_number_of_the_run_and_is_not_repeated(command, counter, tmp_path, no_report):
    for mode in ("off", "warn"):
        command("optimise", *counter, *ENOUGH, f"hydra.run.dir={mode}", "quiet=true", f"gradient_check={mode}")
    numbers = []
    for name in ("off", "warn"):
        table = rows(tmp_path / name, "history.csv")
        numbers.append([{key: value for key, value in row.items() if key != "seconds"} for row in table])
    assert numbers[0] == numbers[1]
    off, warn = (content(tmp_path / name, "result.json") for name in ("off", "warn"))
    checked = warn.pop("gradient_check")
    assert "gradient_check" not in off and checked["verdict"] == "agrees" and not checked["alarming"]
    assert checked["simulator_calls"] <= 0.1 * (2000 * (256 + 128) + 2 * 128)
    assert off["objective"] == warn["objective"] and off["simulator_calls"] == warn["simulator_calls"]
    command("optimise", "--detectors", str(tmp_path / "mine"), "resume=warn", "budget.steps=2001")
    assert content(tmp_path / "warn", "result.json")["gradient_check"] == checked
    assert "gradient_check_seconds" not in content(tmp_path / "warn", "provenance.json")


def test_an_unknown_mode_is_refused(here, counter):
    code, said = here("optimise", *counter, *QUIET, "gradient_check=loud")
    assert code == 2 and "gradient_check" in said and "strict" in said
