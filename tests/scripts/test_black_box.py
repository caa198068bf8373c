"""scripts/benchmarks/black_box.py and dimension.py: runs, their resumption, and what is read off them."""

import csv
import importlib
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from mode_opt.errors import SimulationError
from mode_opt.experiment import Experiment
from mode_opt.reconstruction import PriorBelief

FOLDER = Path(__file__).parents[2] / "scripts" / "benchmarks"
CHEAP = ["--problems", "sphere_2", "--methods", "simultaneous_perturbation", "random", "--seeds", "2"]


@pytest.fixture
def part(monkeypatch):
    """A module of the scripts by name."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def words(tmp_path: Path, calls: float, *further: str) -> list[str]:
    return [*CHEAP, "--calls", str(calls), "--runs", str(tmp_path / "runs"), "--output", str(tmp_path), *further]


def files(tmp_path: Path) -> dict[str, int]:
    """When each run was written."""
    return {str(path): path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/*/*.json")}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def drawn(path: Path) -> None:
    picture = matplotlib.image.imread(path)
    assert picture.shape[0] > 300 and float(np.mean(picture[..., :3].min(-1) < 0.9)) > 0.01


def test_runs_table_and_figure(part, tmp_path, capsys):
    black_box = part("black_box")
    black_box.main(words(tmp_path, 700, "--workers", "1"))
    first = files(tmp_path)
    assert len(first) == 4 and "0 of 4 runs are there" in capsys.readouterr().out
    check_run(part, tmp_path)
    check_table(part, tmp_path)
    drawn(tmp_path / "black_box.png")
    black_box.main(words(tmp_path, 500, "--workers", "1"))
    assert files(tmp_path) == first and "4 of 4 runs are there" in capsys.readouterr().out
    (tmp_path / "black_box.csv").unlink()
    black_box.main(words(tmp_path, 1e9, "--table"))
    assert files(tmp_path) == first and (tmp_path / "black_box.csv").exists()
    black_box.main(words(tmp_path, 900, "--workers", "1"))  # a larger budget is another matter
    assert all(files(tmp_path)[path] > written for path, written in first.items())


def check_run(part, tmp_path: Path) -> None:
    """A step of 4 pairs of designs with 12 events each, all of them new designs."""
    problem = part("black_box_parts.problems").problem_named("sphere_2")
    run = json.loads((tmp_path / "runs/sphere_2/simultaneous_perturbation/1.json").read_text())
    columns, steps = run["columns"], math.ceil(700 / 96)
    assert run["status"] == "budget" and columns["calls"] == [96.0 * k for k in range(steps + 1)]
    assert columns["objective"][0] == pytest.approx(problem.start) and columns["objective"][-1] < 0.5 * problem.start
    designs = np.diff(columns["designs"])  # fewer than 8 where two of four directions of two signs are the same
    assert designs.min() >= 2 and designs.max() <= 8
    for name in ("wall_seconds", "cpu_seconds"):
        assert columns[name][0] == 0 and np.all(np.diff(columns[name]) > 0)


def check_table(part, tmp_path: Path) -> None:
    record = part("black_box_parts.record")
    runs = record.finished(tmp_path / "runs")
    rows = table(tmp_path / "black_box.csv")
    assert [(row["method"], row["seed"]) for row in rows] == [(run.method, str(run.seed)) for run in runs]
    for row, run in zip(rows, runs, strict=True):
        half = next(c for c, o in zip(run.columns["calls"], run.columns["objective"], strict=True) if o <= 22.5)
        assert float(row["threshold_1"]) == pytest.approx(22.5) and float(row["calls_to_1"]) == pytest.approx(half)
        assert row["objective_at_1000"] == ""
    page = (tmp_path / "black_box.md").read_text()
    halves = sorted(float(row["calls_to_1"]) for row in rows if row["method"] == "simultaneous_perturbation")
    low, middle, high = np.quantile(halves, [0.25, 0.5, 0.75])
    assert f"| simultaneous perturbation | {middle:.0f} [{low:.0f}, {high:.0f}]" in page


@pytest.mark.slow
def test_killed_and_resumed(part, tmp_path):
    """Killed without warning: what was finished stays, nobody goes on working, the rest is made up for."""
    command = [sys.executable, str(FOLDER / "black_box.py"), *words(tmp_path, 1.2e4, "--workers", "2")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **quiet) as process:
        deadline = time.monotonic() + 120
        while not files(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    time.sleep(3)  # workers look for their parent every second
    first = files(tmp_path)
    assert 1 <= len(first) < 4
    part("black_box").main(words(tmp_path, 1.2e4, "--workers", "1"))
    assert len(files(tmp_path)) == 4 and files(tmp_path).items() >= first.items()
    assert not list((tmp_path / "runs").glob("**/*.partial"))


def test_the_exact_reference_repeats_what_is_known_of_it(part):
    """Adam with rate 0.1 and steps of at most 0.2, against the readings of an independent implementation."""
    problem = part("black_box_parts.problems").problem_named("rosenbrock_10")
    measure = part("black_box_parts.measure")
    run = measure.measure(problem, "exact", 0, measure.Limits(1.0))
    readings = [run.columns["objective"][step] for step in (15, 30, 40, 60)]
    assert readings == pytest.approx([0.78, 1.64, 0.96, 0.05], abs=0.005) and run.last("calls") == 0


@pytest.mark.parametrize("repeatable", [True, False])
def test_the_watch_counts_designs_and_refuses_to_repeat_noise(part, repeatable):
    detector = part("black_box_parts.problems").problem_named("sphere_2").detector
    simulator = detector.simulator()
    watch = part("black_box_parts.measure").Watch(simulator, 0, repeatable)
    experiment = Experiment(detector.design, simulator, detector.primaries, PriorBelief(1), detector.objective)
    phi = detector.design.nearby(3, 0.1, torch.Generator().manual_seed(0))
    primaries = detector.primaries.sample(5, torch.Generator().manual_seed(0))
    drawn = [experiment.simulator(phi, primaries, torch.Generator().manual_seed(1)).hits for _ in range(2)]
    assert torch.equal(*drawn) == repeatable
    assert watch.designs == 3 and experiment.simulator_calls == 30


def test_failures_and_absences(part, tmp_path, monkeypatch, capsys):
    methods, measure = part("black_box_parts.methods"), part("black_box_parts.measure")
    problem = part("black_box_parts.problems").problem_named("sphere_2")

    def breaks(*_: object) -> None:
        raise SimulationError("the cluster is on fire")

    changed = dict(methods.METHODS)
    changed["random"] = replace(changed["random"], needs=("mode_opt.search:RandomWalk",))
    changed["exact"] = replace(changed["exact"], build=breaks)
    for module in (methods, measure, part("black_box_parts.schedule")):
        monkeypatch.setattr(module, "METHODS", changed)
    run = measure.measure(problem, "exact", 0, measure.Limits(100.0))
    assert run.status == "failed" and "on fire" in run.message
    part("black_box").main(words(tmp_path, 200, "--workers", "1"))
    assert "random is left out" in capsys.readouterr().out and len(files(tmp_path)) == 2


def test_what_is_read_off_a_run(part):
    record = part("black_box_parts.record")
    run = record.Run("p", "m", 0, 1000.0, 60.0, record.BUDGET)
    for calls, objective in ((0, 9.0), (100, 5.0), (500, 7.0), (1000, 1.0)):
        run.add(calls, calls / 50, objective, calls / 100, calls / 200)
    assert run.reached(5.0) == 100 and run.reached(5.0, "designs") == 2 and run.reached(0.5) == math.inf
    assert run.objective_at(600) == 7.0 and math.isnan(run.objective_at(1e4)) and run.seconds_per_step() == 10 / 3
    assert run.serves(1000, 1e9) and not run.serves(2000, 60)
    run.status = record.SECONDS
    assert run.serves(1000, 90) and run.serves(1e6, 60) and not run.serves(1e6, 90)
    values = [3.0, 1.0, math.inf, 2.0]
    assert record.quantile(values, 0.5) == 2.5 and record.quantile(values, 0.75) == math.inf
    assert record.quantile([math.inf, 1.0, 2.0], 0.5) == 2.0


def test_the_original(part):
    """Its published settings on rosenbrock_10: 432 000 calls to 5, in one of three runs, another of which failed."""
    original = part("black_box_parts.original")
    chosen = [run for run in original.original_runs() if run.method == "original 3000 × 15"]
    runs = [run for run in chosen if run.problem == "rosenbrock_10"]
    assert sorted(run.reached(5.0) for run in runs) == [432_000, math.inf, math.inf]
    assert [run.status for run in runs].count("failed") == 1


def test_dimension(part, tmp_path):
    dimension = part("dimension")
    options = ["--dimensions", "1", "4", "--methods", "cma", "random", "--seeds", "2", "--workers", "1"]
    dimension.main([*options, "--calls", "2000", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path)])
    rows = table(tmp_path / "dimension.csv")
    assert [(row["dimension"], row["method"]) for row in rows] == [(d, m) for d in "14" for m in ("cma", "random")]
    assert all(0 < float(row["median"]) < 2000 for row in rows if row["method"] == "cma")
    drawn(tmp_path / "dimension.png")


def test_where_curves_cross(part):
    crossing = part("dimension").crossing
    assert crossing({1: 100.0, 100: 100.0}, {1: 10.0, 100: 1000.0}) == pytest.approx(10.0)
    assert crossing({1: 100.0, 4: 100.0}, {1: 10.0, 4: math.inf}) == 4.0
    assert crossing({2: 1.0, 4: 1.0}, {2: 5.0, 4: 9.0}) == 2.0
    assert math.isnan(crossing({1: 100.0, 4: math.inf}, {1: 10.0, 4: 10.0}))
