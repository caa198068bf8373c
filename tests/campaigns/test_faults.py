"""A simulator that goes wrong in every way, under sessions that are killed: each job ends once, and well."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mode_opt.campaigns import Job, Status, Store, seed_of
from mode_opt.campaigns.performing import read_result
from mode_opt.simulation import ExternalProgram

HELPERS = Path(__file__).parents[1] / "helpers"
SESSION = """
import json, sys
from pathlib import Path
from mode_opt.campaigns import Campaign, Job, Patience, Processes, Store
from mode_opt.simulation import ExternalProgram
root, attempts = Path(sys.argv[1]), int(sys.argv[2])
store = Store(root)
works = [store.work(path.stem) for path in (root / "works").glob("*.json")]
jobs = [Job.from_bytes(path.read_bytes()) for path in sorted((root / "asked").iterdir())]
with Campaign(store, Processes(2), Patience(attempts, backoff=0.01, failed=0.9)) as campaign:
    print(len(campaign.run(works[0], jobs)), flush=True)
"""


SESSIONS: list[subprocess.Popen] = []


@pytest.fixture(autouse=True)
def no_session_is_left():
    yield
    for started in SESSIONS:
        started.kill()
        started.wait()
        started.stdout.close()
    SESSIONS.clear()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The arguments that start the simulator, and its folder."""
    folder = tmp_path_factory.mktemp("unsteady")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        shutil.copy(HELPERS / "unsteady.py", folder)
        return folder, [sys.executable, "-S", "{{ folder }}/unsteady.py"]
    subprocess.run([compiler, "-O1", "-o", str(folder / "unsteady"), str(HELPERS / "unsteady.c")], check=True)
    return folder, ["unsteady"]


def asked(root, program, count, bad=0):
    """A store in which the description of the simulator and jobs lie; a fifth of ``bad`` jobs always fails."""
    folder, command = program
    arguments = [*command, "{{ seed }}", "{{ events }}", "{{ bad | integer }}", "{{ output }}"]
    output = {"file": "events.csv", "hits": {"value": ["a", "b"]}}
    work = ExternalProgram(arguments, output, folder, time_limit=1.0)
    store = Store(root)
    store.register(work)
    (root / "asked").mkdir()
    jobs = [Job(work.digest, {"bad": float(k < bad)}, 6, seed_of(7, k)) for k in range(count)]
    for job in jobs:
        (root / "asked" / f"{job.key}.npz").write_bytes(job.to_bytes())
    return store, jobs


def session(store, faults, attempts):
    command = [sys.executable, "-c", SESSION, str(store.root), str(attempts)]
    environment = os.environ | {"FAULTS": str(faults), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    SESSIONS.append(started)
    return started


def programs(parent=None):
    """Simulators that run, those of one session or all."""
    found = psutil.Process(parent).children() if parent is not None else psutil.process_iter()
    return [process for process in found if _unsteady(process)]


def _unsteady(process):
    try:
        running = process.status() != psutil.STATUS_ZOMBIE
        return running and any("unsteady" in Path(word).name for word in process.cmdline()[:3])
    except psutil.Error:
        return False


def files(store):
    return sorted((store.root / "results").glob("??/*.npz"))


def killed_while_one_hangs(running, store, least):
    """Kill a session that has so many results while a program of it hangs; that program, which survives it."""
    deadline, seen = time.monotonic() + 120, {}
    while time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
        first = {process: seen.get(process, time.monotonic()) for process in programs(running.pid)}
        seen, old = first, [process for process in first if time.monotonic() - first[process] > 0.4]
        if old and len(files(store)) >= least:
            os.kill(running.pid, signal.SIGKILL)
            running.communicate()
            survivors = [process for process in old if process.is_running() and _unsteady(process)]
            if survivors:
                return survivors
            running = session(store, 200, 14)  # it was stopped in the same moment: again
    raise AssertionError(f"no program hung: {len(files(store))} results, exit code {running.poll()}")


def ended(running):
    said, _ = running.communicate(timeout=240)
    assert running.returncode == 0
    return int(said)


def events(store, jobs):
    return {job.seed: read_result(store.folders.result(job.key))["hits"].tobytes() for job in jobs}


def test_five_hundred_jobs_survive_faults_and_three_killed_sessions(tmp_path, program):
    (tmp_path / "calm").mkdir()
    (tmp_path / "wild").mkdir()
    calm, jobs = asked(tmp_path / "calm", program, 500)
    assert ended(session(calm, 0, 1)) == 500
    wild, _ = asked(tmp_path / "wild", program, 500)
    running = session(wild, 200, 14)
    for least in (60, 180, 300):
        survivors = killed_while_one_hangs(running, wild, least)
        for path in files(wild):  # whatever is there is whole
            assert Job.unpack(read_result(path)).key == path.stem
        running = session(wild, 200, 14)
        before, deadline = len(files(wild)), time.monotonic() + 120
        while len(files(wild)) == before and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(_unsteady(process) for process in survivors)  # before any new job has ended
    assert ended(running) == 500
    entries = list(Store(wild.root).entries())
    assert sorted(entry.key for entry in entries) == sorted(job.key for job in jobs)
    assert {entry.outcome.status for entry in entries} == {Status.DONE}
    assert len(files(wild)) == 500 and list((wild.root / "quarantine").iterdir()) == []
    assert events(wild, jobs) == events(calm, jobs)
    assert max(entry.outcome.attempts for entry in entries) > 1


def test_jobs_that_always_fail_end_in_quarantine_with_their_logs(tmp_path, program):
    store, jobs = asked(tmp_path, program, 60, bad=12)
    running, deadline = session(store, 200, 6), time.monotonic() + 120
    while len(files(store)) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    assert ended(session(store, 100, 10)) == 60
    entries = {entry.key: entry.outcome for entry in store.entries()}
    quarantined = {key for key, outcome in entries.items() if outcome.status is Status.QUARANTINED}
    assert len(entries) == 60 and quarantined == {job.key for job in jobs[:12]}
    assert {path.stem for path in files(store)} == {job.key for job in jobs[12:]}
    assert {path.name for path in (store.root / "quarantine").iterdir()} == quarantined
    for key in quarantined:
        assert "always fails" in (store.root / "quarantine" / key / "log.txt").read_text()
        assert entries[key].message.startswith("exit code 3")
