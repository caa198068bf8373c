"""Simulators that tests run in processes of their own: good ones and bad ones."""

import ctypes
import os
import subprocess
import sys
import time

import numpy as np


def bowl(design, primaries, events, seed, noise=0.3):
    """``(x − 1)² + 2 (y + 0.5)²`` with noise."""
    generator = np.random.default_rng(seed)
    level = (design["x"] - 1) ** 2 + 2 * (design["y"] + 0.5) ** 2
    return level + noise * generator.standard_normal(events)


class Counter:
    """Tells how often this instance was called, and in which process."""

    def __init__(self, start=0):
        self.calls = start

    def __call__(self, design, primaries, events, seed):
        self.calls += 1
        return np.tile([float(self.calls), float(os.getpid())], (events, 1))


class Leak:
    """Keeps what it was given, many times over."""

    def __init__(self):
        self.kept = []

    def __call__(self, design, primaries, events, seed):
        self.kept.append(np.ones(50_000_000))
        return np.full(events, float(len(self.kept)))


class Nested:
    class Inner:
        def __call__(self, design, primaries, events, seed):
            return np.ones(events)


def echo(design, primaries, events, seed, scale=1.0):
    """All that came in, as a mapping."""
    hits = np.stack([primaries["energy"] * scale, np.full(events, design["gap"][1]), np.full(events, seed)], 1)
    return {"hits": hits[:, :, None], "mask": np.array([[True, True, False]] * events), "weight": np.arange(events)}


def global_numbers(design, primaries, events, seed):
    return np.random.standard_normal(events)  # noqa: NPY002


def modules(design, primaries, events, seed):
    return np.full(events, float(any(name.split(".")[0] in ("torch", "mode_opt") for name in sys.modules)))


def chatter(design, primaries, events, seed):
    sys.stdout.write(f"seed {seed}\n")
    ctypes.CDLL(None).puts(b"from C")
    subprocess.run(["echo", "from a program"], check=True)
    if seed == 3:
        raise ValueError("the volumes overlap")
    return np.ones(events)


def segmentation_fault(design, primaries, events, seed):
    ctypes.string_at(0)


def hang(design, primaries, events, seed):
    with open("here", "w") as file:  # noqa: PTH123
        file.write(str(os.getpid()))
    time.sleep(600)


def hang_holding_the_lock(design, primaries, events, seed):
    """As a library that never lets Python's other threads run."""
    with open("here", "w") as file:  # noqa: PTH123
        file.write(str(os.getpid()))
    ctypes.PyDLL(None).sleep(600)


def leave(design, primaries, events, seed):
    os._exit(7) if design["how"] == "at once" else sys.exit(3)


def orphan_maker(design, primaries, events, seed):
    """Starts a program that outlives the job, and holds all that it inherits."""
    child = subprocess.Popen(["sleep", "600"], close_fds=False)
    with open("started", "w") as file:  # noqa: PTH123
        file.write(str(child.pid))
    if design["how"] == "crash":
        os.kill(os.getpid(), 9)
    return np.ones(events)


def raising(design, primaries, events, seed):
    raise KeyError("no such material")


def answers(design, primaries, events, seed):
    """What is not a result."""
    return {
        "nothing": None,
        "words": ["a"] * events,
        "objects": [object()] * events,
        "a number": 1.0,
        "four axes": np.ones((events, 1, 1, 1)),
        "misspelt": {"hits": np.ones(events), "weights": np.ones(events)},
        "short": np.ones(events - 1),
        "NaN": np.where(np.arange(events) == 1, np.nan, 1.0),
        "mask": {"hits": np.ones((events, 2)), "mask": np.ones(events)},
    }[design["what"]]
