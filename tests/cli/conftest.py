import os
import subprocess
import sys
from pathlib import Path

import pytest

FAST = ["simulator=parametric", "experiment=smoke"]


@pytest.fixture
def command(tmp_path):
    """Run ``mode-opt`` as a user would, in an empty folder; returns the finished process."""

    def run(*arguments: str, check: bool = True, cwd: Path = tmp_path, **environment: str):
        done = subprocess.run(
            [sys.executable, "-m", "mode_opt.cli", *arguments],
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def start(tmp_path):
    """Start ``mode-opt`` and leave it running."""
    processes = []

    def run(*arguments: str):
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
