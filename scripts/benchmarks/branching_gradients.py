"""Twenty-parameter gradients of the branching shower by different estimators: do they agree, and how noisy are they?

python scripts/benchmarks/branching_gradients.py [--batches 40] [--events 1024]

One row an estimator of `branching_shower_uniform` at its start: noise of one event in the quietest, the median and the
noisiest parameter relative to the score function without controls, milliseconds an event, and the mean squared
distance from `lineage_credit` in units of the joint errors, which is 1 on average if both are unbiased.
"""

import argparse
import time

import torch
from torch import Tensor

from mode_opt.cli.build import detector_of
from mode_opt.cli.compose import composed
from mode_opt.experiment import Detector
from mode_opt.gradients import GradientEstimator, LineageCredit, PrunedAlternative, ScoreFunction
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import Simulator, stream

ESTIMATORS: dict[str, GradientEstimator] = {
    "score_function, controls=false": ScoreFunction(controls=False),
    "score_function": ScoreFunction(),
    "lineage_credit": LineageCredit(),
    "pruned_alternative, controls=false": PrunedAlternative(controls=False),
    "pruned_alternative": PrunedAlternative(),
}


def gradients(detector: Detector, simulator: Simulator, name: str, options: argparse.Namespace) -> tuple[Tensor, float]:
    """``batches x d`` gradients in ψ, with independent events for every estimator, and seconds an event."""
    belief, found, begin = PriorBelief(), [], time.perf_counter()
    for batch in range(options.batches):
        generator = stream("cpu", 0, "branching gradients", name, batch)
        primaries = detector.primaries.sample(options.events, generator)
        loss = ESTIMATORS[name].loss(
            simulator,
            detector.design,
            primaries,
            lambda events, phi: detector.objective(events, belief(events, phi), phi),
            generator,
        )
        found.append(torch.autograd.grad(loss, detector.design.psi)[0][0])
    return torch.stack(found), (time.perf_counter() - begin) / (options.batches * options.events)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--events", type=int, default=1024)
    options = parser.parse_args()
    torch.set_num_threads(1)
    detector = detector_of(composed(["detector=branching_shower_uniform"]))
    simulator = detector.simulator()
    measured = {name: gradients(detector, simulator, name, options) for name in ESTIMATORS}
    unit = measured["score_function, controls=false"][0].std(0)
    reference = measured["lineage_credit"][0]
    print("| estimator | noise: least | median | most | ms/event | χ²/20 |\n|---|---|---|---|---|---|")
    for name, (found, seconds) in measured.items():
        noise = found.std(0) / unit
        square = (found.mean(0) - reference.mean(0)) ** 2 * options.batches / (found.var(0) + reference.var(0))
        distance = "" if name == "lineage_credit" else f"{float(square.mean()):.2f}"
        row = f"{float(noise.min()):.2f} | {float(noise.median()):.2f} | {float(noise.max()):.2f}"
        print(f"| `{name}` | {row} | {1000 * seconds:.1f} | {distance} |", flush=True)


if __name__ == "__main__":
    main()
