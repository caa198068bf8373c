"""Searches, black boxes by declaration, and the method that mode_opt chooses, on the command line."""

import csv
import json
import signal
import sys
import time
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from searches import Walk, write_closed

from mode_opt.gradients import Pathwise

SMALL = ["verification.steps=2", "verification.events=200", "verification.replicas=1", "effort.warm_up=2"]
CALORIMETER = ["simulator=parametric", "experiment=smoke", *SMALL, "hydra.run.dir=run"]


def content(directory, name="result.json"):
    return json.loads((directory / name).read_text())


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def comparable(directory):
    """All numbers of a run but the times."""
    table = [{k: v for k, v in row.items() if k != "seconds"} for row in rows(directory / "history.csv")]
    found = content(directory)
    del found["wall_seconds"]
    return table, found


@pytest.fixture
def no_report(monkeypatch):
    """Drawing takes most of the time of a short run and is not what the test is about."""
    monkeypatch.setattr("mode_opt.cli.optimise._report", lambda directory, progress: None)


@pytest.fixture
def closed(tmp_path):
    before = set(sys.modules)
    yield [*write_closed(tmp_path), *SMALL, "gradient=walk"]
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "closed":
            del sys.modules[name]


def test_a_killed_search_ends_with_the_numbers_of_an_undisturbed_one(command, start, closed, tmp_path):
    """The second run writes its figures too: no gradient norm, a column that begins later, notes."""
    steps = [*closed, "budget.steps=24", "early_stopping.patience=null"]
    process = start("optimise", *steps, "hydra.run.dir=run", "gradient.pause=0.1")
    deadline, history = time.monotonic() + 120, tmp_path / "run" / "history.csv"
    while not history.exists() or len(history.read_text().splitlines()) <= 12:
        assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL and len(rows(history)) < 24
    command("optimise", "resume=run", "--detectors", str(tmp_path / "mine"))
    done = command("optimise", *steps, "hydra.run.dir=whole")
    assert comparable(tmp_path / "run") == comparable(tmp_path / "whole")
    found = content(tmp_path / "run")
    assert found["gradient"] == "walk" and "gradient_reason" not in found
    assert {"text": "still walking", "count": 23} in found["notes"] and "gradient_norm" not in rows(history)[0]
    assert done.stderr.count("note: still walking") == 1
    page = (tmp_path / "run" / "report.html").read_text()
    assert "still walking (23 times)" in page and "of the designs that the search tried" in page
    drawn = rows(tmp_path / "run" / "figures" / "diagnostics.csv")
    assert {"radius", "failed_designs"} <= set(drawn[0]) and drawn[2]["radius"] == "0.3"


def test_compare_counts_and_shows_searches_like_estimators(command, closed, tmp_path, no_report):
    both = ["gradients=[evolution_strategies,{walk: {events: 128}},random_search]", "seeds=[0]", "quiet=true"]
    calls = ["budget.steps=null", "budget.simulator_calls=6000", "effort.reconstruction_steps=0"]
    command("compare", *closed, *both, *calls, "hydra.run.dir=both")
    table = rows(tmp_path / "both" / "compare.csv")
    assert [row["gradient"] for row in table] == ["evolution_strategies", "walk(events=128)", "random_search"]
    assert all(row["status"] == "finished" and float(row["simulator_calls"]) >= 6000 for row in table), table
    names = [content(tmp_path / "both" / row["directory"])["gradient"] for row in table]
    assert names == ["evolution_strategies", "walk", "random_search"]
    drawn = rows(tmp_path / "both" / "figures" / "compare.csv")
    walked = [row for row in drawn if row["gradient"] == "walk(events=128)" and row["against"] == "simulator_calls"]
    history = rows(tmp_path / "both" / table[1]["directory"] / "history.csv")
    validations = [float(row["validation"]) for row in history if row["validation"]]
    assert float(walked[-1]["median"]) == pytest.approx(validations[-1]), "the answer and not the last candidate"


