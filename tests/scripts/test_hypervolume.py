"""scripts/benchmarks/hypervolume.py: the fronts of its problems are what it says, and its page shows what was run."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.search.front import hypervolume

FOLDER = Path(__file__).parents[2] / "scripts" / "benchmarks"


@pytest.fixture
def part(monkeypatch):
    """A module of the scripts by name."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def best(name):
    """Designs on the front."""
    if name == "bowls":
        return torch.linspace(-0.5, 0.5, 301)[:, None].expand(-1, 4)
    line = torch.linspace(0, 1, 13)
    places = torch.cartesian_prod(line, line)
    return torch.cat([places, torch.full_like(places, 0.5)], 1)


@pytest.mark.parametrize(("name", "missing"), [("bowls", 0.01), ("sphere", 0.15)])
def test_the_front_has_the_stated_volume(part, name, missing):
    problem = part("hypervolume_parts.problems").PROBLEMS[name]()
    values = problem.truth(DesignPoint(best(name), problem.design().layout)).double()
    found = hypervolume(values, torch.tensor([problem.reference[goal] for goal in problem.goals]))
    assert (1 - missing) * problem.volume() < found < problem.volume() * (1 + 1e-6)
    low = torch.tensor([problem.ranges[goal] for goal in problem.goals])
    assert values.min(0).values.tolist() == pytest.approx(low[:, 0].tolist(), abs=1e-6)


def test_random_designs_are_run_once_and_shown(part, tmp_path, monkeypatch):
    script, problems = part("hypervolume"), part("hypervolume_parts.problems").PROBLEMS
    small = replace(problems["sphere"](), designs=15)
    monkeypatch.setitem(problems, "sphere", lambda: small)
    words = ["--problems", "sphere", "--methods", "random", "--seeds", "2"]
    words += ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path)]
    script.main(words)
    files = sorted((tmp_path / "runs").glob("*.json"))
    run = json.loads(files[1].read_text())
    assert len(files) == 2 and run["designs"] == list(range(1, 16))
    assert 0.05 < run["shares"][-1] < 1 and run["shares"][0] < run["shares"][-1]
    row = next(line for line in (tmp_path / "hypervolume.md").read_text().splitlines() if "random designs |" in line)
    assert f"{run['shares'][9]:.0%}" in row
    assert matplotlib.image.imread(tmp_path / "hypervolume.png").shape[1] > 1000
    monkeypatch.setattr(script, "carried_out", lambda *words: pytest.fail("a finished run is repeated"))
    script.main(words)
