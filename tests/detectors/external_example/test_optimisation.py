"""The external program optimised end to end on the command line: killed, resumed, and with a program that crashes."""

import csv
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from showers import PROGRAM

from mode_opt.campaigns import Status, Store

TINY = {
    "detector": "external_example",
    "simulator": "cpp",
    "experiment": "external_example",
    "quiet": "true",
    "executor.workers": 2,
    "campaign.patience.backoff": 0,
    "budget.steps": 3,
    "gradient.sampling.calls": 3072,
    "gradient.sampling.events": 256,
    "gradient.descent.events": 512,
    "gradient.descent.steps": 15,
    "++surrogate.training.steps": 100,
    "effort.warm_up": 60,
    "effort.reconstruction_steps": 20,
    "effort.check_every": 1,
    "effort.validation_events": 512,
    "verification.steps": 100,
    "verification.batch": 256,
    "verification.pool": 4000,
    "verification.events": 4000,
    "verification.replicas": 1,
}


@pytest.fixture
def program(request, tmp_path):
    """A script in place of the compiled program, which notes how it is called; without a compiler it runs Python."""
    try:
        real = [str(request.getfixturevalue("binary"))]
    except pytest.skip.Exception:
        real = [sys.executable, str(PROGRAM / "shower.py")]

    def write(before: str = "") -> Path:
        script = tmp_path / "program" / "shower"
        script.parent.mkdir()
        script.write_text(
            f'#!/bin/sh\n{before}\necho "$2 $4 $8 ${{10}}" >> {tmp_path}/calls\nexec {" ".join(real)} "$@"\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return script

    return write


@pytest.fixture
def optimise(tmp_path):
    """Start ``mode-opt optimise`` in a process of its own."""
    running = []
    printed = (tmp_path / "printed.txt").open("wb")

    def start(*words: str, **changes: object) -> "subprocess.Popen[bytes]":
        settings = [f"{key}={value}" for key, value in {**TINY, **changes}.items()] if not words else list(words)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MODE_OPT_SHOWER": str(tmp_path / "program")}
        process = subprocess.Popen(
            [sys.executable, "-m", "mode_opt.cli", "optimise", *settings],
            cwd=tmp_path,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
    printed.close()


def finished(process, folder):
    assert process.wait(timeout=300) == 0, (folder / "printed.txt").read_text()


def result(run):
    return json.loads((run / "result.json").read_text())


@pytest.mark.slow
def test_it_is_optimised_killed_and_resumed_without_a_job_done_twice(program, optimise, tmp_path):
    program()
    first = optimise(**{"hydra.run.dir": "run"})
    deadline = time.monotonic() + 200
    while not (tmp_path / "run/checkpoints/last.ckpt").exists() or len(_calls(tmp_path)) < 30:
        assert first.poll() is None and time.monotonic() < deadline, (tmp_path / "printed.txt").read_text()
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    finished(optimise("resume=run"), tmp_path)
    found = result(tmp_path / "run")
    gain = found["objective"]["improvement"]
    assert found["status"] == "finished"
    assert gain["value"] > 5 * gain["standard_error"] and gain["value"] > 0.02
    assert found["constraints"] and all(entry["satisfied"] for entry in found["constraints"].values())

    calls = _calls(tmp_path)
    entries = list(Store(tmp_path / "runs/store").entries())
    assert {entry.outcome.status for entry in entries} == {Status.DONE}
    assert len(entries) == len(set(calls))
    assert len(calls) - len(set(calls)) <= 2  # those that ran when it was killed, on two workers

    # An undisturbed run asks for the same jobs, which are all there, and ends at the same numbers.
    finished(optimise(**{"hydra.run.dir": "again"}), tmp_path)
    again = result(tmp_path / "again")
    assert again["design"] == found["design"] and again["objective"] == found["objective"]
    assert again["campaign"]["reused"] == again["campaign"]["jobs"] > 0
    assert len(_calls(tmp_path)) == len(calls)


def test_a_program_that_crashes_for_some_designs_is_survived(program, optimise, tmp_path):
    program("""if awk "BEGIN { exit !($2 < 0.185) }"; then kill -SEGV $$; fi""")
    finished(
        optimise(**{"hydra.run.dir": "run", "campaign.patience.failed": 0.9, "campaign.patience.attempts": 1}), tmp_path
    )
    found = result(tmp_path / "run")
    with (tmp_path / "run/history.csv").open() as file:
        failed = [float(row["failed_designs"] or 0) for row in csv.DictReader(file)]
    assert found["status"] == "finished" and sum(failed) > 0
    assert found["objective"]["improvement"]["value"] > 0
    assert found["design"]["absorber_thickness"]["final"] > 1.85
    quarantined = list(Store(tmp_path / "runs/store").entries(status=Status.QUARANTINED))
    assert len(quarantined) >= sum(failed) / 2 and all("SIGSEGV" in entry.outcome.message for entry in quarantined)


def _calls(folder):
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []
