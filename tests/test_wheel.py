"""A built wheel, installed elsewhere and run from another directory, has its configuration and detectors."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A copy of the checkout, built into a wheel and installed; this environment has its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    source, target = folder / "source", folder / "site"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split("\n")
    for name in filter(None, tracked):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    wheel = next(folder.glob("*.whl"))
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True, capture_output=True)
    return wheel, target


def test_the_wheel_holds_configuration_and_data(installed):
    names = zipfile.ZipFile(installed[0]).namelist()
    for path in ("conf", "detectors"):
        for file in (ROOT / path).rglob("*.yaml"):
            assert f"mode_opt/{file.relative_to(ROOT)}" in names
    assert "mode_opt/detectors/sampling_calorimeter/data/em_showers_scan.root" in names
    for path, place in (("mode_opt", ""), ("detectors", "mode_opt/")):
        for file in (ROOT / path).rglob("*.py"):
            assert f"{place}{file.relative_to(ROOT)}" in names
    assert "mode_opt/py.typed" in names
    assert not any(name.startswith(("conf/", "detectors/", "tests/")) for name in names)


def test_it_optimises_from_another_directory(installed, tmp_path):
    # Not editable: the folder comes first on the path, and the run must import from it.
    environment = {**os.environ, "PYTHONPATH": str(installed[1]), "OMP_NUM_THREADS": "1"}
    where = [sys.executable, "-c", "import mode_opt.detectors as d; print(d.__file__)"]
    place = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout
    assert str(installed[1]) in place
    overrides = ["simulator=parametric", "experiment=smoke", "budget.steps=2", "hydra.run.dir=run", "quiet=true"]
    command = [sys.executable, "-m", "mode_opt.cli", "optimise", *overrides]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "finished"


def test_a_program_that_comes_with_it_runs_from_another_directory(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed[1]), "OMP_NUM_THREADS": "1"}
    words = ["simulate", "detector=external_example", "simulator=python", "events=50", "output=showers.root"]
    command = [sys.executable, "-m", "mode_opt.cli", *words, "quiet=true"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = json.loads(next((tmp_path / "runs/store/works").glob("*.json")).read_text())
    assert str(installed[1]) in json.dumps(folder)
    for name in ("shower.cpp", "build.sh", "run.ini.jinja"):
        assert (installed[1] / "mode_opt/detectors/external_example/program" / name).is_file()
