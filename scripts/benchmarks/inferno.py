"""The INFERNO benchmark against its published numbers; writes the table and the figure of detectors/inferno/README.md.

For each benchmark and seed a summary statistic is trained by the expected uncertainty of the number of signal events,
and for each seed a classifier by its cross-entropy. All are measured on the same fresh events, with hard bins.

    python scripts/benchmarks/inferno.py [--seeds 3] [--steps 1000] [--output FOLDER] [--resume] [--page]
"""

import argparse
import csv
import statistics
import time
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from mode_opt.detectors.inferno import (
    BENCHMARKS,
    classifier_templates,
    exact_uncertainty,
    inferno,
    reweighted,
    summary_templates,
)
from mode_opt.detectors.inferno.measure import measured, optimal_classifier
from mode_opt.experiment import Experiment, VerificationEffort, trained_at
from mode_opt.reconstruction import Classifier, Reconstruction

FOLDER = Path(str(files("mode_opt.detectors.inferno")))
MARKS = ("<!-- results -->", "<!-- end of results -->")
"""Between these the README holds the table."""
PUBLISHED: Mapping[str, tuple[float, ...]] = {
    "exact": (14.71, 15.52, 15.65, 15.62, 16.89),
    "optimal": (14.97, 19.12, 24.93, 22.13, 27.98),
    "inferno": (15.51, 16.79, 16.95, 16.89, 18.68),
}
"""Table 1 of arXiv 1806.04743: analytic likelihood; optimal classifier, 10 bins; INFERNO trained for the benchmark."""
NAMES: Mapping[str, str] = {
    "exact": "unbinned likelihood (exact)",
    "optimal": "optimal classifier, 10 bins",
    "classifier": "cross-entropy classifier, 10 bins",
    "inferno": "INFERNO, 10 hard bins",
    "soft": "the same, soft bins",
    "sharp": "INFERNO, trained at temperature 0.1",
}
PARTS, EVENTS, WIDTH = 10, 200_000, 1.0
COLUMNS = ("statistic", "benchmark", "seed", "sigma", "standard_error", "seconds")
Row = dict[str, Any]


def trained(experiment: Experiment, seed: int, options: argparse.Namespace) -> tuple[Reconstruction, float]:
    """A network trained by what the experiment says, and the seconds that it took."""
    effort = VerificationEffort(steps=options.steps, batch=options.batch, learning_rate=options.rate)
    begin = time.perf_counter()
    network = trained_at(experiment, experiment.design().detach(), effort, seed)
    return network, time.perf_counter() - begin


def classifier_experiment() -> Experiment:
    factory = partial(Classifier.fitting, hidden=100, depth=2)
    return Experiment.of(inferno(), "sharp", reconstruction=factory, reconstruction_goal="truth")


def rows_of(name: str, found: Mapping[Any, Any], benchmark: int | None = None, **more: Any) -> list[Row]:
    return [
        {"statistic": key if benchmark is not None else name, "benchmark": key if benchmark is None else benchmark}
        | {"sigma": estimate.value, "standard_error": estimate.standard_error}
        | more
        for key, estimate in found.items()
    ]


def rows(options: argparse.Namespace, known: list[Row]) -> Iterator[list[Row]]:
    """What is measured, one statistic after the other, without what is known."""
    bins = {benchmark: classifier_templates(benchmark, move=reweighted) for benchmark in BENCHMARKS}
    experiment = classifier_experiment()
    done = {(row["statistic"], int(row["benchmark"]), str(row["seed"])) for row in known}
    more = {"seed": "", "seconds": ""}
    if ("optimal", 0, "") not in done:
        yield [
            {"statistic": "exact", "benchmark": k, "sigma": exact_uncertainty(k), "standard_error": 0.0} | more
            for k in BENCHMARKS
        ]
        yield rows_of("optimal", measured(experiment, optimal_classifier, bins, EVENTS, PARTS), **more)
    for seed in range(options.seeds):
        if ("classifier", 0, str(seed)) not in done:
            network, seconds = trained(experiment, seed, options)
            found = measured(experiment, network, bins, EVENTS, PARTS)
            yield rows_of("classifier", found, seed=seed, seconds=round(seconds, 1))
    for benchmarks in ((2,), (1, 3, 4, 0)):
        for seed in range(options.seeds):
            for benchmark in benchmarks:
                if ("inferno", benchmark, str(seed)) not in done:
                    yield trained_rows(benchmark, seed, options, {"inferno": None, "soft": WIDTH})
    for seed in range(options.seeds):
        if ("sharp", 2, str(seed)) not in done:
            yield trained_rows(2, seed, options, {"sharp": None}, width=0.1)


