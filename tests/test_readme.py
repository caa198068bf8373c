"""The README does what it says: its Python runs, and its detector works from a folder outside the repository."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from mode_opt import VerificationEffort

README = Path(__file__).parent.parent / "README.md"


def block(marker: str) -> str:
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w+\n(.*?)```", README.read_text(), re.S)
    assert found, f"no block after {marker} in README.md"
    return found[1]


def test_the_example_is_short_and_finds_a_better_calorimeter(capsys):
    code = block("example")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    # Less effort than shown, so that the suite stays short; the lines are otherwise those of the README.
    assert "steps=60" in code
    scope: dict = {"quick": VerificationEffort(steps=200, batch=256, events=4000)}
    exec(code.replace("steps=60", "steps=12, verification=quick"), scope)
    improvement = scope["outcome"].verification.improvement
    assert improvement.value > 4 * improvement.standard_error > 0
    assert "gap_thickness" in capsys.readouterr().out


def test_a_detector_written_from_the_readme_alone_is_optimised(tmp_path):
    folder = tmp_path / "my_detectors"
    for name in ("spectrometer/simulator.py", "spectrometer/conf/detector/spectrometer.yaml"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block(f"file: {name}"))

    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "mode_opt.cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )

    assert "spectrometer" in command("detectors", "--detectors", "my_detectors").stdout
    overrides = ["hydra.run.dir=run", "budget.steps=60", "effort.warm_up=200", "verification.steps=300", "quiet=true"]
    done = command("optimise", "--detectors", "my_detectors", "detector=spectrometer", *overrides)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    design = {name: entry["final"] for name, entry in result["design"].items()}
    improvement = result["objective"]["improvement"]
    assert improvement["value"] > 5 * improvement["standard_error"]
    # A longer arm is always better, so it ends near the limit of 1 m; the silicon is thinned.
    assert result["constraints"]["length"]["satisfied"]
    assert 800 < design["arm"] < 900 and design["silicon"] < 2.0
    assert command("verify", "run", "quiet=true").returncode != 0  # the folder must be named again
    assert command("verify", "run", "--detectors", "my_detectors", "quiet=true").returncode == 0
