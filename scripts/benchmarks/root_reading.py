"""Events per second of `mode_opt.data` against bare uproot, on the same file and branches, and peak memory.

Pairs are timed one after the other in one run, so that a busy machine slows both; the ratio is the median of
the repeats. "columns" compares what uproot delivers (awkward arrays) with our tensors and offsets; "padded"
compares hits padded to tensors with mask, by awkward's own functions and by ours.

    python scripts/benchmarks/root_reading.py [--entries 1000000] [--repeats 7]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import torch
import uproot

from mode_opt.data import EventAssembler, RootReader

HITS = 24
STEP = 100_000
SCAN = Path(__file__).parents[2] / "detectors/sampling_calorimeter/data/em_showers_scan.root"


def write_sample(path: Path, entries: int, rntuple: bool) -> None:
    """``entries`` events with an energy, a weight and jagged cells (6 on average, position and energy)."""
    generator = np.random.default_rng(1)
    counts = generator.poisson(6, STEP)
    cells = {name: generator.normal(size=counts.sum()).astype(np.float32) for name in ("cell_x", "cell_e")}
    piece = {
        "energy": generator.exponential(10.0, STEP).astype(np.float32),
        "weight": np.ones(STEP, np.float32),
        **{name: ak.unflatten(values, counts) for name, values in cells.items()},
    }
    with uproot.recreate(path) as file:
        if rntuple:
            writer = file.mkrntuple("events", piece)
        else:
            flat = {"energy": "f4", "weight": "f4"}
            jagged = dict.fromkeys(cells, "var * float32")
            writer = file.mktree("events", {**flat, **jagged})
            writer.extend(piece)
        for _ in range(entries // STEP - 1):
            writer.extend(piece)


def bare(path: Path, branches: list[str], consume: Callable) -> int:
    """uproot alone."""
    count = 0
    with uproot.open(path) as file:
        for arrays in file[file.keys()[0]].iterate(branches, step_size=STEP):
            consume(arrays)
            count += len(arrays)
    return count


def ours(path: Path, branches: list[str], consume: Callable) -> int:
    """Through `RootReader`."""
    count = 0
    for columns in RootReader(path, branches, chunk_entries=STEP).chunks():
        consume(columns)
        count += len(columns)
    return count


def padded_by_awkward(arrays: ak.Array) -> tuple[torch.Tensor, torch.Tensor]:
    """The same hits with the functions of awkward: ``n x h x f``, and the mask."""
    names = ("cell_x", "cell_e")
    zero = np.float32(0)
    padded = [ak.fill_none(ak.pad_none(arrays[name], HITS, clip=True), zero) for name in names]
    stacked = torch.stack([torch.from_numpy(np.asarray(ak.to_numpy(each))) for each in padded], dim=-1)
    counts = torch.from_numpy(ak.to_numpy(ak.num(arrays[names[0]])))
    return stacked, torch.arange(HITS) < counts[:, None]


def compare(label: str, path: Path, branches: list[str], repeats: int, consumers: tuple[Callable, Callable]) -> None:
    """One row of the table."""
    rates: list[tuple[float, float]] = []
    for repeat in range(repeats + 1):
        pair = []
        for read, consume in zip((bare, ours), consumers, strict=True):
            start = time.perf_counter()
            count = read(path, branches, consume)
            pair.append(count / (time.perf_counter() - start))
        if repeat:  # the first pair warms the disk cache and the imports
            rates.append((pair[0], pair[1]))
    theirs, mine = (statistics.median(each) for each in zip(*rates, strict=True))
    ratio = statistics.median(right / left for left, right in rates)
    print(f"{label:34s} {theirs:14,.0f} {mine:14,.0f} {ratio:8.2f}")


def peak_kilobytes() -> int:
    """Peak memory of this process; ``ru_maxrss`` would count that of the process which started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def peak(path: Path, how: str) -> None:
    """In a child process: print the growth of the peak memory in MB."""
    branches = ["energy", "weight", "cell_x", "cell_e"]
    uproot.open(path)["events"]
    before = peak_kilobytes()
    if how == "stream":
        ours(path, branches, lambda columns: None)
    elif how == "read":
        RootReader(path, branches).read()
    else:
        uproot.open(path)["events"].arrays(branches)
    print(round((peak_kilobytes() - before) / 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the generated files")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peak", nargs=2, metavar=("FILE", "HOW"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak:
        return peak(Path(arguments.peak[0]), arguments.peak[1])
    nothing = (lambda arrays: None, lambda columns: None)
    assemble = EventAssembler(["energy"], ["cell_x", "cell_e"], weight="weight", maximum_hits=HITS)
    branches = ["energy", "weight", "cell_x", "cell_e"]
    with tempfile.TemporaryDirectory() as folder:
        files = {kind: Path(folder) / f"{kind}.root" for kind in ("TTree", "RNTuple")}
        for kind, path in files.items():
            write_sample(path, arguments.entries, kind == "RNTuple")
        print(f"{'events per second':34s} {'uproot':>14s} {'mode_opt':>14s} {'ratio':>8s}")
        for kind, path in files.items():
            compare(f"{kind}, columns", path, branches, arguments.repeats, nothing)
            compare(f"{kind}, padded", path, branches, arguments.repeats, (padded_by_awkward, assemble))
        compare("shower scan, columns", SCAN, ["primary_energy", "edep_gap"], arguments.repeats, nothing)
        print(f"\n{'peak memory above start, MB':34s} {'arrays()':>14s} {'read()':>14s} {'streaming':>14s}")
        for kind, path in files.items():
            row = [
                subprocess.run(
                    [sys.executable, __file__, "--peak", str(path), how],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout.strip()
                for how in ("arrays", "read", "stream")
            ]
            print(
                f"{kind + ', ' + str(arguments.entries) + ' entries':34s} " + " ".join(f"{each:>14s}" for each in row)
            )


if __name__ == "__main__":
    main()
