"""One attempt at a job: whole results or none, logs of failures, and one process at a time."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import works

from mode_opt.campaigns import Failure, Job, JobFailure, Status, claims
from mode_opt.campaigns import performing as module
from mode_opt.campaigns.claims import CHILD, OWNER, claim, clean, release
from mode_opt.campaigns.folders import Folders
from mode_opt.campaigns.performing import attempted, checked, perform, read_result
from mode_opt.errors import ConfigurationError, DataError


@pytest.fixture
def folders(tmp_path):
    made = Folders(tmp_path / "store")
    made.make()
    return made


def waited(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def running(folders):
    return [p for p in (folders.root / "running").iterdir() if p.is_dir() and not p.name.startswith("spare-")]


def test_a_result_is_whole_and_nothing_else_is_left(folders):
    work = works.Noise()
    (job,) = works.jobs_of(work, 1)
    outcome = perform(work, job, folders)
    assert outcome.status is Status.DONE and not outcome.reused
    arrays = read_result(folders.result(job.key))
    assert Job.unpack(arrays).key == job.key and outcome.bytes == folders.result(job.key).stat().st_size
    assert running(folders) == [] and list((folders.root / "quarantine").iterdir()) == []
    assert [path.name for path in folders.result(job.key).parent.iterdir()] == [f"{job.key}.npz"]
    again = perform(work, job, folders)
    assert again.reused and again.seconds == pytest.approx(outcome.seconds)


@pytest.mark.parametrize(
    ("wrong", "failure"),
    [
        ("EXIT", Failure.EXIT),
        ("HANG", Failure.HANG),
        ("raise", Failure.RAISED),
        ("short", Failure.COUNT),
        ("hits", Failure.NOT_FINITE),
    ],
)
def test_a_failure_leaves_its_log_the_job_and_the_reason(folders, wrong, failure):
    (job,) = works.jobs_of(works.Noise(), 1)
    work = works.Noise(fails={str(job.seed): wrong})
    outcome = perform(work, job, folders)
    kept = folders.quarantine(job.key)
    assert (outcome.status, outcome.failure) == (Status.FAILED, failure)
    assert (kept / "log.txt").read_text() == f"seed {job.seed}\n"
    assert Job.from_bytes((kept / "job.npz").read_bytes()).key == job.key
    assert json.loads((kept / "failure.json").read_text())["failure"] == failure.value
    assert not (kept / OWNER).exists() and running(folders) == [] and not folders.result(job.key).exists()
    assert perform(works.Noise(), job, folders).status is Status.DONE
    assert not kept.exists()  # mended


def test_a_mistake_in_the_configuration_is_no_failure_of_the_job(folders):
    class Mistaken(works.Noise):
        kind = "mistaken"

        def run(self, job, folder):
            raise ConfigurationError("program.command", "x", "a program")

    (job,) = works.jobs_of(Mistaken(), 1)
    with pytest.raises(ConfigurationError):
        perform(Mistaken(), job, folders)
    assert running(folders) == []


@pytest.mark.parametrize(
    ("arrays", "failure"),
    [
        ({}, Failure.UNREADABLE),
        ({"hits": np.ones((3, 2))}, Failure.UNREADABLE),
        ({"hits": np.ones(())}, Failure.UNREADABLE),
        ({"hits": np.ones((2, 2, 1))}, Failure.COUNT),
        ({"hits": np.ones((4, 2, 1))}, Failure.COUNT),
        ({"hits": np.ones((3, 2, 1)), "mask": np.ones((3, 1))}, Failure.UNREADABLE),
        ({"hits": np.ones((3, 2, 1)), "weight": np.ones(4)}, Failure.UNREADABLE),
        ({"hits": np.full((3, 2, 1), np.inf)}, Failure.NOT_FINITE),
        ({"hits": np.full((3, 2, 1), 1e300)}, Failure.NOT_FINITE),
        ({"hits": np.ones((3, 2, 1)), "weight": np.array([1, np.nan, 1])}, Failure.NOT_FINITE),
    ],
)
def test_what_is_no_result_is_told_apart(arrays, failure):
    with pytest.raises(JobFailure) as caught:
        checked(arrays, Job("ab", {}, 3, 1))
    assert caught.value.kind is failure


def test_padding_may_hold_anything():
    hits, mask = np.ones((2, 2, 1)), np.array([[True, False], [True, True]])
    hits[0, 1] = np.nan
    kept = checked({"hits": hits, "mask": mask}, Job("ab", {}, 2, 1))
    assert kept["hits"][..., 0].tolist() == [[1, 0], [1, 1]] and kept["weight"].tolist() == [1, 1]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_known_as_such_wherever_it_shows(folders, monkeypatch, code):
    work = works.Noise()
    one, two, three = works.jobs_of(work, 3)

    def full(*_, **__):
        raise OSError(code, "no space")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_whole", full)
        assert perform(work, one, folders).failure is Failure.DISK
    with monkeypatch.context() as patched:
        patched.setattr(module, "claim", full)
        assert perform(work, two, folders).failure is Failure.DISK
    with monkeypatch.context() as patched:
        patched.setattr(works.Noise, "run", full)
        assert perform(work, three, folders).failure is Failure.DISK
    assert list((folders.root / "quarantine").iterdir()) == [] and running(folders) == []
    assert perform(work, one, folders).status is Status.DONE


def test_a_disk_that_is_full_half_way_leaves_no_partial_file(folders, monkeypatch):
    work = works.Noise()
    (job,) = works.jobs_of(work, 1)
    write = Path.write_bytes

    def half(path, content):
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", half)
        assert perform(work, job, folders).failure is Failure.DISK
    assert [path for path in (folders.root / "results").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04"])
def test_a_damaged_result_is_no_result(folders, content):
    work = works.Noise()
    (job,) = works.jobs_of(work, 1)
    path = folders.result(job.key)
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_result(path)
    outcome = perform(work, job, folders)
    assert outcome.status is Status.DONE and not outcome.reused and len(read_result(path)["hits"]) == 3


def test_a_job_that_another_living_process_runs_is_awaited(folders):
    work = works.Noise()
    (job,) = works.jobs_of(work, 1)
    folder = folders.running(job.key)
    assert claim(folder) and not claim(folder)
    assert attempted(work, job, folders) is None
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(perform(work, job, folders)))
    thread.start()
    time.sleep(0.3)
    assert outcomes == []
    release(folder)
    thread.join(timeout=20)
    assert outcomes[0].status is Status.DONE and not outcomes[0].reused


CLAIM = """
import sys, time
from pathlib import Path
from mode_opt.campaigns.claims import claim
for name in sys.argv[2:]:
    print(claim(Path(sys.argv[1]) / name), flush=True)