def trained_rows(
    benchmark: int,
    seed: int,
    options: argparse.Namespace,
    ways: Mapping[str, float | None],
    width: float = WIDTH,
) -> list[Row]:
    """A summary statistic, trained and measured in these ways (temperatures of the bins)."""
    experiment = Experiment.of(inferno(benchmark=benchmark, width=width), "sharp")
    network, seconds = trained(experiment, seed, options)
    if (benchmark, seed, width) == (2, 0, WIDTH):
        options.state.parent.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), options.state)
    templates = {name: summary_templates(benchmark, at, move=reweighted) for name, at in ways.items()}
    found = measured(experiment, network, templates, EVENTS, PARTS)
    return rows_of("", found, benchmark, seed=seed, seconds=round(seconds, 1))


def cell(found: list[Row]) -> str:
    """Mean over seeds, their standard deviation and number; of a single one the error of the sample."""
    values = [float(row["sigma"]) for row in found]
    if not values:
        return ""
    error = statistics.stdev(values) if len(values) > 1 else float(found[0]["standard_error"])
    seeds = f" ({len(values)})" if found[0]["seed"] != "" else ""
    return f"{statistics.mean(values):.2f}" + (f" ± {error:.{2 if error > 0.005 else 3}f}" if error else "") + seeds


def table(found: list[Row]) -> str:
    """Markdown."""
    lines = [
        "| σ(s) | " + " | ".join(f"benchmark {k}" for k in BENCHMARKS) + " |",
        "|" + "---|" * (len(BENCHMARKS) + 1),
    ]
    for name, words in NAMES.items():
        mine = [[r for r in found if r["statistic"] == name and int(r["benchmark"]) == k] for k in BENCHMARKS]
        if any(mine):
            lines.append(f"| {words} | " + " | ".join(cell(part) for part in mine) + " |")
        if name in PUBLISHED:
            lines.append("| *published* | " + " | ".join(f"*{value:.2f}*" for value in PUBLISHED[name]) + " |")
    return "\n".join(lines)


def draw(found: list[Row], state: Path, path: Path) -> None:
    """Bins of the optimal classifier and of the trained statistic in the plane, and the table as points."""
    from mode_opt.report.style import new_figure

    figure = new_figure(height=4.0, width=11.0)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    experiment = Experiment.of(inferno(), "sharp")
    experiment.reconstruction.load_state_dict(torch.load(state, weights_only=True))
    x, y = torch.linspace(-4, 8, 241), torch.linspace(-6, 6, 241)
    events, phi = _plane(experiment, x, y)
    with torch.no_grad():
        signal = optimal_classifier(events, phi).mean[0, :, 0]
        logits = experiment.reconstruction(events, phi).mixture_distribution.logits[0]  # type: ignore[attr-defined]
        order = _by_purity(experiment, phi)
    _map(left, x, y, (signal * 10).floor().clamp_max(9), "optimal classifier, 10 bins")
    image = _map(middle, x, y, order[logits.argmax(-1)], "INFERNO, benchmark 2")
    figure.colorbar(image, ax=[left, middle], label="bin, by share of signal", shrink=0.9, ticks=range(10))
    _points(right, found)
    figure.savefig(path, dpi=130)


def _plane(experiment: Experiment, x: torch.Tensor, y: torch.Tensor) -> tuple[Any, Any]:
    from mode_opt.events import Events

    grid = torch.stack([*torch.meshgrid(x, y, indexing="xy"), torch.full((len(y), len(x)), 1 / 3)], -1)
    hits = grid.reshape(1, -1, 1, 3)
    return Events.of(torch.zeros(1, hits.shape[1], 1), hits), experiment.design().detach()


def _by_purity(experiment: Experiment, phi: Any) -> torch.Tensor:
    """Rank of each bin by its share of signal."""
    from mode_opt.simulation import stream

    events = experiment.simulate(phi, EVENTS, stream("cpu", 1, "figure"))
    model = summary_templates(0, None)(events, experiment.reconstruction(events, phi))
    s, b = model.nominal.reshape(2, -1)
    return (s / b).argsort().argsort()


def _map(axes: Any, x: torch.Tensor, y: torch.Tensor, values: torch.Tensor, title: str) -> Any:
    from matplotlib import colormaps

    image = axes.pcolormesh(x, y, values.reshape(len(y), len(x)), cmap=colormaps["cividis"].resampled(10), vmin=-0.5,
                            vmax=9.5, rasterized=True)  # fmt: skip
    axes.plot(0, 0, "o", color="#D55E00", markeredgecolor="white")
    axes.plot(2, 0, "s", color="#D55E00", markeredgecolor="white")
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1.0}
    axes.annotate("signal", (0, 0), (-0.3, -0.4), fontsize=9, ha="right", va="top", bbox=box)
    axes.annotate("background", (2, 0), (2.3, 0.4), fontsize=9, bbox=box)
    axes.set_title(title, fontsize=10)
    axes.set(xlabel="$x_0$", ylabel="$x_1$  (at $x_2 = 1/3$)")
    return image


def _points(axes: Any, found: list[Row]) -> None:
    from mode_opt.report.style import SERIES

    looks = {"optimal": SERIES[1], "classifier": SERIES[4], "inferno": SERIES[0]}
    words = {"optimal": "optimal classifier", "classifier": "cross-entropy classifier", "inferno": "INFERNO"}
    for shift, (name, look) in zip((-0.18, 0.0, 0.18), looks.items(), strict=True):
        for k in BENCHMARKS:
            values = [float(r["sigma"]) for r in found if r["statistic"] == name and int(r["benchmark"]) == k]
            axes.plot([k + shift] * len(values), values, linestyle="", color=look.colour, marker=look.marker,
                      markersize=5, label=words[name] if k == 0 else None)  # fmt: skip
        if name in PUBLISHED:
            axes.plot([k + shift for k in BENCHMARKS], PUBLISHED[name], linestyle="", marker="_", markersize=14,
                      color=look.colour, label=f"{words[name]}, published")  # fmt: skip
    floors = {int(r["benchmark"]): float(r["sigma"]) for r in found if r["statistic"] == "exact"}
    axes.hlines([floors[k] for k in BENCHMARKS], [k - 0.4 for k in BENCHMARKS], [k + 0.4 for k in BENCHMARKS],
                color="0.2", label="exact floor")  # fmt: skip
    axes.set(xlabel="benchmark", ylabel="expected σ of the signal yield [events]", ylim=(14, 34))
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--state", type=Path, default=Path("runs/benchmarks/inferno.pt"), help="one trained network")
    parser.add_argument("--resume", action="store_true", help="keep the rows of comparison.csv and add those missing")
    parser.add_argument("--page", action="store_true", help="only the table and the figure of numbers made before")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "comparison.csv"
    found = _read(path) if options.resume or options.page else []
    for more in () if options.page else rows(options, found):
        found += more
        print(*more, sep="\n", flush=True)
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(found)
    draw(found, options.state, options.output / "inferno.png")
    readme = options.output / "README.md"
    if readme.exists():
        head, _, tail = readme.read_text().partition(MARKS[0])
        readme.write_text(f"{head}{MARKS[0]}\n{table(found)}\n{MARKS[1]}{tail.partition(MARKS[1])[2]}")
    print(table(found))


def _read(path: Path) -> list[Row]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


if __name__ == "__main__":
    main()
