"""The external example: where its optimum is, by a scan without mode_opt's campaigns, and whether mode_opt finds it.

python scripts/benchmarks/external_example.py [--seeds 3] [--runs runs/external_example]

Makes what is not there (a killed command goes on where it was): it measures designs along the longest calorimeter that
is allowed, and across it, optimises with experiment=external_example from several seeds, measures what was found, and
writes docs/benchmarks/external_example.md. A quarter of an hour on two busy cores.

A measurement runs the compiled program by itself, 60 000 events to train a fresh network (1000 steps of 1024) and
60 000 others to measure J, twice with other events; the energies are the same for all designs.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from mode_opt.cli.build import detector_of
from mode_opt.cli.compose import composed, folder_of
from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.experiment import Detector
from mode_opt.objectives import Estimate, jackknife, weighted_mean
from mode_opt.simulation import stream

ROOT = Path(__file__).parents[2]
LENGTH, LAYERS = 112.0, 16
EVENTS, STEPS, BATCH, REPLICAS = 60_000, 1000, 1024, 2
LINE = tuple(round(3.0 + 0.2 * k, 1) for k in range(13))
"""Absorbers (mm) of designs as long as allowed; the gap is the rest of a layer."""
ACROSS = (1.0, 1.6, 2.2, 3.4, 4.2)
"""Gaps (mm) of designs with one absorber, shorter and longer than allowed."""
MIDDLE = 4.4


@dataclass(frozen=True)
class Point:
    """A measured design: thicknesses in mm, J and its standard error."""

    absorber: float
    gap: float
    objective: float
    error: float


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="optimisations")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "external_example")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks")
    return parser.parse_args(words)


def simulated(program: Path, detector: Detector, design: tuple[float, float], seed: int) -> Events:
    """Events of one design by the program itself."""
    primaries = detector.primaries.sample(EVENTS, stream("cpu", 0, "scan", seed))
    with TemporaryDirectory() as folder:
        energies, output = Path(folder) / "energies.csv", Path(folder) / "events.csv"
        np.savetxt(energies, primaries.truth[0, :, 0].numpy() / 1000)
        absorber, gap = (str(thickness / 10) for thickness in design)
        words = ["--absorber", absorber, "--gap", gap, "--events", str(EVENTS), "--seed", str(seed + 1)]
        words += ["--layers", str(LAYERS), "--primaries", str(energies), "--output", str(output)]
        subprocess.run([str(program), *words], check=True)
        table = np.loadtxt(output, delimiter=",", skiprows=1, dtype=np.float32)
    return Events.of(primaries.truth, torch.from_numpy(table[None, :, 1:, None]))


def measured(program: Path, detector: Detector, design: tuple[float, float]) -> Point:
    """J of one design, the mean over fresh networks."""
    found = [_replica(program, detector, design, k) for k in range(REPLICAS)]
    values = [estimate.value for estimate in found]
    variance = mean(estimate.standard_error**2 for estimate in found) + stdev(values) ** 2
    return Point(*design, mean(values), math.sqrt(variance / REPLICAS))


def _replica(program: Path, detector: Detector, design: tuple[float, float], index: int) -> Estimate:
    phi = DesignPoint(torch.tensor([design]), detector.design().layout)
    train, test = (simulated(program, detector, design, 2 * index + k) for k in range(2))
    torch.manual_seed(index)
    network = detector.reconstruction(train.select(torch.arange(64)), phi)  # type: ignore[operator]  # a factory
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for step in range(STEPS):
        events = train.select(torch.randint(EVENTS, (BATCH,), generator=stream("cpu", index, "batch", step)))
        loss = weighted_mean(-network(events, phi).log_prob(events.truth), events.weight).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        return jackknife(detector.objective, test, network(test, phi), phi).estimate()


def known(program: Path, detector: Detector, design: tuple[float, float], folder: Path) -> Point:
    """The measurement of a design, read if it is there."""
    path = folder / f"{design[0]:.3f}-{design[1]:.3f}.json"
    if not path.exists():
        point = measured(program, detector, design)
        print(point, flush=True)
        written(path, asdict(point))
    return Point(**json.loads(path.read_text(encoding="utf-8")))


def written(path: Path, content: object) -> None:
    """As JSON; the file is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def optimised(seed: int, runs: Path) -> None:
    """One optimisation on the command line, continued if it was killed."""
    run = runs / f"seed-{seed}"
    result = run / "result.json"
    if result.exists() and json.loads(result.read_text(encoding="utf-8"))["status"] == "finished":
        return
    words = ["detector=external_example", "simulator=cpp", "experiment=external_example", f"seed={seed}"]
    words += [f"hydra.run.dir={run}", f"campaign.store.root={runs / 'store'}", "quiet=true"]
    resumed = [f"resume={run}"] if (run / ".hydra" / "config.yaml").exists() else words
    subprocess.run([sys.executable, "-m", "mode_opt.cli", "optimise", *resumed], check=True)


@dataclass(frozen=True)
class Minimum:
    """Of J along the longest calorimeter: absorber (mm) and J, with standard errors."""

    absorber: float
    absorber_error: float
    objective: float
    objective_error: float


