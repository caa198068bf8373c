import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mode_opt.cli import main


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """``mode-opt`` in this process, in an empty folder; returns exit code and what was printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODE_OPT_DETECTORS", "")
    path = list(sys.path)

    def run(*arguments: str, check: bool = True) -> SimpleNamespace:
        capfd.readouterr()
        try:
            code = main(list(arguments))
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capfd.readouterr()
        if check:
            assert code == 0, printed.out + printed.err
        return SimpleNamespace(returncode=code, stdout=printed.out, stderr=printed.err)

    yield run
    sys.path[:] = path


@pytest.fixture
def start(tmp_path):
    """Start ``mode-opt`` in a process of its own and leave it running."""
    processes = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "mode_opt.cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
