"""However a program ends, it is known how, and nothing of it is left."""

import os
import shlex
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from mode_opt.campaigns import Failure, JobFailure
from mode_opt.errors import ConfigurationError
from mode_opt.simulation import ExternalProgram
from mode_opt.simulation.programs.running import bytes_of

WRITES = 'open("out.csv", "w").write("e\\n1\\n2\\n3\\n")\n'


def failure(runner, text, **fields):
    with pytest.raises(JobFailure) as caught:
        runner.run(text, **fields)
    return caught.value


def gone(pid):
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_what_a_program_leaves(runner):
    runner.run(WRITES + 'print("hello")\nprint("oh", file=sys.stderr)\nprint(sys.stdin.read() == "")')
    assert set(runner.file("log.txt").read_text().split()) == {"hello", "oh", "True"}
    arguments = shlex.split(runner.file("command.txt").read_text())
    assert arguments == [sys.executable, "-S", "-E", str(runner.folder / "main.py")]
    assert runner.file(".child.json").exists()


def test_exit_codes(runner):
    found = failure(runner, WRITES + 'print("geometry\\x1b[1m overlaps")\nsys.exit(3)')
    assert found.kind is Failure.EXIT
    assert "exit code 3, expected 0; its last words: geometry?[1m overlaps" in found.message
    assert len(runner.run(WRITES + "sys.exit(3)", success=[0, 3])["hits"]) == 3
    assert failure(runner, WRITES, success=[3]).kind is Failure.EXIT
    assert "SIGSEGV" in failure(runner, "sys.exit(139)").message


def test_death_by_a_signal(runner):
    found = failure(runner, WRITES + "os.kill(os.getpid(), 11)")
    assert found.kind is Failure.CRASH
    assert "SIGSEGV" in found.message
    assert failure(runner, "os.kill(os.getpid(), 9)").kind is Failure.CRASH
    assert len(runner.run(WRITES + "os.kill(os.getpid(), 6)", success=[0, -6])["hits"]) == 3


HANGS = """
if os.fork() == 0:
    if os.fork() == 0:
        open("grandchild.txt", "w").write(str(os.getpid()) + "\\n")
    while True: pass
import time
while not os.path.exists("grandchild.txt") or not open("grandchild.txt").read().endswith("\\n"): time.sleep(0.01)
"""


def test_a_hang_is_killed_with_all_that_it_started(runner):
    found = failure(runner, HANGS + "time.sleep(1000)", time_limit=1.5)
    assert found.kind is Failure.HANG
    assert "1.5 s" in found.message
    assert gone(int(runner.file("grandchild.txt").read_text()))


def test_what_stays_behind_a_success_is_killed_too(runner):
    assert len(runner.run(HANGS + WRITES)["hits"]) == 3
    assert gone(int(runner.file("grandchild.txt").read_text()))


def test_without_handles_of_processes(runner, monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert len(runner.run(WRITES, time_limit=60)["hits"]) == 3
    assert len(runner.run(WRITES)["hits"]) == 3
    assert failure(runner, "import time; time.sleep(1000)", time_limit=0.3).kind is Failure.HANG


def test_an_exception_while_waiting_kills_the_program(runner, monkeypatch):
    seen = []

    def interrupted(process, seconds):
        seen.append(process.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr("mode_opt.simulation.programs.running._ended", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.run("import time; time.sleep(1000)")
    assert gone(seen[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a running program")
def test_memory(runner):
    text = "import time\ntime.sleep(0.3)\nwaste = b'1' * 800_000_000\n" + WRITES
    found = failure(runner, text, memory_limit="300 MB")
    assert found.kind is Failure.EXIT
    assert "MemoryError" in found.message and "300 MB" in found.message
    assert len(runner.run(text, memory_limit="2 GB")["hits"]) == 3


def test_sizes():
    assert [bytes_of(text) for text in ("2 GB", "512 MiB", "1.5kB", None)] == [2 * 10**9, 2**29, 1500, None]
    for wrong in ("2", "GB", "2 gb", "-1 GB", "0 GB", 2e9):
        with pytest.raises(ConfigurationError, match="memory_limit"):
            bytes_of(wrong)


@pytest.mark.parametrize(
    "fields",
    [
        {"time_limit": 0},
        {"time_limit": float("nan")},
        {"time_limit": "60"},
        {"success": []},
        {"success": 0},
        {"memory_limit": "much"},
    ],
)
def test_limits_that_are_none(runner, fields):
    with pytest.raises(ConfigurationError):
        runner.work(**fields)


def test_programs_that_cannot_be_run_are_a_mistake_of_the_description(runner):
    for name, content, mode in (("none", None, 0), ("text", "#!/bin/sh\n", 0o644), ("odd", "\x7fno", 0o755)):
        if content is not None:
            (runner.folder / name).write_text(content)
            (runner.folder / name).chmod(mode)
        work = ExternalProgram([name], {"file": "a.csv", "hits": {"e": "e"}}, runner.folder)
        with pytest.raises(ConfigurationError, match=r"program\.command.*expected a program"):
            work.run(runner.job(), runner.run_folder)


def test_the_environment(runner):
    text = 'open("out.csv", "w").write("e\\n" + 3 * (os.environ["GAP"] + os.environ["HOME"] * 0 + "\\n"))'
    hits = runner.run(text, runner.job({"gap": 2.5}), environment={"GAP": "{{ gap }}"})["hits"]
    assert (hits == 2.5).all()
    assert "GAP=2.5" in shlex.split(runner.file("command.txt").read_text())
    with pytest.raises(ConfigurationError, match="variable"):
        runner.work(environment={"A=B": "1"})


def test_the_longest_of_logs_is_read_from_its_end(runner):
    found = failure(runner, 'print("x" * 10_000_000)\nprint("end")\nsys.exit(1)')
    assert found.message.endswith("end") and len(found.message) < 600


def test_signals_of_this_process_are_left_alone(runner):
    before = signal.getsignal(signal.SIGINT), Path.cwd()
    runner.run(WRITES)
    assert (signal.getsignal(signal.SIGINT), Path.cwd()) == before
