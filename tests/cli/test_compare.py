"""``mode-opt compare``: several estimators and seeds from the same start."""

import csv
import json
import sys

import pytest
from doctored import write_counter

from mode_opt.cli import main

THREE = "gradients=[score_function,broken,pathwise]"


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


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
def counter(tmp_path):
    small = ["verification.steps=2", "verification.events=200", "verification.replicas=1", "effort.warm_up=2"]
    return [*write_counter(tmp_path), *small, "quiet=true", "hydra.run.dir=both"]


def test_runs_of_all_seeds_and_a_failed_one_does_not_take_the_others_down(command, counter, tmp_path, no_report):
    done = command("compare", *counter, THREE, "seeds=[0,1]", "budget.steps=6")
    both = tmp_path / "both"
    table = rows(both / "compare.csv")
    assert [(row["gradient"], row["seed"]) for row in table] == [
        *(("score_function", "0"), ("score_function", "1"), ("broken", "0"), ("broken", "1")),
        *(("pathwise", "0"), ("pathwise", "1")),
    ]
    good, broken, refused = table[:2], table[2:4], table[4:]
    assert all(row["status"] == "finished" and float(row["final_standard_error"]) > 0 for row in good)
    assert good[0]["initial"] != good[1]["initial"]  # measured with other seeds, at the same start
    starts = [json.loads((both / row["directory"] / "result.json").read_text())["design"]["x"] for row in good]
    assert starts[0]["initial"] == starts[1]["initial"] and starts[0]["final"] != starts[1]["final"]
    assert all(row["status"] == "failed" and "nan" in row["message"] and row["final"] == "" for row in broken)
    assert all(row["status"] == "failed" and "Pathwise" in row["message"] for row in refused)
    assert "failed: " in done.stdout and "finished" in done.stdout and str(both) in done.stdout
    for name in ("figures/compare.png", "figures/compare.pdf", "figures/compare.csv", ".hydra/config.yaml"):
        assert (both / name).is_file(), name
    drawn = {(row["gradient"], row["against"]) for row in rows(both / "figures" / "compare.csv")}
    assert {(name, axis) for name in ("score_function",) for axis in ("simulator_calls", "seconds")} <= drawn


def test_a_finished_run_is_not_repeated_and_the_rest_is_made_up_for(here, counter, tmp_path, no_report):
    here("compare", *counter, "gradients=[score_function,finite_differences]", "seeds=[0]", "budget.steps=4")
    both = tmp_path / "both"
    before = rows(both / "compare.csv")
    kept = both / "score_function" / "seed_0" / "result.json"
    lost = both / "finite_differences" / "seed_0"
    stamp = kept.stat().st_mtime_ns
    for name in ("result.json", "history.csv", "checkpoints/last.ckpt"):
        (lost / name).unlink()
    again = ["compare", "--detectors", str(tmp_path / "mine"), "resume=both"]
    assert here(*again)[0] == 0
    after = rows(both / "compare.csv")
    assert kept.stat().st_mtime_ns == stamp
    for row in (*before, *after):
        del row["seconds"]
    assert after == before
    assert "quiet" in here(*again, "budget.steps=3")[1]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seeds=[]", "seeds"),
        ("seeds=[1,1]", "once"),
        ("seeds=[-1]", "non-negative"),
        ("gradients=[magic]", "magic"),
        ("budget.steps=0", "budget.steps"),
    ],
)
def test_refused_before_any_run(here, counter, tmp_path, override, words):
    code, said = here("compare", *counter, override)
    assert code == 2 and words in said and "Traceback" not in said
    assert not (tmp_path / "both" / "compare.csv").exists()


def test_a_second_comparison_in_the_same_folder_is_refused(here, counter, no_report):
    small = ["gradients=[score_function]", "seeds=[0]", "budget.steps=2"]
    assert here("compare", *counter, *small)[0] == 0
    code, said = here("compare", *counter, *small)
    assert code == 2 and "resume=both" in said
    assert "no comparison to resume" in here("compare", "resume=nowhere")[1]
