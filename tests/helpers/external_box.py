"""A simulator that knows nothing of torch, run in a process of its own."""

import atexit
import shutil
import tempfile
from pathlib import Path

import numpy as np


def gauge(design, primaries, events, seed):
    """One hit an event: energy times the sum of the design's parameters, with 1 % noise."""
    noise = np.random.default_rng(seed).standard_normal(events)
    energy = np.asarray(primaries["energy"]).reshape(events, -1)[:, 0]
    return energy * sum(np.sum(value) for value in design.values()) * (1 + 0.01 * noise)


def simulator():
    """Its results are in a folder that goes with this process."""
    from mode_opt.campaigns import Campaign, Serial
    from mode_opt.simulation import ExternalSimulator, PythonFunction

    folder = tempfile.mkdtemp(prefix="mode_opt_test_store")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    work = PythonFunction("external_box:gauge", path=[str(Path(__file__).parent)])
    return ExternalSimulator(work, cells=1, campaign=Campaign(folder, Serial()))