def test_without_names_only_estimators_are_compared(command, closed, tmp_path, monkeypatch):
    monkeypatch.setattr("mode_opt.cli.compare.carry_out", lambda directory, runs: None)
    arguments = [word for word in closed if not word.startswith("gradient=")]
    command("compare", *arguments, "seeds=[0]", "hydra.run.dir=both")
    planned = {run["gradient"] for run in content(tmp_path / "both", "compare.json")["runs"]}
    assert {"pathwise", "score_function", "finite_differences"} <= planned
    assert not planned & {"walk", "bayesian", "cma_es", "random_search", "turbo", "local_surrogate", "auto"}
    command("compare", *closed, "seeds=[0]", "hydra.run.dir=one")
    assert [run["gradient"] for run in content(tmp_path / "one", "compare.json")["runs"]] == ["walk"]


def test_the_doctor_has_nothing_to_compare_of_a_search(command, closed, tmp_path, monkeypatch):
    monkeypatch.setattr("mode_opt.cli.gradients.write_gradients", lambda directory: [])
    named = ["gradients=[finite_differences,walk]", "batches=4", "events=32", "quiet=true", "hydra.run.dir=run"]
    done = command("gradients", *closed, *named)
    found = {row["estimator"]: row for row in rows(tmp_path / "run" / "gradients.csv")}
    assert found["walk"]["words"] == "moves the design itself: nothing to compare" and found["walk"]["gradient"] == ""
    assert found["finite_differences"]["gradient"] != ""
    assert "nothing to compare" in done.stdout


# Black boxes by declaration


def test_a_part_that_is_declared_a_black_box_has_no_pathwise_gradient(command, tmp_path):
    done = command("optimise", *CALORIMETER, "opaque=[shower]", "gradient=pathwise", check=False)
    assert done.returncode == 2 and "black box" in done.stderr and "Pathwise" in done.stderr


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[showers]", "opaque: got 'showers', expected parts among shower, digitisation"),
        ("3", "opaque: got 3, expected true, a list of names"),
    ],
)
def test_what_is_no_part_is_refused_by_name(command, value, words):
    done = command("optimise", *CALORIMETER, f"opaque={value}", check=False)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


def test_a_black_box_gives_the_same_events(command, tmp_path, no_report):
    for name, value in (("open", "null"), ("shut", "true"), ("half", "[shower]")):
        words = [*CALORIMETER[:-1], "gradient=evolution_strategies", "budget.steps=2", "quiet=true"]
        command("optimise", *words, f"opaque={value}", f"hydra.run.dir={name}")
    assert comparable(tmp_path / "open") == comparable(tmp_path / "shut") == comparable(tmp_path / "half")


# The method that mode_opt chooses


@pytest.fixture
def recommending(monkeypatch):
    """Recommends by the budget, and remembers what it was asked."""
    asked = []

    def recommend(simulator, design, simulator_calls=None, additive=False, trained=False, surrogate=None):
        asked.append((type(simulator).__name__, design.psi.shape[1], simulator_calls))
        method, name = (Walk(), "walk") if simulator_calls == 1500 else (Pathwise(), "pathwise")
        return SimpleNamespace(method=method, name=name, reason="it is a test")

    monkeypatch.setattr("mode_opt.search.recommend", recommend)
    return asked


def test_the_recommended_method_is_used_and_the_reason_is_told(command, tmp_path, recommending):
    done = command("optimise", *CALORIMETER, "opaque=true", "budget.simulator_calls=1500")
    found = content(tmp_path / "run")
    assert recommending == [("Opaque", 2, 1500)]
    assert (found["gradient"], found["gradient_reason"]) == ("walk", "it is a test")
    assert done.stderr.count("gradient: walk, because it is a test") == 1
    assert "chosen because it is a test" in (tmp_path / "run" / "report.html").read_text()


