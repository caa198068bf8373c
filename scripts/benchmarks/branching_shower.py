"""Speed and memory of branching showers and of one gradient through them, as the tables of docs/benchmarks.md.

    python scripts/benchmarks/branching_shower.py [--device cpu|cuda] [--events 16 64 256 1024 4096]

Columns: shower particles a second (what a simulation creates above the cuts, primaries included, and what an
estimator simulates for alternatives or displaced designs too), milliseconds an event, and peak memory above that
of a warmed-up process. Each estimator runs in a process of its own, batch sizes rising, so that each peak is its own;
time is that of the process on the CPU (one thread), of the clock on CUDA. The second table cuts the same matter into
more layers, so that the same showers take more steps: once with scores summed step by step, once with everything
recorded by automatic differentiation.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.detectors.branching_shower import branching_shower
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.experiment import Detector
from mode_opt.gradients import GradientEstimator
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import BranchingProgram, Choices, State, Step, stream

VARIANTS = Path(str(files("mode_opt.detectors.branching_shower"))) / "conf" / "detector"
GRADIENTS = Path(__file__).parents[2] / "conf" / "gradient"
DEPTH = {"resolution": None, "shower_depth": {"target": 120.0}}
"""For two parameters, so that no network takes part."""

ESTIMATORS = ("forward", "score_function", "lineage_credit", "pruned_alternative", "finite_differences")
WARM_UP = 8
"""Events of the first call of a process, which is not measured."""

REPEATS, ENOUGH = 3, 1.0
"""Calls that are averaged, and seconds after which no further one is made."""

FITTED = 256
"""Batches from here on give the memory per particle; smaller ones hide below what the process has anyway."""

CUTS = (1, 2, 4)
"""Into how many layers each layer is cut, and so many times thinner ones."""


@final
class CountedParticles(BranchingProgram):
    """The same program with a count of its particles, of what its particles do, and of its generations."""

    def __init__(self, program: BranchingProgram, recorded: bool = False) -> None:
        super().__init__(
            program.cells, program.features, program.capacity, continuous=recorded, controls=program.controls
        )
        self.program = program
        self.particles, self.particle_steps, self.steps = 0, 0, 0

    def start(self, phi: DesignPoint, primaries: Events, choices: Choices) -> tuple[Tensor, State]:
        event, state = self.program.start(phi, primaries, choices)
        self.particles += event.numel()
        return event, state

    def step(self, phi: DesignPoint, state: State, choices: Choices) -> Step:
        step = self.program.step(phi, state, choices)
        self.particles += sum(children.parent.numel() for children in step.children)
        self.particle_steps += choices.shape.numel()
        self.steps += 1
        return step


def two(cut: int = 1) -> Detector:
    """Two thicknesses; ``cut`` times as many layers, each so many times thinner."""
    thick = {"absorber_thickness": 4.5 / cut, "gap_thickness": 2.5 / cut}
    parameters = {name: {"start": start, "bounds": [start / 10, start * 4]} for name, start in thick.items()}
    design = {"parameters": parameters, "constraints": []}
    return branching_shower(layers=25 * cut, design=design, objective=DEPTH)


def twenty() -> Detector:
    """The variant whose twenty gaps are to see the same energy."""
    changes = OmegaConf.load(VARIANTS / "branching_shower_uniform.yaml")
    return branching_shower(**{str(key): value for key, value in changes.items() if key != "defaults"})


DETECTORS = {"2 parameters": two, "20 parameters": twenty}


def estimator(name: str) -> GradientEstimator:
    """From conf/gradient."""
    if not (GRADIENTS / f"{name}.yaml").is_file():
        known = ", ".join(sorted(path.stem for path in GRADIENTS.glob("*.yaml")))
        raise ConfigurationError("--gradients", name, f"forward, or one of {known}")
    found: GradientEstimator = instantiate(OmegaConf.load(GRADIENTS / f"{name}.yaml"))
    return found


class Bench:
    """One detector and one estimator on one device."""

    def __init__(self, detector: Detector, name: str, device: str, recorded: bool = False) -> None:
        program = detector.simulator()
        if not isinstance(program, BranchingProgram):
            raise ConfigurationError("simulator", type(program).__name__, "a BranchingProgram")
        self.detector, self.device, self.design = detector, device, detector.design.to(device)
        self.program, self.belief = CountedParticles(program, recorded).to(device), PriorBelief()
        self.estimator = None if name == "forward" else estimator(name)

    def score(self, events: Events, phi: DesignPoint) -> Tensor:
        return self.detector.objective(events, self.belief(events, phi), phi)

    def call(self, events: int, seed: int) -> None:
        """Values, or one gradient."""
        generator = stream(self.device, seed, "benchmark", events)
        primaries = self.detector.primaries.sample(events, generator)
        if self.estimator is None:
            with torch.no_grad():
                self.program(self.design(), primaries, generator)
            return
        loss = self.estimator.loss(self.program, self.design, primaries, self.score, generator)
        torch.autograd.grad(loss, self.design.psi)

    def clock(self) -> float:
        """Seconds of this process on the CPU; of the wall, all kernels finished, on CUDA."""
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def peak(self) -> float:
        """Most memory so far, MB: of the process (Linux counts KB), or of torch's tensors on CUDA."""
        if self.device == "cpu":
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return torch.cuda.max_memory_allocated() / 2**20

    def measured(self, sizes: Sequence[int], limit: float) -> list[dict[str, float]]:
        """One row for each batch size, up to the first that takes longer than ``limit`` seconds."""
        self.call(WARM_UP, 0)
        before, rows = self.peak(), list[dict[str, float]]()
        for size in sorted(sizes):
            self.program.particles, self.program.particle_steps, self.program.steps = 0, 0, 0
            begin, seconds, calls = self.clock(), 0.0, 0
            while calls < REPEATS and (calls == 0 or seconds < ENOUGH):
                self.call(size, calls)
                calls, seconds = calls + 1, self.clock() - begin
            row = {"events": size, "seconds": seconds / calls, "memory": self.peak() - before}
            counts = ("particles", "particle_steps", "steps")
            rows.append({**row, **{name: getattr(self.program, name) / calls for name in counts}})
            if seconds / calls > limit:
                break
        return rows


