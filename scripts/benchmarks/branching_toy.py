"""Gradient estimators on the branching toys of arXiv 2308.16680: noise and cost at one design, and its optimisation.

python scripts/benchmarks/branching_toy.py [--variants shower energy_loss] [--batches 100] [--events 1000]
python scripts/benchmarks/branching_toy.py --optimise [--repeats 10] [--gradients score_function]

The first prints for each estimator the mean gradient with its standard error, the standard deviation of one event,
particle-steps and microseconds an event, and ``rel``, variance times particle-steps relative to the score
function with the leave-one-out baseline alone. Estimators are files of conf/gradient, with options as in
``finite_differences:step=0.05``; the default is all that fit a stochastic simulator, and some options. The second
repeats the optimisation of the paper: Adam with learning rate 0.01 from θ = 3 mm, 2 events a step, 500 steps.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import final

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.detectors.branching_toy import REFERENCES, TruthAt, branching_toy
from mode_opt.errors import ConfigurationError, ModeOptError
from mode_opt.events import Events
from mode_opt.experiment import Detector
from mode_opt.gradients import Automatic, GradientEstimator
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import BranchingProgram, Choices, State, Step, stream

FOLDER = Path(__file__).parents[2] / "conf" / "gradient"
YARDSTICK = "score_function:controls=false"
FEW_EVENTS = ("score_function",)
OPTIONS = (
    YARDSTICK,
    "score_function:baseline=none,controls=false",
    "finite_differences:step=0.025",
    "finite_differences:step=0.1",
)


@final
class CountedSteps(BranchingProgram):
    """The same program with a count of its particle-steps, those of alternatives included."""

    def __init__(self, program: BranchingProgram) -> None:
        super().__init__(program.cells, program.features, program.capacity, controls=program.controls)
        self.program, self.particle_steps = program, 0

    def start(self, phi: DesignPoint, primaries: Events, choices: Choices) -> tuple[Tensor, State]:
        return self.program.start(phi, primaries, choices)

    def step(self, phi: DesignPoint, state: State, choices: Choices) -> Step:
        self.particle_steps += choices.shape.numel()
        return self.program.step(phi, state, choices)


def estimator(specification: str) -> GradientEstimator:
    """From ``name`` or ``name:option=value,...``."""
    name, _, options = specification.partition(":")
    if not (FOLDER / f"{name}.yaml").is_file():
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.yaml")))
        raise ConfigurationError("--gradients", name, f"one of {known}")
    changes = OmegaConf.from_dotlist(options.split(",") if options else [])
    found: GradientEstimator = instantiate(OmegaConf.merge(OmegaConf.load(FOLDER / f"{name}.yaml"), changes))
    return found


def fitting() -> list[str]:
    """Every estimator of conf/gradient that can use the toy, the yardstick first, and `OPTIONS`."""
    program, names = branching_toy().simulator(), []
    for path in sorted(FOLDER.glob("*.yaml")):
        try:
            candidate = estimator(path.stem)
            candidate.check(program)
        except ConfigurationError:
            continue
        if not isinstance(candidate, Automatic):
            names.append(path.stem)
    return [*OPTIONS[:2], *names, *OPTIONS[2:]]


class Toy:
    """A detector, with gradients in the physical parameter."""

    def __init__(self, variant: str) -> None:
        self.detector: Detector = branching_toy(variant=variant)
        program = self.detector.simulator()
        if not isinstance(program, BranchingProgram):
            raise ConfigurationError("simulator", type(program).__name__, "a BranchingProgram")
        self.program, self.design, self.belief = CountedSteps(program), self.detector.design, PriorBelief()

    def move(self, theta: float) -> None:
        self.design.assign({"inner_radius": theta})

    def score(self, events: Events, phi: DesignPoint) -> Tensor:
        return self.detector.objective(events, self.belief(events, phi), phi)

    def gradient(self, chosen: GradientEstimator, count: int, *labels: str | int) -> tuple[float, float]:
        """Objective and its derivative with respect to θ (mm), from ``count`` primaries."""
        generator = stream("cpu", 0, *labels)
        primaries = self.detector.primaries.sample(count, generator)
        loss = chosen.loss(self.program, self.design, primaries, self.score, generator)
        (slope,) = torch.autograd.grad(loss, self.design.psi)
        return float(loss.detach()), float(slope) / jacobian(self.design)


def jacobian(design: Design) -> float:
    """dθ/dψ."""
    (slope,) = torch.autograd.grad(design().values.sum(), design.psi)
    return float(slope)


def compare(variant: str, names: Sequence[str], batches: int, events: int) -> None:
    """Print the table of one toy."""
    toy, known = Toy(variant), REFERENCES[variant]
    toy.move(known.inner_radius)
    print(f"\n{variant}, θ = {known.inner_radius} mm, {batches} batches of {events} events; ", end="")
    print(f"reference {known.gradient} ± {known.gradient_error}; 1 in ψ is {jacobian(toy.design):.3f} mm here\n")
    print("| estimator | E[f] | mean ± sem | pull | sd of an event | steps/event | μs/event | rel |")
    print("|---|---|---|---|---|---|---|---|")
    unit = math.nan
    for name in names:
        try:
            row, cost = measured(toy, known, estimator(name), batches, events)
        except ModeOptError as error:
            print(f"| `{name}` | refused: {error} |", flush=True)
            continue
        unit = cost if math.isnan(unit) else unit
        print("| " + " | ".join([f"`{name}`", *row, f"{cost / unit:.3f}"]) + " |", flush=True)


def measured(toy: Toy, known: TruthAt, chosen: GradientEstimator, batches: int, events: int) -> tuple[list[str], float]:
    """Columns of the table, and variance times particle-steps of an event."""
    toy.program.particle_steps, begin, total = 0, time.perf_counter(), batches * events
    pairs = torch.tensor([toy.gradient(chosen, events, "compare", k) for k in range(batches)], dtype=torch.float64)
    seconds, steps = time.perf_counter() - begin, toy.program.particle_steps / total
    value, mean = pairs.mean(0).tolist()
    spread = float(pairs[:, 1].std()) * events**0.5
    error = spread / total**0.5
    pull = (mean - known.gradient) / math.hypot(error, known.gradient_error)
    row = [f"{value:.4f}", f"{mean:.3f} ± {error:.3f}", f"{pull:+.1f}", f"{spread:.2f}", f"{steps:.0f}"]
    return [*row, f"{1e6 * seconds / total:.0f}"], spread**2 * steps


def optimise(variant: str, name: str, options: argparse.Namespace) -> None:
    """Print how the optimisations of the paper end."""
    toy, chosen, ends, designs, reached = Toy(variant), estimator(name), [], [], []
    begin, toy.program.particle_steps = time.perf_counter(), 0
    for repeat in range(options.repeats):
        values, theta = descent(toy, chosen, options, repeat)
        ends.append(values[-50:].mean())
        designs.append(theta)
        running = values.unfold(0, 20, 1).mean(1) < 0.5
        reached.append(int(running.nonzero()[0]) + 20 if bool(running.any()) else math.inf)
        print(f"repeat {repeat}: {float(ends[-1]):.3f} at {theta:.2f} mm", file=sys.stderr, flush=True)
    last, where = torch.stack(ends), torch.tensor(designs)
    deviation = float(last.std()) if options.repeats > 1 else math.nan
    row = [f"{float(last.mean()):.3f} ({deviation:.3f})", f"{float(where.mean()):.2f}"]
    row += [f"{min(reached)} to {max(reached)}", f"{toy.program.particle_steps:.2e}"]
    row += [f"{time.perf_counter() - begin:.0f}"]
    print("| " + " | ".join([variant, f"`{name}`", *row]) + " |", flush=True)


def descent(toy: Toy, chosen: GradientEstimator, options: argparse.Namespace, repeat: int) -> tuple[Tensor, float]:
    """One optimisation in θ itself: the objective of the events of each step, and the last θ."""
    theta = torch.nn.Parameter(torch.tensor(3.0))
    adam, values = torch.optim.Adam([theta], lr=0.01), []
    for step in range(options.steps):
        toy.move(float(theta.detach()))
        value, slope = toy.gradient(chosen, options.events, "optimise", repeat, step)
        theta.grad = torch.tensor(slope)
        adam.step()
        theta.data.clamp_(0.21, 3.99)
        values.append(value)
    return torch.tensor(values), float(theta.detach())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=None, choices=tuple(REFERENCES))
    parser.add_argument("--gradients", nargs="+", default=None)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--events", type=int, default=None, help="of a batch; 1000, or 2 with --optimise")
    parser.add_argument("--optimise", action="store_true")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} CPU thread(s)")
    if not options.optimise:
        for variant in options.variants or tuple(REFERENCES):
            compare(variant, options.gradients or fitting(), options.batches, options.events or 1000)
        return
    options.events = options.events or 2
    what = f"{options.events} events a step, {options.steps} steps, {options.repeats} repeats"
    print(f"\nAdam, learning rate 0.01, {what}\n")
    print(
        "| toy | estimator | mean f of the last 50 steps (sd) | last θ (mm) | steps to f < 0.5 | particle-steps | s |"
    )
    print("|---|---|---|---|---|---|---|")
    for variant in options.variants or ("shower",):
        for name in options.gradients or FEW_EVENTS:
            optimise(variant, name, options)


if __name__ == "__main__":
    main()
