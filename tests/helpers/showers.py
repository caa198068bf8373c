"""The programs of detectors/external_example, run by hand."""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mode_opt.cli.compose import folder_of

PROGRAM = Path(folder_of("external_example")) / "program"
Run = Callable[..., tuple[np.ndarray, np.ndarray]]


def runner(command: Sequence[str], folder: Path) -> Run:
    """A function that runs the program with options and returns energies (GeV) and deposits (MeV) as it wrote them."""

    def run(**options: object) -> tuple[np.ndarray, np.ndarray]:
        output = folder / "output.csv"
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        arguments = [*command, "--output", str(output), *words]
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        table = np.loadtxt(output, delimiter=",", skiprows=1, ndmin=2)
        return table[:, 0], table[:, 1:]

    return run
