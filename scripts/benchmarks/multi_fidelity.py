"""How many calls of a dear simulator does a cheap one save?

python scripts/benchmarks/multi_fidelity.py [--seeds 5] [--calls 1500] [--ratio 10] [--runs FOLDER] [--table]

`LocalSurrogate` on rosenbrock_10 with surrogates that learn from the dear simulator alone, or from `ratio` events of a
cheap one for each of it first (`refined`): one that is right, one that is 10 to 20 % wrong, one that is upside down.
Finished runs (one JSON file each) are skipped; writes docs/benchmarks/multi_fidelity.md.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from mode_opt.detectors.benchmarks import Landscape, LatentResponse, Rosenbrock, rosenbrock_10
from mode_opt.experiment import Alternation, Effort, Experiment, Optimisers
from mode_opt.gradients import LocalSurrogate, Sampling
from mode_opt.surrogates import gaussian, refined

ROOT = Path(__file__).parents[2]
GOALS = (5.0, 2.0, 1.0, 0.5)
BATCH = 80
"""Dear events before each step, at first: small, because a cheap simulator makes up for few of them."""
DIMENSION = 10


@final
class Biased(Landscape):
    """A wrong Rosenbrock's function, shifted: ``scale Σ 1.2 (z' − 0.9 z²)² + 0.85 (1.1 − z)² + 3``."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    @property
    def optima(self) -> Tensor:
        return torch.zeros(0, DIMENSION, dtype=torch.float64)  # nobody asks

    def forward(self, point: Tensor) -> Tensor:
        before, after = point[:, :-1], point[:, 1:]
        each = 1.2 * (after - 0.9 * before**2) ** 2 + 0.85 * (1.1 - before) ** 2
        return self.scale * each.sum(1) + 3.0


CHEAP: Mapping[str, tuple[str, Callable[[], Landscape] | None]] = {
    "alone": ("none", None),
    "equal": ("right", lambda: Rosenbrock(DIMENSION)),
    "biased": ("coefficients 10 to 20 % wrong, shifted by 3", Biased),
    "reversed": ("the same upside down", partial(Biased, -1.0)),
}


def search(name: str, ratio: int) -> LocalSurrogate:
    """With surrogates that know a cheap simulator, or none."""
    landscape = CHEAP[name][1]
    if landscape is None:
        return LocalSurrogate(gaussian, sampling=Sampling(calls=BATCH))
    factory = partial(refined, cheap=LatentResponse(landscape()), surrogate=gaussian, ratio=ratio)
    return LocalSurrogate(factory, sampling=Sampling(calls=BATCH))


def run(name: str, seed: int, calls: float, ratio: int) -> dict[str, Any]:
    """Calls of both simulators and exact objective of the answer, after each step."""
    problem = rosenbrock_10()
    torch.manual_seed(seed)
    experiment = Experiment.of(problem.detector, gradient=search(name, ratio))
    alternation = Alternation(experiment, Effort(warm_up=0, reconstruction_steps=0), seed)
    idle = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    found: dict[str, Any] = {"cheap": name, "seed": seed, "calls": [], "objective": [], "cheap_calls": 0.0}
    list(alternation.warm_up(Optimisers(idle, idle)))
    while experiment.simulator_calls < calls:
        record = alternation.step(Optimisers(idle, idle))
        found["calls"].append(experiment.simulator_calls)
        found["objective"].append(float(problem.truth.exact_objective(alternation.design)[0]))
        found["cheap_calls"] = record.columns.get("cheap_calls", 0.0)
        if found["objective"][-1] <= GOALS[-1]:
            break
    return found


def reached(found: Mapping[str, Any], goal: float) -> float:
    """Dear calls to the first answer that is as good."""
    pairs = zip(found["calls"], found["objective"], strict=True)
    return next((calls for calls, value in pairs if value <= goal), float("inf"))


def row(name: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """One line of the table: medians over the seeds."""
    medians = [statistics.median(reached(found, goal) for found in runs) for goal in GOALS]
    cells = [CHEAP[name][0], str(len(runs)), *("not" if m == float("inf") else f"{m:.0f}" for m in medians)]
    last = statistics.median(found["objective"][-1] for found in runs)
    cells += [f"{last:.2f} after {statistics.median(found['calls'][-1] for found in runs):.0f}"]
    return "| " + " | ".join([*cells, f"{statistics.median(found['cheap_calls'] for found in runs):.0f}"]) + " |"


TEXT = """# Learning from a cheap simulator first

`python scripts/benchmarks/multi_fidelity.py`: `LocalSurrogate` on `rosenbrock_10` (start 45, optimum 0), whose
surrogates learn from the dear simulator alone, or start from the mean of ten times as many events of a cheap one
(`mode_opt.surrogates.refined`). Calls of the dear simulator until the exact objective of the answer is as good, medians
of the seeds; runs end at the last goal or after 1500 calls.

"""


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """The page."""
    names = [name for name in CHEAP if any(found["cheap"] == name for found in runs)]
    head = f"| cheap simulator | seeds | {' | '.join(f'to {goal:g}' for goal in GOALS)} | at the end | cheap calls |"
    rows = [row(name, [found for found in runs if found["cheap"] == name]) for name in names]
    return TEXT + "\n".join([head, "|" + "---|" * (head.count("|") - 1), *rows, ""])


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cheap", nargs="+", default=list(CHEAP), choices=list(CHEAP))
    parser.add_argument("--calls", type=float, default=1500)
    parser.add_argument("--ratio", type=int, default=10)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "multi_fidelity")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks" / "multi_fidelity.md")
    parser.add_argument("--table", action="store_true", help="only make the table")
    options = parser.parse_args(words)
    options.runs.mkdir(parents=True, exist_ok=True)
    for seed in range(0 if options.table else options.seeds):
        for name in options.cheap:
            path = options.runs / f"{name}_{seed}.json"
            if not path.exists():
                path.write_text(json.dumps(run(name, seed, options.calls, options.ratio)))
    files = sorted(options.runs.glob("*.json"))
    options.output.write_text(table([json.loads(path.read_text()) for path in files]))
    print(options.output)


if __name__ == "__main__":
    main()
