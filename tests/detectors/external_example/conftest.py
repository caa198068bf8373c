import subprocess
import sys

import pytest
from showers import PROGRAM, runner


@pytest.fixture(scope="session")
def binary(tmp_path_factory):
    """The C++ program, compiled by its own script."""
    target = tmp_path_factory.mktemp("binary") / "shower"
    done = subprocess.run(["sh", str(PROGRAM / "build.sh"), str(target)], capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(target)
    return target


@pytest.fixture(params=["python", "cpp"])
def program(request):
    """The program in either language, as a list of arguments."""
    if request.param == "python":
        return [sys.executable, str(PROGRAM / "shower.py")]
    return [str(request.getfixturevalue("binary"))]


@pytest.fixture
def shower(program, tmp_path):
    """Runs the program with options."""
    return runner(program, tmp_path)