time.sleep(600)
"""


@pytest.fixture
def other(folders):
    """Another process, which claims the folder ``ab``."""
    command = [sys.executable, "-c", CLAIM, str(folders.root / "running"), "ab"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_folder_belongs_to_its_process_until_that_dies(folders, other):
    folder = folders.running("ab")
    assert not claim(folder) and clean(folders.root / "running") == 0
    other.kill()
    other.wait()
    assert claim(folder) and [path.name for path in folder.iterdir()] == [OWNER]


def test_the_folders_of_dead_processes_are_removed(folders, other):
    other.kill()
    other.wait()
    (folders.running("ab") / "half").write_text("done")
    assert clean(folders.root / "running") == 1 and running(folders) == []


def test_a_number_that_a_later_process_has_is_not_the_owner(folders):
    folder = folders.running("ab")
    assert claim(folder)
    owner = json.loads((folder / OWNER).read_text())
    (folder / OWNER).write_text(json.dumps(owner | {"started": owner["started"] - 100}))
    assert clean(folders.root / "running") == 1 and not folder.exists()


def test_owners_on_other_machines_live_as_long_as_they_show_it(folders):
    folder = folders.running("ab")
    assert claim(folder)
    owner = json.loads((folder / OWNER).read_text())
    (folder / OWNER).write_text(json.dumps(owner | {"host": "elsewhere"}))
    assert not claim(folder)
    past = time.time() - 2 * claims.SILENT
    os.utime(folder / OWNER, (past, past))
    assert claim(folder)
    release(folder)


def test_owners_show_that_they_live(folders, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.01)
    monkeypatch.setattr(claims, "_heart", [])
    folder = folders.running("ab")
    assert claim(folder)
    past = time.time() - 1000
    os.utime(folder / OWNER, (past, past))
    assert waited(lambda: (folder / OWNER).stat().st_mtime > past + 500)
    release(folder)


def test_one_of_many_takes_the_folder_of_a_dead_process(folders, other):
    other.kill()
    other.wait()
    taken = []
    threads = [threading.Thread(target=lambda: taken.append(claim(folders.running("ab")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 1 and len(taken) == 8


SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


@pytest.mark.parametrize("noted", [True, False])
def test_programs_of_dead_processes_are_killed_even_if_nobody_took_note_of_them(folders, other, noted):
    folder = folders.running("ab")
    program = subprocess.Popen(SLEEPER, cwd=folder, start_new_session=True)
    if noted:
        claims.note_child(folder, program.pid)
        assert (folder / CHILD).exists()
    other.kill()
    other.wait()
    assert clean(folders.root / "running") == 1
    assert program.wait(timeout=20) < 0


def test_a_process_with_the_number_of_a_dead_program_is_left_alone(folders, other):
    folder = folders.running("ab")
    program = subprocess.Popen(SLEEPER, start_new_session=True)
    try:
        claims.note_child(folder, program.pid)
        child = json.loads((folder / CHILD).read_text())
        (folder / CHILD).write_text(json.dumps(child | {"started": child["started"] - 100}))
        other.kill()
        other.wait()
        assert clean(folders.root / "running") == 1 and program.poll() is None
    finally:
        program.kill()
        program.wait()


def test_an_interrupted_job_leaves_nothing(folders):
    programs = []

    class Interrupted(works.Noise):
        kind = "interrupted"

        def run(self, job, folder):
            programs.append(subprocess.Popen(SLEEPER, cwd=folder, start_new_session=True))
            claims.note_child(folder, programs[0].pid)
            raise KeyboardInterrupt

    (job,) = works.jobs_of(Interrupted(), 1)
    with pytest.raises(KeyboardInterrupt):
        perform(Interrupted(), job, folders)
    assert programs[0].wait(timeout=20) < 0 and running(folders) == []
    assert not folders.quarantine(job.key).exists()


def test_folders_are_used_again_and_empty(folders):
    work = works.Noise(fails={})
    for job in works.jobs_of(work, 5):
        assert perform(work, job, folders).status is Status.DONE  # which checks that its folder is empty
    spare = [path for path in (folders.root / "running").iterdir() if path.name.startswith("spare-")]
    assert len(spare) == 1 and [path.name for path in spare[0].iterdir()] == [OWNER]
    assert json.loads((spare[0] / OWNER).read_text())["pid"] == os.getpid()


def test_folders_and_links_in_a_run_folder_go_too_and_links_are_not_followed(folders, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()

    class Messy(works.Noise):
        kind = "messy"

        def run(self, job, folder):
            (folder / "deep" / "deeper").mkdir(parents=True)
            (folder / "link").symlink_to(outside)
            return super().run(job, folder) if job.events > 3 else {"hits": np.ones((3, 1, 1))}

    (job,) = works.jobs_of(Messy(), 1)
    assert perform(Messy(), job, folders).status is Status.DONE
    assert (outside / "precious").exists()
    (spare,) = [path for path in (folders.root / "running").iterdir() if path.name.startswith("spare-")]
    assert [path.name for path in spare.iterdir()] == [OWNER]
