import json

import pytest
import uproot

FAST = ["simulator=parametric", "experiment=smoke", "quiet=true"]


def test_detectors_lists_parameters_and_simulators(command):
    text = command("detectors").stdout
    for word in ("sampling_calorimeter", "absorber_thickness", "gap_thickness", "4.5", "mm", "surrogate, parametric"):
        assert word in text
    assert "sampling_calorimeter_layers" in text


def test_detectors_is_answered_without_the_heavy_imports(command):
    code = "import sys; from mode_opt.cli import main; main(['detectors']); print('torch' in sys.modules)"
    import subprocess
    import sys

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.endswith("False\n")


def test_simulate_writes_events_that_uproot_reads(command, tmp_path):
    thicknesses = ("design.gap_thickness=5", "design.absorber_thickness=2")
    command("simulate", *FAST, "events=500", "output=shower.root", *thicknesses)
    with uproot.open(tmp_path / "shower.root") as file:
        tree = file["events"]
        assert tree.num_entries == 500
        energy, gap = tree["energy"].array(), tree["gap_thickness"].array()
        assert energy.to_numpy().min() >= 500 and energy.to_numpy().max() <= 10_000
        assert gap.to_numpy()[0] == pytest.approx(5.0, rel=1e-4)


def test_simulate_refuses(command):
    assert "events: got 0" in command("simulate", *FAST, "events=0", check=False).stderr
    assert "output" in command("simulate", *FAST, "output=shower.txt", check=False).stderr


def test_verify_report_and_reuse_of_a_design(command, tmp_path):
    command("optimise", *FAST, "hydra.run.dir=run")
    content = json.loads((tmp_path / "run" / "result.json").read_text())
    command("verify", "run", "quiet=true")
    again = json.loads((tmp_path / "run" / "verification.json").read_text())
    assert again["seed"] == 1
    # other seeds, same designs: within 5 standard errors of the smoke test's loose numbers
    for name in ("initial", "final"):
        first, second = content["objective"][name], again[name]
        assert abs(first["value"] - second["value"]) < 5 * (first["standard_error"] + second["standard_error"])
    (tmp_path / "run" / "report.html").unlink()
    command("report", "run")
    assert "<html" in (tmp_path / "run" / "report.html").read_text()
    command("simulate", *FAST, "events=10", "design=run", "output=final.root")
    with uproot.open(tmp_path / "final.root") as file:
        gap = file["events"]["gap_thickness"].array().to_numpy()[0]
    assert gap == pytest.approx(content["design"]["gap_thickness"]["final"], rel=1e-4)


def test_verify_and_report_refuse_what_is_no_run(command, tmp_path):
    assert "run directory" in command("verify", "nowhere", check=False).stderr
    done = command("report", "nowhere", check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
