"""Methods for simulators that can only be called, side by side: how many calls until the design is good?

python scripts/benchmarks/black_box.py [--problems three_hump ...] [--methods regression ...] [--seeds 5]
    [--calls 1e5] [--seconds 600] [--workers 2] [--runs runs/black_box] [--retry]
python scripts/benchmarks/black_box.py --table

The first runs every method on every problem with every seed, writes one JSON file a run, skips runs that are there and
have spent such a budget (so that a killed command goes on where it was), and ends with the second, which makes the
table and the figures of all finished runs: black_box.csv (one row a run), black_box.md, black_box.png and
black_box_families.png in docs/benchmarks.

One simulator call is one simulated event; everything that a method simulates counts. The objective is the exact one of
the design that the method would answer with at that moment, which costs no calls and which no method sees. No method
can repeat the simulator's noise (only the reference "common seeds" can); the known inputs may be repeated.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from black_box_parts.figure import draw
from black_box_parts.methods import METHODS
from black_box_parts.problems import PROBLEMS
from black_box_parts.record import finished
from black_box_parts.schedule import carry_out
from black_box_parts.table import write

ROOT = Path(__file__).parents[2]


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), help="names, or module:function")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--calls", type=float, default=1e5)
    parser.add_argument("--seconds", type=float, default=600.0, help="CPU time of a run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "black_box")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument("--retry", action="store_true", help="repeat runs that failed")
    parser.add_argument("--table", action="store_true", help="only make the table and the figures")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    options = parsed(words)
    if not options.table:
        carry_out(options)
    runs = finished(options.runs)
    options.output.mkdir(parents=True, exist_ok=True)
    for path in (*write(runs, options.output), *draw(runs, options.output)):
        print(path)


if __name__ == "__main__":
    main()
