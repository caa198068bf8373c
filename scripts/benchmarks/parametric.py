"""Events per second of the parametric calorimeter, forward and forward with backward; prints a table.

python scripts/benchmarks/parametric.py [--threads 1] [--repeats 5]
"""

import argparse
import time

import torch

from mode_opt.design import DesignPoint
from mode_opt.detectors.sampling_calorimeter.parametric import ParametricShower
from mode_opt.simulation import ParticleGun


def seconds(count: int, device: str, backward: bool, repeats: int) -> float:
    """Shortest time of ``repeats`` calls, after one that is not counted."""
    simulator, times = ParametricShower(), []
    generator = torch.Generator(device).manual_seed(0)
    primaries = ParticleGun().sample(count, generator)
    for _ in range(repeats + 1):
        thickness = torch.tensor([[2.3, 5.7]], device=device, requires_grad=backward)
        phi = DesignPoint.of(absorber_thickness=thickness[:, :1], gap_thickness=thickness[:, 1:])
        begin = time.perf_counter()
        energy = simulator(phi, primaries, generator).hits.sum((2, 3))
        if backward:
            (energy.std() / energy.mean()).backward()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return min(times[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} CPU thread(s), 50 layers, 1 design, float32")
    print(f"{'device':8s} {'events':>8s} {'forward (events/s)':>20s} {'forward+backward':>20s}")
    for device in ["cpu"] + (["cuda"] if torch.cuda.is_available() else []):
        for count in (1_000, 100_000):
            rates = [count / seconds(count, device, backward, arguments.repeats) for backward in (False, True)]
            print(f"{device:8s} {count:8d} {rates[0]:20,.0f} {rates[1]:20,.0f}")


if __name__ == "__main__":
    main()
