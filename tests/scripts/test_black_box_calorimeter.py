"""scripts/benchmarks/black_box_calorimeter.py: runs, what they cost, their resumption, and what is read off them."""

import csv
import importlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.image
import pytest
import torch

from mode_opt.gradients import LocalRegression, LocalSurrogate
from mode_opt.gradients.local_surrogate import Descent
from mode_opt.gradients.sampling import Sampling
from mode_opt.surrogates import deposits

FOLDER = Path(__file__).parents[2] / "scripts" / "benchmarks"
METHODS = ("surrogate", "regression_512_8192")


@pytest.fixture
def script(monkeypatch):
    """The script with cheap methods and budgets."""
    monkeypatch.syspath_prepend(FOLDER)
    runs, setting = (importlib.import_module(f"calorimeter_parts.{name}") for name in ("runs", "setting"))
    script = importlib.import_module("black_box_calorimeter")
    sampling = Sampling(calls=640, events=64, most=1)
    fit = {"steps": 20, "batch": 64}

    def surrogate(case):
        family, descent = partial(deposits, training=fit), Descent(events=128, steps=4)
        return LocalSurrogate(family, sampling=sampling, window=2000, members=1, descent=descent)

    searches = {"surrogate": surrogate, "regression_512_8192": lambda case: LocalRegression(sampling=sampling)}
    for name, search in searches.items():
        monkeypatch.setitem(setting.METHODS, name, replace(setting.METHODS[name], search=search))
    effort = replace(setting.REPLAYED, warm_up=3, reconstruction_steps=2)
    monkeypatch.setattr(runs, "REPLAYED", effort)
    monkeypatch.setattr(script, "BUDGETS", (700.0, 1400.0))
    return script


def words(tmp_path: Path, *further: str) -> list[str]:
    folders = ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path), "--thoroughness", "2", "64", "400", "1"]
    return ["--cases", "rms", "--seeds", "0", "--calls", "1400", *folders, *further]


def test_runs_are_counted_kept_and_shown(script, tmp_path):
    torch.set_num_threads(1)
    script.main(words(tmp_path, "--methods", *METHODS))
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/*.json")}
    assert len(files) == 2
    for path in files:
        run = json.loads(path.read_text())
        # 64 events that the network is fitted to, the first look, then a batch a step: training costs none.
        assert run["message"] == "" and run["calls"] == [64, 64 + 2 * 640, 64 + 3 * 640], run["calls"]
        assert run["designs"][0] == pytest.approx([4.5, 2.5]) and run["designs"][-1] != run["designs"][0]
        assert set(run["measured"]) == {"700", "1400"} and len(run["measured"]["700"][0]) == 21
        assert run["measured"]["700"] != run["measured"]["1400"]
    script.main(words(tmp_path, "--methods", *METHODS))
    assert files == {path: path.stat().st_mtime_ns for path in files}
    with (tmp_path / "black_box_calorimeter.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 4 and {row["method"] for row in table} == set(METHODS)
    assert all(0.01 < float(row["objective"]) < 2 for row in table)
    assert "generative surrogate" in (tmp_path / "black_box_calorimeter.md").read_text()
    assert matplotlib.image.imread(tmp_path / "black_box_calorimeter.png").shape[0] > 300


def test_excess_is_paired_with_the_mean_of_the_reference(script):
    runs, summary = (importlib.import_module(f"calorimeter_parts.{name}") for name in ("runs", "summary"))

    def run(method: str, seed: int, shift: float):
        noise = torch.randn(21, generator=torch.Generator().manual_seed(1)).double() * 0.1
        measured = {"1000": [(0.5 + shift + noise).tolist()]}
        return runs.Run("rms", method, seed, 1000.0, [0.0, 1000.0], [[4.5, 2.5], [2.0, 6.0]], [0.0, 1.0], "", measured)

    found = summary.rows([run("pathwise", 0, -0.1), run("pathwise", 1, 0.1), run("surrogate", 0, 0.3)])
    excess = next(row.excess for row in found if row.run.method == "surrogate")
    assert excess.value == pytest.approx(0.3) and excess.standard_error < 1e-9
    assert next(row for row in found if row.run.method == "surrogate").objective.standard_error > 0.01