def minimum(points: Sequence[Point], copies: int = 500) -> Minimum:
    """That of a cubic through the points; errors by drawing the points anew within theirs."""
    x = np.array([p.absorber for p in points]) - MIDDLE
    y, error = (np.array([getattr(p, name) for p in points]) for name in ("objective", "error"))
    random, fine = np.random.default_rng(0), np.linspace(x.min(), x.max(), 2001)
    ends = []
    for k in range(copies + 1):
        drawn = y if k == 0 else y + error * random.standard_normal(len(y))
        curve = np.polyval(np.polyfit(x, drawn, 3, w=1 / error), fine)
        ends.append((fine[curve.argmin()] + MIDDLE, curve.min()))
    spread = np.std(ends[1:], axis=0)
    return Minimum(float(ends[0][0]), float(spread[0]), float(ends[0][1]), float(spread[1]))


def page(line: Sequence[Point], across: Sequence[Point], runs: Sequence[tuple[int, dict[str, Any], Point]]) -> str:
    """The Markdown page."""
    best = minimum(line)
    lines = [
        "# The external example: does mode_opt find the optimum of somebody else's program?",
        "",
        "Written by `python scripts/benchmarks/external_example.py`, which says how J is measured here; J is the",
        "energy resolution, the mean over four bins from 1 to 10 GeV; errors are standard errors.",
        "",
        f"Scan of designs that are {LENGTH:g} mm long, the limit. The minimum of a cubic through them is at",
        f"{best.absorber:.2f} ± {best.absorber_error:.2f} mm of absorber and {LENGTH / LAYERS - best.absorber:.2f} mm",
        f"of gap, with J = {best.objective:.5f} ± {best.objective_error:.5f}.",
        "",
        "| absorber (mm) | gap (mm) | length (mm) | J |",
        "|---|---|---|---|",
        *(_row(p) for p in line),
        "",
        "Across: J falls with the gap until the length is spent, so the constraint is active.",
        "",
        "| absorber (mm) | gap (mm) | length (mm) | J |",
        "|---|---|---|---|",
        *(_row(p) for p in across),
        "",
        "Found by `mode-opt optimise detector=external_example simulator=cpp experiment=external_example seed=...`,",
        "measured as the scan was. Excess: J above the minimum of the scan. Verified: by its own verification, whose",
        "networks see fewer events; start and found design.",
        "",
        "| seed | absorber (mm) | gap (mm) | length (mm) | J | excess | simulated events | jobs | seconds | verified |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_found(*run, best) for run in runs),
    ]
    return "\n".join(lines) + "\n"


def _row(p: Point) -> str:
    length = LAYERS * (p.absorber + p.gap)
    return f"| {p.absorber:.2f} | {p.gap:.2f} | {length:.1f} | {p.objective:.5f} ± {p.error:.5f} |"


def _found(seed: int, result: dict[str, Any], p: Point, best: Minimum) -> str:
    excess, error = p.objective - best.objective, math.hypot(p.error, best.objective_error)
    value = result["objective"]
    own = " → ".join(f"{value[k]['value']:.4f} ± {value[k]['standard_error']:.4f}" for k in ("initial", "final"))
    numbers = f"{excess:+.5f} ± {error:.5f} | {result['simulator_calls']:,} | {result['campaign']['jobs']:,}"
    return f"| {seed} {_row(p)[:-2]} | {numbers} | {result['wall_seconds']:.0f} | {own} |"


def runs_of(program: Path, detector: Detector, options: argparse.Namespace) -> list[tuple[int, dict[str, Any], Point]]:
    """Seed, result and measured design of each optimisation."""
    found = []
    for seed in range(options.seeds):
        optimised(seed, options.runs)
        result = json.loads((options.runs / f"seed-{seed}" / "result.json").read_text(encoding="utf-8"))
        absorber, gap = (float(result["design"][f"{name}_thickness"]["final"]) for name in ("absorber", "gap"))
        found.append((seed, result, known(program, detector, (absorber, gap), options.runs / "found")))
    return found


def built(folder: Path) -> Path:
    """The compiled program."""
    program = folder / "program" / "shower"
    if not program.exists():
        script = Path(folder_of("external_example")) / "program" / "build.sh"
        subprocess.run(["sh", str(script), str(program)], check=True)
    return program


def main(words: Sequence[str] | None = None) -> None:
    torch.set_num_threads(1)
    options = parsed(words)
    options.runs = options.runs.resolve()
    program = built(options.runs)
    os.environ["MODE_OPT_SHOWER"] = str(program.parent)
    detector = detector_of(composed(["detector=external_example"]))
    layer, scan = LENGTH / LAYERS, options.runs / "scan"
    line = [known(program, detector, (a, round(layer - a, 6)), scan) for a in LINE]
    across = [known(program, detector, (MIDDLE, g), scan) for g in ACROSS]
    runs = runs_of(program, detector, options)
    (options.output / "external_example.md").write_text(page(line, across, runs), encoding="utf-8")


if __name__ == "__main__":
    main()
