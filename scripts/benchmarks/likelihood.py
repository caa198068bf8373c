"""Time of the figures of a binned likelihood, value and gradient, on one core; writes docs/benchmarks/likelihood.md."""

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mode_opt.objectives.statistics import (
    Channel,
    HistoSys,
    Model,
    NormFactor,
    NormSys,
    Sample,
    build,
    discovery,
    hypothesis_test,
    uncertainty,
    upper_limit,
)

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "likelihood.md"
BINS, NUISANCES = 20, 10
FIGURES: dict[str, tuple[str, Callable[[Model], Tensor]]] = {
    "discovery": ("discovery significance Z (one fit)", discovery),
    "cls": ("expected CLs (one fit)", lambda model: hypothesis_test(model).expected[:, 2]),
    "uncertainty": ("σ(μ), profiled (no fit)", uncertainty),
    "upper_limit": ("expected upper limit (one fit for each step of the root)", upper_limit),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeat", type=int, default=20)
    options.add_argument("--output", type=Path, default=PAGE)
    arguments = options.parse_args()
    torch.set_num_threads(1)
    rows = [
        (label, *(measured(figure, designs, arguments.repeat) for designs in (1, 100)))
        for label, figure in FIGURES.values()
    ]
    text = page(rows)
    arguments.output.write_text(text)
    print(text)


def measured(figure: Callable[[Model], Tensor], designs: int, repeat: int) -> float:
    """Fastest of the repeated times of model building, value and gradient, in ms."""
    generator = torch.Generator().manual_seed(0)
    place = torch.linspace(-1, 1, BINS, dtype=torch.float64)
    bump = 1 + 0.1 * torch.rand(designs, 1, generator=generator, dtype=torch.float64)
    signal = (12 * bump * torch.exp(-((place / 0.3) ** 2)) + 0.2).requires_grad_()
    background = (100 * torch.exp(-place) * bump).requires_grad_()
    durations = []
    for _ in range(repeat + 2):
        start = time.perf_counter()
        values = figure(likelihood(signal, background, place))
        torch.autograd.grad(values.sum(), (signal, background))
        durations.append(1e3 * (time.perf_counter() - start))
    return min(durations[2:])


def likelihood(signal: Tensor, background: Tensor, place: Tensor) -> Model:
    """Five uncertainties of yields and five of shapes, all of the background, two of the signal too."""
    rates = [NormSys(f"rate{k}", 1 / (1.02 + 0.01 * k), 1.02 + 0.01 * k) for k in range(5)]
    shapes = []
    for k in range(5):
        change = 0.03 * torch.cos((k + 1) * place)
        shapes.append(HistoSys(f"shape{k}", background * (1 - change), background * (1 + change)))
    samples = [
        Sample("signal", signal, [NormFactor("mu"), *rates[:2]]),
        Sample("background", background, [*rates, *shapes]),
    ]
    return build([Channel("all", samples)])


def page(rows: list[tuple[str, float, float]]) -> str:
    lines = [
        "# Time of a binned likelihood",
        "",
        f"{BINS} bins, {NUISANCES} nuisance parameters (5 of yields, 5 of shapes), two samples; building the model,",
        "value and gradient with respect to all expected counts; double precision, one thread, best of the repeats.",
        f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}.",
        "The goals are 20 ms for one design and 100 ms for a batch of 100. Again with",
        "`OMP_NUM_THREADS=1 python scripts/benchmarks/likelihood.py`.",
        "",
        "| figure | one design (ms) | 100 designs (ms) |",
        "|---|---|---|",
        *(f"| {label} | {one:.1f} | {many:.0f} |" for label, one, many in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
