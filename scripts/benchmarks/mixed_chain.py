"""A chain differentiable -> black box -> random counts, against its twin without a black box.

python scripts/benchmarks/mixed_chain.py [--seeds 5] [--methods local_surrogate ...] [--runs runs/mixed_chain] [--table]

Each method from the same start; the exact objective of its answer after each step costs no calls and is seen by no
method. Finished runs (one JSON file each) are skipped; writes docs/benchmarks/mixed_chain.md.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mode_opt.detectors.benchmarks import mixed_chain
from mode_opt.experiment import Alternation, Effort, Experiment, Optimisers
from mode_opt.gradients import (
    Descent,
    DesignSearch,
    GradientEstimator,
    LocalRegression,
    LocalSurrogate,
    PrunedAlternative,
    ScoreFunction,
)
from mode_opt.surrogates import gaussian

ROOT = Path(__file__).parents[2]
GAPS = (0.1, 0.03, 0.01)
EVENTS, RATE = 512, 0.05
"""Of a gradient of the twin, and of its Adam."""


@dataclass(frozen=True)
class Method:
    """How the design is moved.

    Attributes:
        label: in the table.
        simulator: ``chain`` or ``twin``.
        make: the gradient or search.
        calls: budget.
    """

    label: str
    simulator: str
    make: Callable[[], GradientEstimator | DesignSearch]
    calls: int


def local_surrogate() -> LocalSurrogate:
    """The crystal has an edge, for which the default network is too small; the valley has a condition number of 390."""
    training = {"steps": 600, "patience": 10, "weight_decay": 1e-3}
    copy = partial(gaussian, hidden=64, training=training)
    return LocalSurrogate(copy, largest_radius=0.3, descent=Descent(steps=25, method="quasi_newton"))


METHODS: Mapping[str, Method] = {
    "local_surrogate": Method("`LocalSurrogate`, crystal a black box", "chain", local_surrogate, 4_000),
    "local_regression": Method("`LocalRegression`, all a black box", "chain", LocalRegression, 10_000),
    "pruned_alternative": Method("twin, `PrunedAlternative` and Adam", "twin", PrunedAlternative, 100_000),
    "score_function": Method("twin, `ScoreFunction` (auto) and Adam", "twin", ScoreFunction, 100_000),
}


def run(name: str, seed: int) -> dict[str, Any]:
    """Calls and gap of the answer after each step; the last design and the CPU seconds."""
    method, problem = METHODS[name], mixed_chain()
    torch.manual_seed(seed)
    experiment = Experiment.of(problem.detector, method.simulator, method.make())
    alternation = Alternation(experiment, Effort(events=EVENTS, warm_up=0, reconstruction_steps=0), seed)
    idle = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    optimisers = Optimisers(idle, torch.optim.Adam([experiment.design.psi], lr=RATE))
    list(alternation.warm_up(optimisers))
    calls, gaps, begin = [], [], time.process_time()
    while experiment.simulator_calls < method.calls:
        alternation.step(optimisers)
        calls.append(experiment.simulator_calls)
        gaps.append(float(problem.truth.exact_objective(alternation.design)[0]) - problem.truth.optimum)
    seconds = time.process_time() - begin
    design = alternation.design.values[0].tolist()
    return {"method": name, "seed": seed, "calls": calls, "gaps": gaps, "design": design, "seconds": seconds}


def reached(found: Mapping[str, Any], gap: float) -> float:
    """Calls after which the answer stays within a gap."""
    above = [index for index, value in enumerate(found["gaps"]) if value > gap]
    following = above[-1] + 1 if above else 0
    return found["calls"][following] if following < len(found["calls"]) else float("inf")


def _number(value: float) -> str:
    return "not" if value == float("inf") else f"{value:,.0f}".replace(",", " ")


def row(name: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """One line of the table: medians over the seeds, mean and standard deviation of the parameters."""
    cells = [METHODS[name].label, str(len(runs))]
    cells += [_number(statistics.median(reached(found, gap) for found in runs)) for gap in GAPS]
    last = sorted(found["gaps"][-1] for found in runs)
    cells += [_number(runs[0]["calls"][-1]), f"{statistics.median(last):.4f} ({last[0]:.4f}–{last[-1]:.4f})"]
    columns = zip(*(found["design"] for found in runs), strict=True)
    cells += [f"{statistics.mean(c):.4g} ± {statistics.stdev(c) if len(c) > 1 else 0:.2g}" for c in columns]
    seconds = statistics.median(found["seconds"] for found in runs)
    return "| " + " | ".join([*cells, f"{seconds:.0f}"]) + " |"


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """The page."""
    truth = mixed_chain().truth
    best = " | ".join(f"{value:.4g}" for value in truth.designs[0].tolist())
    names = [name for name in METHODS if any(found["method"] == name for found in runs)]
    rows = [row(name, [found for found in runs if found["method"] == name]) for name in names]
    gaps = " | ".join(f"to {gap:g}" for gap in GAPS)
    head = f"| method | seeds | {gaps} | calls | gap at the end | degrader | crystal | voltage | scale | CPU s |"
    lines = [TEXT.format(optimum=truth.optimum, start=truth.start, events=EVENTS, rate=RATE), head]
    lines += ["|" + "---|" * (head.count("|") - 1), *rows]
    return "\n".join([*lines, f"| exact | | | | | | 0 | {best} | |", ""])


TEXT = """# A black box between a differentiable part and a counter

`python scripts/benchmarks/mixed_chain.py` on `mixed_chain` (see `detectors/benchmarks/README.md`): a degrader,
a crystal as a black box, a Poisson counter written in choices; design parameters (mm, mm, V, MeV) on each. The
optimum {optimum:.5f} and its design are known from the exact objective of the fully differentiable twin; the start
has {start:.2f}. "to g": simulated events after which the exact objective of the answer stays within g of the optimum,
median of the seeds. Parameters: mean and standard deviation over the seeds of the design at the end. The twin's
gradients are of {events} events a step, with Adam at {rate:g} (ψ). Gaps at the end are median (lowest–highest).

"""


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "mixed_chain")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks" / "mixed_chain.md")
    parser.add_argument("--table", action="store_true", help="only make the table")
    options = parser.parse_args(words)
    options.runs.mkdir(parents=True, exist_ok=True)
    for name in [] if options.table else options.methods:
        for seed in range(options.seeds):
            path = options.runs / f"{name}_{seed}.json"
            if not path.exists():
                path.write_text(json.dumps(run(name, seed)))
    files = sorted(options.runs.glob("*.json"))
    options.output.write_text(table([json.loads(path.read_text()) for path in files]))
    print(options.output)


if __name__ == "__main__":
    main()
