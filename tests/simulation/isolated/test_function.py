"""A Python function as a simulator: whatever it does, it does to itself."""

import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from mode_opt.campaigns import Failure, Job, JobFailure, Status, Store, Task
from mode_opt.simulation import PythonFunction
from mode_opt.simulation.isolated.process import release

HERE = Path(__file__).parent
DEADLINE = 60.0


def work_with(name, **options):
    return PythonFunction(f"black_boxes:{name}", path=HERE, **options)


def job_of(work, design=None, events=3, seed=5, **primaries):
    return Job(work.digest, design or {}, events, seed, {name: np.array(v) for name, v in primaries.items()})


@pytest.fixture
def run(tmp_path):
    def run(work, design=None, **options):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return work.run(job_of(work, design, **options), folder)

    yield run
    release()


@pytest.fixture
def failure(run):
    def failure(work, design=None, **options):
        with pytest.raises(JobFailure) as caught:
            run(work, design, **options)
        return caught.value

    return failure


def wait_for(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_all_of_a_job_gets_there_and_back(run):
    work = work_with("echo", arguments={"scale": 2.0})
    result = run(work, {"gap": [1.0, 4.0]}, seed=9, energy=[10.0, 20.0, 30.0])
    assert result["hits"][..., 0].tolist() == [[20, 4, 9], [40, 4, 9], [60, 4, 9]]
    assert result["mask"].tolist() == [[True, True, False]] * 3 and result["weight"].tolist() == [0, 1, 2]


def test_shapes_of_hits(run):
    assert run(work_with("bowl"), {"x": 0.0, "y": 0.0})["hits"].shape == (3, 1, 1)
    assert run(work_with("Counter"))["hits"].shape == (3, 2, 1)
    assert run(work_with("Nested.Inner"))["hits"].shape == (3, 1, 1)


def test_it_loads_nothing_of_mode_opt(run):
    assert run(work_with("modules"))["hits"][0, 0, 0] == 0.0


def test_the_global_generator_is_seeded(run):
    work = work_with("global_numbers")
    first, again, other = (run(work, seed=seed)["hits"] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_class_is_made_once_in_each_process(run):
    work = work_with("Counter", arguments={"start": 10}, jobs_per_process=2)
    results = [run(work)["hits"][0, :, 0].tolist() for _ in range(4)]
    assert [calls for calls, _ in results] == [11, 12, 11, 12]
    assert results[0][1] == results[1][1] != results[2][1] == results[3][1]


def test_one_process_a_job_shares_no_state(run):
    work = work_with("Counter", jobs_per_process=1)
    results = [run(work)["hits"][0, :, 0].tolist() for _ in range(3)]
    assert [calls for calls, _ in results] == [1, 1, 1] and len({pid for _, pid in results}) == 3
    assert all(gone(int(pid)) for _, pid in results)


def test_crash(failure, run, tmp_path):
    found = failure(work_with("segmentation_fault"))
    assert found.kind is Failure.CRASH and "SIGSEGV" in found.message
    (log,) = tmp_path.glob("*/log.txt")
    assert "segmentation_fault" in log.read_text()  # Python's traceback of where it happened
    assert run(work_with("Counter"))["hits"][0, 0, 0] == 1.0


@pytest.mark.parametrize("name", ["hang", "hang_holding_the_lock"])
def test_hang(failure, tmp_path, name):
    found = failure(work_with(name, time_limit=1.0))
    assert found.kind is Failure.HANG and "1 s" in found.message
    (here,) = tmp_path.glob("*/here")
    assert gone(int(here.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to limits of the address space")
def test_leak(failure, run):
    work = work_with("Leak", memory_limit="1.5 GB")
    kept = 0
    with pytest.raises(JobFailure) as caught:
        for _ in range(10):
            kept = run(work)["hits"][0, 0, 0]
    assert kept >= 1 and caught.value.kind is Failure.RAISED and "MemoryError" in caught.value.message
    assert run(work)["hits"][0, 0, 0] == 1.0  # a fresh process


@pytest.mark.parametrize(("how", "code"), [("at once", 7), ("by Python", 3)])
def test_exit(failure, how, code):
    found = failure(work_with("leave"), {"how": how})
    assert found.kind is Failure.EXIT and f"exit code {code}" in found.message


def test_exception(failure, tmp_path):
    found = failure(work_with("raising"))
    assert found.kind is Failure.RAISED and found.message == "KeyError: 'no such material'"
    (log,) = tmp_path.glob("*/log.txt")
    assert "black_boxes.py" in log.read_text() and "Traceback" in log.read_text()


def test_output_of_each_job_goes_to_its_log(run, failure, tmp_path, capfd):
    work = work_with("chatter")
    for seed in (1, 2):
        run(work, seed=seed)
    failure(work, seed=3)
    logs = [log.read_text() for log in sorted(tmp_path.glob("*/log.txt"), key=lambda p: int(p.parent.name))]
    for seed, log in enumerate(logs, 1):
        assert sorted(log.splitlines()[:3]) == ["from C", "from a program", f"seed {seed}"]
        assert log.count("from a program\n") == 1
    assert "overlap" in logs[2] and len(logs) == 3 and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("what", ["nothing", "words", "objects", "a number", "four axes", "misspelt"])
def test_what_is_no_result(failure, what):
    found = failure(work_with("answers"), {"what": what})
    assert found.kind is Failure.UNREADABLE and "expected" in found.message


@pytest.mark.parametrize(
    ("what", "kind"), [("short", Failure.COUNT), ("NaN", Failure.NOT_FINITE), ("mask", Failure.UNREADABLE)]
)
def test_what_is_a_wrong_result(tmp_path, what, kind):
    work = work_with("answers")
    store = Store(tmp_path)
    (outcome,) = Task(work, [job_of(work, {"what": what})], store.root).run()
    release()
    assert (outcome.status, outcome.failure) == (Status.FAILED, kind)


@pytest.mark.parametrize("how", ["crash", "return"])
def test_what_it_started_ends_with_it(run, how, tmp_path):
    work = work_with("orphan_maker", jobs_per_process=1)
    if how == "crash":
        with pytest.raises(JobFailure, match="SIGKILL"):
            run(work, {"how": how})
    else:
        run(work, {"how": how})
    (started,) = tmp_path.glob("*/started")
    wait_for(lambda: gone(int(started.read_text())))


def test_threads_have_a_process_each_that_ends_with_them(tmp_path):
    work, pids = work_with("Counter"), []

    def several(name):
        (tmp_path / name).mkdir()
        pids.append([int(work.run(job_of(work), tmp_path / name)["hits"][0, 1, 0]) for _ in range(2)])

    threads = [threading.Thread(target=several, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pids[0][0] == pids[0][1] != pids[1][0] == pids[1][1]
    wait_for(lambda: all(gone(pid) for pair in pids for pid in pair))


@pytest.mark.parametrize("name", ["hang", "hang_holding_the_lock", "Counter"])
def test_killing_the_parent_kills_it(tmp_path, name):
    script = (
        "import sys, pathlib, time; sys.path.insert(0, sys.argv[1])\n"
        "from mode_opt.campaigns import Job\nfrom mode_opt.simulation.isolated import PythonFunction\n"
        "work = PythonFunction(f'black_boxes:{sys.argv[2]}', path=sys.argv[1])\n"
        "hits = work.run(Job(work.digest, {}, 1, 1), pathlib.Path(sys.argv[3]))['hits']\n"
        "(pathlib.Path(sys.argv[3]) / 'here').write_text(str(int(hits[0, 1, 0])))\ntime.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(HERE), name, str(tmp_path)])
    try:
        here = tmp_path / "here"
        wait_for(lambda: here.exists() and here.read_text())
        pid = int(here.read_text())
        assert not gone(pid)
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: gone(pid))


def test_pickled_it_runs_elsewhere(run):
    work = work_with("bowl")
    run(work, {"x": 0.0, "y": 0.0})
    copy = pickle.loads(pickle.dumps(work))
    assert copy.digest == work.digest
    first, second = (run(each, {"x": 0.0, "y": 0.0})["hits"] for each in (work, copy))
    assert np.array_equal(first, second) and first.std() > 0
