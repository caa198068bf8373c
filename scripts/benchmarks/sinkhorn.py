"""What blur, scaling and a grid cost and change in the Sinkhorn divergence; writes docs/benchmarks/sinkhorn.md.

The 445 recorded Z masses against 1024 simulated ones: value, derivatives in momentum scale and resolution, CPU seconds.

    python scripts/benchmarks/sinkhorn.py [--output FILE]
"""

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mode_opt.detectors.z_resolution import LineShape, Matching, masses, recorded
from mode_opt.objectives import sinkhorn_divergence, sorted_transport
from mode_opt.objectives.transport import binned_divergence

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "sinkhorn.md"
WINDOW = (80e3, 100e3)
AT = (1.003, 0.025)
Divergence = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def points(blur: float, scaling: float) -> Divergence:
    """All numbers with all numbers."""
    return lambda x, y, w, v: sinkhorn_divergence(x[:, None], y[:, None], w, v, blur, scaling)


def grid(blur: float, scaling: float, per_blur: int) -> Divergence:
    """On a grid over the window."""
    bins = math.ceil(per_blur * (WINDOW[1] - WINDOW[0]) / 1000 / blur)
    return lambda x, y, w, v: binned_divergence(x, y, w, v, blur, scaling, bins)


def line(name: str, divergence: Divergence, mass: Tensor, matching: Matching) -> str:
    """One row: value, derivatives, seconds of the second call."""
    for _ in range(2):
        begin = time.process_time()
        scale, resolution = (torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in AT)
        found, weight = matching.simulated(scale, resolution)
        value = divergence(found / 1000, mass / 1000, weight, torch.ones_like(mass))
        slopes = torch.autograd.grad(value, (scale, resolution))
        seconds = time.process_time() - begin
    cells = [f"{float(value.detach()):.5f}", f"{float(slopes[0]):.2f}", f"{float(slopes[1]):.2f}", f"{seconds:.3f}"]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    mass, matching = masses(recorded()), Matching(LineShape(), WINDOW, 1024)
    lines = [line("exact, by sorting (blur 0)", sorted_transport, mass, matching)]
    for blur in (0.5, 2.0):
        lines += [line(f"blur {blur:g}, points, scaling {s:g}", points(blur, s), mass, matching) for s in (0.8, 0.95)]
        for scaling in (0.8, 0.9, 0.95, 0.98, 0.99):
            name = f"blur {blur:g}, bins of 1/4 blur, scaling {scaling:g}"
            lines.append(line(name, grid(blur, scaling, 4), mass, matching))
        lines.append(line(f"blur {blur:g}, bins of 1/8 blur, scaling 0.95", grid(blur, 0.95, 8), mass, matching))
    table = "\n".join(lines)
    text = f"""# Blur, scaling and grid of the Sinkhorn divergence

Written by `python scripts/benchmarks/sinkhorn.py`: the 445 recorded masses of
[z_resolution](../../detectors/z_resolution/README.md) against 1024 simulated ones at scale {AT[0]:g} and resolution
{AT[1]:g}, in GeV; CPU seconds for value and derivatives.

| | divergence | derivative in the scale | in the resolution | seconds |
|---|---|---|---|---|
{table}

The scaling decides how far the iteration gets: the value is nearly there long before a small derivative beside a large
one. A grid (`bins`) of a quarter of the blur changes little, and its effort does not grow with the events.
"""
    options.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
