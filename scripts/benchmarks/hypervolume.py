"""Fronts of several goals from few simulator calls: the search for hypervolume, a sweep of limits, random designs.

python scripts/benchmarks/hypervolume.py [--problems bowls sphere calorimeter] [--methods hypervolume sweep random]
    [--seeds 3] [--runs runs/hypervolume] [--output docs/benchmarks] [--table]

Runs that are there (one JSON file each) are not repeated; writes hypervolume.md and hypervolume.png, with ``--table``
nothing else.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from hypervolume_parts.methods import METHODS, Run, carried_out
from hypervolume_parts.page import write
from hypervolume_parts.problems import PROBLEMS

ROOT = Path(__file__).parents[2]


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "hypervolume")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument("--table", action="store_true", help="only write table and figure")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    torch.set_num_threads(1)
    options = parsed(words)
    options.runs.mkdir(parents=True, exist_ok=True)
    wanted = [(s, p, m) for s in range(options.seeds) for p in options.problems for m in options.methods]
    for seed, problem, method in [] if options.table else wanted:
        path = options.runs / f"{problem}_{method}_{seed}.json"
        if not path.exists():
            run = carried_out(problem, method, seed)
            path.write_text(json.dumps(run.as_dict()))
            print(
                f"{problem:12} {method:12} seed {seed}: {run.shares[-1]:.3f}, {run.seconds:.2f} s a design", flush=True
            )
    for page in write([Run(**json.loads(path.read_text())) for path in options.runs.glob("*.json")], options.output):
        print(page)


if __name__ == "__main__":
    main()
