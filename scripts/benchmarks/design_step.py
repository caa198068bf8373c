"""Overhead of a design step: `mode-opt`'s Lightning loop against the same step written by hand in bare torch.

Prints a table: seconds a step by hand, in the plain loop (`Alternation`) and in the Lightning loop with history and
checkpoints (validation switched off in all three), and their ratios. The three take turns, so that a slow phase of
the machine hits them alike; medians are quoted.

    python scripts/benchmarks/design_step.py [--steps 40] [--repeats 5]
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import lightning
import torch

from mode_opt.detectors.sampling_calorimeter import sampling_calorimeter
from mode_opt.experiment import Alternation, Effort, Experiment, Optimisers
from mode_opt.training.history import History
from mode_opt.training.keeper import Keeper
from mode_opt.training.module import OptimisationModule, Rounds
from mode_opt.training.progress import Progress
from mode_opt.training.signals import Requests
from mode_opt.training.stopping import Budget, EarlyStopping


def built() -> Experiment:
    torch.manual_seed(0)
    return Experiment.of(sampling_calorimeter(), simulator="parametric")


def optimisers(experiment: Experiment) -> Optimisers:
    return Optimisers(
        torch.optim.Adam(experiment.reconstruction.parameters(), lr=3e-3),
        torch.optim.Adam([experiment.design.psi], lr=0.05),
    )


def by_hand(steps: int, effort: Effort) -> float:
    """The same mathematics with nothing but torch: neighbourhood, reconstruction steps, objective, Adam."""
    experiment = built()
    optimiser = optimisers(experiment)
    design, network = experiment.design, experiment.reconstruction
    simulator, primaries = experiment.simulator.simulator, experiment.primaries
    begin = time.perf_counter()
    for step in range(steps):
        for inner in range(effort.reconstruction_steps):
            generator = torch.Generator().manual_seed(1000 * step + inner)
            with torch.no_grad():
                phi = design.nearby(effort.designs, effort.radius, generator)
                events = simulator(phi, primaries.sample(effort.events_per_design, generator), generator)
            loss = -network(events, phi).log_prob(events.truth).mean()
            optimiser.reconstruction.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), effort.clip)
            optimiser.reconstruction.step()
        generator = torch.Generator().manual_seed(step)
        phi = design()
        events = simulator(phi, primaries.sample(effort.events, generator), generator)
        loss = experiment.objective(events, network(events, phi), phi).mean()
        optimiser.design.zero_grad()
        loss.backward(inputs=[design.psi])
        torch.nn.utils.clip_grad_norm_([design.psi], effort.clip)
        optimiser.design.step()
    return (time.perf_counter() - begin) / steps


def plain(steps: int, effort: Effort) -> float:
    """`Alternation.step` in a loop."""
    experiment = built()
    alternation, optimiser = Alternation(experiment, effort), optimisers(experiment)
    begin = time.perf_counter()
    for _ in range(steps):
        alternation.step(optimiser)
    return (time.perf_counter() - begin) / steps


def framework(steps: int, effort: Effort) -> float:
    """The Lightning loop of ``mode-opt optimise``."""
    adam = partial(torch.optim.Adam, lr=3e-3)
    module = OptimisationModule(Alternation(built(), effort), adam, partial(torch.optim.Adam, lr=0.05))
    with tempfile.TemporaryDirectory() as folder:
        keeper = Keeper(
            History(Path(folder) / "history.csv"),
            Path(folder) / "last.ckpt",
            Budget(steps=steps),
            EarlyStopping(None),
            Progress({}, quiet=True),
            Requests(),
        )
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=-1,
            callbacks=[keeper],
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.fit(module, datamodule=Rounds(effort.check_every))
        return keeper.history.seconds / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    effort = Effort(warm_up=0, check_every=10**9)
    ways = {"by hand": by_hand, "plain loop": plain, "Lightning loop": framework}
    for way in ways.values():
        way(3, effort)
    times = [{name: way(options.steps, effort) for name, way in ways.items()} for _ in range(options.repeats)]
    print(f"threads: {torch.get_num_threads()}, torch {torch.__version__}, {options.repeats} x {options.steps} steps")
    print("| loop | ms a step (median) | ratio to by hand (median of pairs) |\n|---|---|---|")
    for name in ways:
        median = statistics.median(row[name] for row in times)
        ratio = statistics.median(row[name] / row["by hand"] for row in times)
        print(f"| {name} | {1000 * median:.1f} | {ratio:.3f} |")


if __name__ == "__main__":
    main()