def test_a_larger_budget_does_not_change_the_method_of_a_run(command, tmp_path, recommending, no_report):
    command("optimise", *CALORIMETER, "budget.simulator_calls=1500", "quiet=true")
    first = rows(tmp_path / "run" / "history.csv")
    command("optimise", "resume=run", "budget.simulator_calls=3000", "budget.steps=20")
    assert [calls for _, _, calls in recommending] == [1500, 1500]
    assert content(tmp_path / "run")["gradient"] == "walk"
    assert len(rows(tmp_path / "run" / "history.csv")) > len(first)


def test_a_chosen_method_and_verify_need_no_recommendation(command, tmp_path, recommending, no_report):
    command("optimise", *CALORIMETER, "gradient=pathwise", "budget.steps=2", "quiet=true")
    assert content(tmp_path / "run")["gradient"] == "pathwise" and "gradient_reason" not in content(tmp_path / "run")
    command("verify", "run", "quiet=true")
    assert recommending == []


def test_a_final_design_that_is_no_better_is_called_so(command, closed, tmp_path, no_report):
    """From the optimum nothing can be gained; the numbers of one step leave the design where it is."""
    done = command("optimise", *closed, "design.x=3", "budget.steps=1", "hydra.run.dir=run")
    assert "no significant improvement" in done.stderr


# Local surrogates

LOCAL = ["detector=three_hump", *SMALL, "quiet=true"]


def test_a_surrogate_is_chosen_by_its_group_and_named_in_the_configuration(command, tmp_path, no_report):
    less = ["budget.steps=2", "gradient.sampling.calls=60", "surrogate.hidden=8", "hydra.run.dir=run"]
    command("optimise", *LOCAL, "gradient=local_surrogate", "surrogate=gaussian", *less)
    assert content(tmp_path / "run")["gradient"] == "local_surrogate"
    history = rows(tmp_path / "run" / "history.csv")
    assert history[0]["predicted_gain"] and history[1]["pull"] and not history[0].get("validation")
    command("optimise", "resume=run", "budget.steps=4", "quiet=true")
    resumed = rows(tmp_path / "run" / "history.csv")
    assert [row["simulator_calls"] for row in resumed[:2]] == [row["simulator_calls"] for row in history]
    less = ["budget.steps=4", *less[1:3], "hydra.run.dir=whole"]
    command("optimise", *LOCAL, "gradient=local_surrogate", "surrogate=gaussian", *less)
    names = set(resumed[0]) - {"seconds", "surrogate_seconds"}
    whole = rows(tmp_path / "whole" / "history.csv")
    assert [{n: r[n] for n in names} for r in resumed] == [{n: r[n] for n in names} for r in whole], "bit for bit"


def test_families_are_compared_by_name(command, tmp_path, monkeypatch):
    monkeypatch.setattr("mode_opt.cli.compare.carry_out", lambda directory, runs: None)
    names = "gradients=[local_surrogate,{local_surrogate: {surrogate: flow, window: 100}},local_regression]"
    command("compare", *LOCAL, names, "seeds=[0]", "surrogate=gaussian", "hydra.run.dir=both")
    runs = content(tmp_path / "both", "compare.json")["runs"]
    assert [run["gradient"] for run in runs][1] == "local_surrogate(flow,window=100)"
    found = [OmegaConf.load(tmp_path / "both" / run["directory"] / ".hydra" / "config.yaml") for run in runs]
    families = [node.gradient.surrogate._target_ for node in found[:2]]
    assert families == ["mode_opt.surrogates.gaussian", "mode_opt.surrogates.flow"]


def test_the_doctor_compares_the_derivative_of_a_surrogate_if_it_is_named(command, tmp_path, monkeypatch):
    monkeypatch.setattr("mode_opt.cli.gradients.write_gradients", lambda directory: [])
    named = "gradients=[{local_surrogate: {surrogate: gaussian}},finite_differences]"
    command("gradients", *LOCAL[:1], named, "batches=4", "events=64", "warm_up=0", "quiet=true", "hydra.run.dir=run")
    found = {row["estimator"]: row for row in rows(tmp_path / "run" / "gradients.csv")}
    assert set(found) == {"local_surrogate(gaussian)", "finite_differences"}
    assert all(row["gradient"] for row in found.values())
