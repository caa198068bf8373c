"""The benchmark of the external example: its fit, and what it keeps between commands."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmarks" / "external_example.py"


@pytest.fixture(scope="module")
def script():
    specification = importlib.util.spec_from_file_location("external_example_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def curve(script, noise, seed=0):
    random = np.random.default_rng(seed)
    return [
        script.Point(a, 7 - a, 0.1 + 0.01 * (a - 4.25) ** 2 + 0.002 * (a - 4.25) ** 3 + noise * random.normal(), noise)
        for a in script.LINE
    ]


def test_the_minimum_of_a_cubic_is_found(script):
    found = script.minimum(curve(script, 1e-9))
    assert found.absorber == pytest.approx(4.25, abs=2e-3) and found.objective == pytest.approx(0.1, abs=1e-7)


def test_its_errors_are_those_of_repeated_scans(script):
    scans = [script.minimum(curve(script, 4e-4, seed), copies=200) for seed in range(60)]
    for name in ("absorber", "objective"):
        spread = np.std([getattr(found, name) for found in scans])
        assert np.mean([getattr(found, f"{name}_error") for found in scans]) == pytest.approx(spread, rel=0.4)


def test_a_measured_design_is_not_measured_again(script, tmp_path, monkeypatch):
    point = script.Point(4.0, 3.0, 0.1, 0.001)
    monkeypatch.setattr(script, "measured", lambda *_: point)
    assert script.known(Path(), None, (4.0, 3.0), tmp_path) == point
    monkeypatch.delattr(script, "measured")
    assert script.known(Path(), None, (4.0, 3.0), tmp_path) == point