def job(arguments: Mapping[str, Any]) -> list[dict[str, float]]:
    """The rows of one process."""
    torch.set_num_threads(1)
    make = DETECTORS[arguments["detector"]]
    detector = two(arguments["cut"]) if make is two else make()
    bench = Bench(detector, arguments["estimator"], arguments["device"], arguments["recorded"])
    return bench.measured(arguments["sizes"], arguments["limit"])


def fresh(detector: str, name: str, options: argparse.Namespace, **changes: Any) -> list[dict[str, float]]:
    """`job` in a new process."""
    arguments = {"detector": detector, "estimator": name, "device": options.device, "sizes": options.events}
    arguments |= {"limit": options.limit, "cut": 1, "recorded": False, **changes}
    command = [sys.executable, __file__, "--job", json.dumps(arguments)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: list[dict[str, float]] = json.loads(result.stdout.splitlines()[-1])
    return found


def per_particle(rows: Sequence[Mapping[str, float]]) -> str:
    """MB for 1000 particles: the slope of a straight line through the large batches, and their scatter around it."""
    large = [row for row in rows if row["events"] >= FITTED]
    if len(large) < 2:
        return "–"
    x, y = (np.array([row[key] for row in large]) for key in ("particles", "memory"))
    slope, offset = np.polyfit(x, y, 1)
    if len(large) < 3:
        return f"{1e3 * slope:.2f}"
    return f"{1e3 * slope:.2f} ({100 * float(np.abs(y - slope * x - offset).max()) / y.max():.0f} %)"


def speeds(options: argparse.Namespace) -> None:
    """Print the first table."""
    sizes = sorted(options.events)
    for detector in DETECTORS:
        print(f"\nbranching_shower, {detector}\n")
        print("| | " + " | ".join(f"{size} events" for size in sizes) + " | MB / 1000 particles |")
        print("|---|" + "---|" * (len(sizes) + 1))
        for name in options.gradients:
            rows = fresh(detector, name, options)
            cells = [
                f"{row['particles'] / row['seconds']:.2g} · {1e3 * row['seconds'] / row['events']:.2f} ms · "
                f"{row['memory']:.0f} MB"
                for row in rows
            ]
            cells += ["–"] * (len(sizes) - len(cells))
            print("| " + " | ".join([name, *cells, per_particle(rows)]) + " |", flush=True)


def steps(options: argparse.Namespace) -> None:
    """Print the second table."""
    print(f"\nThe same matter in more and thinner layers, score_function, {options.cut_events} events\n")
    print("| layers | generations | steps / particle | MB, scores step by step | MB, everything recorded |")
    print("|---|---|---|---|---|")
    for cut in CUTS:
        pair = [
            fresh("2 parameters", "score_function", options, sizes=[options.cut_events], cut=cut, recorded=recorded)[0]
            for recorded in (False, True)
        ]
        row = pair[0]
        cells = [f"{25 * cut}", f"{row['steps']:.0f}", f"{row['particle_steps'] / row['particles']:.1f}"]
        print("| " + " | ".join([*cells, *(f"{each['memory']:.0f}" for each in pair)]) + " |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--events", nargs="+", type=int, default=[16, 64, 256, 1024, 4096])
    parser.add_argument("--gradients", nargs="+", default=list(ESTIMATORS), help="forward, or files of conf/gradient")
    parser.add_argument("--limit", type=float, default=15.0, help="seconds; no larger batch after a call this long")
    parser.add_argument("--cut-events", type=int, default=1024, help="events of the second table")
    parser.add_argument("--job", type=json.loads, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job is not None:
        print(json.dumps(job(options.job)))
        return
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"{platform.machine()}, one thread"
    print(f"torch {torch.__version__}, {device}; particles / s · time an event · peak memory")
    begin = time.perf_counter()
    speeds(options)
    steps(options)
    print(f"\n{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
