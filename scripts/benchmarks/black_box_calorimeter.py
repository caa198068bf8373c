"""The sampling calorimeter with its shower declared black box: generative surrogate, regression of J, and pathwise.

python scripts/benchmarks/black_box_calorimeter.py [--cases rms quantile layers] [--methods pathwise surrogate ...]
    [--seeds 3] [--calls 2e5] [--runs runs/black_box_calorimeter]
python scripts/benchmarks/black_box_calorimeter.py --table

The first makes every run that is not there, one JSON file each (a killed command goes on where it was), measures the
designs on its way with fresh reconstructions, and ends with the second, which writes black_box_calorimeter.csv, .md and
.png to docs/benchmarks.

Start: 4.5 mm absorber, 2.5 mm gap; length <= 400 mm. Every event that is simulated counts, those that train the
reconstruction included. The measurement does not: two fresh reconstructions of 600 x 1024 events at exactly the
design, 40 000 other events, the same primaries and seeds for all designs, so that differences are paired.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from calorimeter_parts.runs import Run, Thoroughness, measure, optimised
from calorimeter_parts.setting import CASES, METHODS
from calorimeter_parts.summary import write

ROOT = Path(__file__).parents[2]
BUDGETS = (2e4, 5e4, 1e5, 2e5)


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--calls", type=float, default=BUDGETS[-1])
    parser.add_argument("--thoroughness", nargs=4, type=int, default=[600, 1024, 40_000, 2], help="of measurements")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "black_box_calorimeter")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument("--table", action="store_true", help="only write table and figure")
    return parser.parse_args(words)


def perform(case: str, method: str, seed: int, options: argparse.Namespace) -> Run:
    """Make or read a run and measure what is still unmeasured; written after each measurement."""
    path = options.runs / Run(case, method, seed, options.calls).path
    run = Run.read(path) if path.exists() else None
    if run is None or (run.budget < options.calls and METHODS[method].search is not None and not run.message):
        run = optimised(case, method, seed, options.calls)
        run.write(options.runs)
    last = [run.calls[-1]] if METHODS[method].search is None else [b for b in BUDGETS if b <= options.calls]
    for calls in last:
        if measure(run, calls, Thoroughness(*options.thoroughness)):
            run.write(options.runs)
    return run


def main(words: Sequence[str] | None = None) -> None:
    torch.set_num_threads(1)
    options = parsed(words)
    wanted = [(c, m, s) for s in options.seeds for c in options.cases for m in options.methods]
    for case, method, seed in [] if options.table else wanted:
        run = perform(case, method, seed, options)
        end = f"{run.calls[-1]:.0f} calls, {run.seconds[-1]:.0f} s {run.message}"
        print(f"{case}, {method}, seed {seed}: {end}", flush=True)
    runs = [Run.read(path) for path in sorted(options.runs.glob("*/*.json"))]
    options.output.mkdir(parents=True, exist_ok=True)
    for path in write(runs, options.output):
        print(path)


if __name__ == "__main__":
    main()
