"""Muon scale and resolution by Sinkhorn divergence, likelihood and closed form; writes comparison.md and .png.

Both methods on the recorded muon pairs with bootstrap errors, other line shapes, windows and reconstructions, what a
naive cut does, and toys with known scale and resolution: bias, pulls, coverage, efficiency. The first table
goes into the README, too.

    python scripts/benchmarks/z_resolution.py [--toys 100] [--output FOLDER]
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from z_resolution_parts.figure import draw
from z_resolution_parts.setting import FEW, NARROW, PAIRS, SAMPLES, START, TRUTH, WIDE, Row, matched, pair
from z_resolution_parts.toys import MANY, toys_table

from mode_opt.detectors.z_resolution import Likelihood, LineShape, Matching, closed_form, masses, recorded, z_resolution
from mode_opt.detectors.z_resolution.line_shape import Z_MASS
from mode_opt.detectors.z_resolution.matching import MARGIN, UNIT, minimised
from mode_opt.detectors.z_resolution.recorded import DATA
from mode_opt.detectors.z_resolution.smearing import recorded_mass
from mode_opt.detectors.z_resolution.toys import bootstrap
from mode_opt.experiment import Experiment, Tuning, VerificationEffort, optimise, tune
from mode_opt.objectives.transport import sorted_transport

FOLDER = Path(str(files("mode_opt.detectors.z_resolution")))
MARKS = ("<!-- results -->", "<!-- end of results -->")
"""Between these the README holds the table."""


def by_sinkhorn(name: str, shape: LineShape, window: tuple[float, float], mass: Tensor, blur: float = 0.0) -> Row:
    matching = Matching(shape, window, 2 * PAIRS, blur)
    fit = matching.fit(mass)
    best = fit.scale, fit.resolution
    samples = matched(matching, mass, bootstrap(len(mass), SAMPLES if blur == 0 else FEW, 0), best)
    return Row(name, best, pair(samples.std(0)))


def by_likelihood(name: str, shape: LineShape, window: tuple[float, float], mass: Tensor) -> Row:
    likelihood = Likelihood(shape, window, mass)
    fit, samples = likelihood.fit(), likelihood.fit(bootstrap(len(mass), SAMPLES, 0))
    return Row(name, pair(fit.values[0]), pair(samples.values[samples.converged].std(0)), pair(fit.errors[0]))


def naive(shape: LineShape, window: tuple[float, float], mass: Tensor, pairs: int = 16 * PAIRS) -> Any:
    """Divergence of pairs that are cut, of scale and resolution, with the derivative of the masses alone."""
    uniform = torch.quasirandom.SobolEngine(2, True, 0).draw(pairs, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    true = shape.quantile(uniform[:, 0], window[0] / MARGIN, window[1] * MARGIN)
    normal = torch.special.ndtri(uniform[:, 1])

    def value(scale: Tensor, resolution: Tensor) -> Tensor:
        found = recorded_mass(true, scale, resolution, normal)
        inside = ((found > window[0]) & (found < window[1])).double()
        return sorted_transport(found / UNIT, mass / UNIT, inside, torch.ones_like(mass))

    return value


def slopes(value: Any, at: tuple[float, float]) -> tuple[float, float]:
    point = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in at]
    found = torch.autograd.grad(value(*point), point)
    return float(found[0]), float(found[1])


def differences(value: Any, at: tuple[float, float], step: float = 2e-3) -> tuple[float, float]:
    found = []
    for k in range(2):
        sides = []
        for sign in (1, -1):
            moved = [number + sign * step * (k == j) for j, number in enumerate(at)]
            sides.append(float(value(*(torch.tensor(number, dtype=torch.float64) for number in moved))))
        found.append((sides[0] - sides[1]) / (2 * step))
    return found[0], found[1]


def by_naive(shape: LineShape, window: tuple[float, float], mass: Tensor) -> Row:
    """Where a descent along the naive derivative comes to rest."""
    from scipy.optimize import root

    value = naive(shape, window, mass)
    found = root(lambda x: slopes(value, (1 + 0.01 * x[0], 0.01 * x[1])), [0.0, 2.0], tol=1e-4)
    where = 1 + 0.01 * float(found.x[0]), 0.01 * float(found.x[1])
    if not found.success:
        print(f"the naive derivative has no zero that was found: {found.message}")
    return Row("Sinkhorn, cut with its naive derivative", where)


def by_command(seed: int = 0) -> tuple[Row, Any, float]:
    """What ``mode-opt optimise detector=z_resolution`` does."""
    begin = time.perf_counter()
    outcome = optimise(Experiment.of(z_resolution()), seed=seed, verification=VerificationEffort(events=20_000))
    seconds = time.perf_counter() - begin
    found = {name: float(entry["value"]) for name, entry in outcome.final.items()}
    row = Row("Sinkhorn, `mode-opt optimise detector=z_resolution`", (found["scale"], found["resolution"]))
    return row, outcome.verification, seconds


def by_tune(**changes: Any) -> tuple[Row, Tuning]:
    """What `tune` says of the detector."""
    tuned = tune(Experiment.of(z_resolution(**changes)))
    return Row("Sinkhorn, `tune` of docs/tuning.md", pair(tuned.values), pair(tuned.errors)), tuned


def shown(row: Row) -> str:
    errors = row.errors or (None, None)
    cells = [f"{row.values[0]:.5f}" + (f" ± {errors[0]:.5f}" if errors[0] else ""), f"{1 / row.values[0]:.4f}"]
    cells.append(f"{100 * row.values[1]:.2f} %" + (f" ± {100 * errors[1]:.2f}" if errors[1] else ""))
    cells.append("" if row.hessian is None else f"{row.hessian[0]:.5f}, {100 * row.hessian[1]:.2f} %")
    return f"| {row.name} | {' | '.join(cells)} |"


def main_rows(shape: LineShape, mass: Tensor) -> list[Row]:
    silent = LineShape(radiation=False)
    mean_samples = bootstrap(len(mass), SAMPLES, 0) @ mass / len(mass) / Z_MASS
    return [
        by_likelihood("likelihood", shape, NARROW, mass),
        by_sinkhorn("Sinkhorn, exact (blur 0)", shape, NARROW, mass),
        by_sinkhorn("Sinkhorn, blur 2 GeV", shape, NARROW, mass, 2.0),
        Row("closed form: a line at m_Z, scale alone", (1 / closed_form(mass), float("nan")),
            (float(mean_samples.std()), float("nan"))),
        by_likelihood("likelihood without radiation", silent, NARROW, mass),
        by_sinkhorn("Sinkhorn without radiation", silent, NARROW, mass),
        by_naive(shape, NARROW, mass),
    ]  # fmt: skip


def rows_table(rows: Sequence[Row]) -> str:
    head = "| method | scale, recorded / true | 1 / scale | resolution of a muon | errors from the curvature |"
    return "\n".join([head, "|" + "---|" * 5, *map(shown, rows)]).replace("nan % ± nan", "")


def samples_table() -> str:
    """Rows of the file and events, and the closed form of each."""
    import numpy as np
    import uproot

    with uproot.open(f"{DATA}:events") as tree:
        kind, charge, mass = (tree[name].array(library="np") for name in ("Type", "Q1", "M"))
        charge = charge * tree["Q2"].array(library="np")
    lines = ["| sample | window | rows | events | mean of the events | m_Z / mean | m_Z / mean of all rows |",
             "|" + "---|" * 7]  # fmt: skip
    for sample in ("GG", "GT", "TT"):
        for low, high in (NARROW, WIDE):
            passed = (np.asarray(kind, str) == sample) & (charge < 0) & (mass > low / 1e3) & (mass < high / 1e3)
            some = masses(recorded(sample, (low, high)))
            lines.append(
                f"| {sample} | {low / 1e3:g} to {high / 1e3:g} GeV | {passed.sum()} | {len(some)} | "
                f"{float(some.mean()) / 1e3:.4f} GeV | {closed_form(some):.6f} | "
                f"{Z_MASS / 1e3 / mass[passed].mean():.6f} |"
            )
    return "\n".join(lines)


def variations_table() -> str:
    """Other reconstructions, windows and line shapes."""
    changes: Mapping[str, tuple[str, tuple[float, float], dict[str, Any]]] = {
        "default: GG, 80 to 100 GeV": ("GG", NARROW, {}),
        "GT": ("GT", NARROW, {}),
        "TT": ("TT", NARROW, {}),
        "60 to 120 GeV": ("GG", WIDE, {}),
        "luminosity k = 0": ("GG", NARROW, {"luminosity": 0.0}),
        "luminosity k = 2": ("GG", NARROW, {"luminosity": 2.0}),
        "60 to 120 GeV, k = 0": ("GG", WIDE, {"luminosity": 0.0}),
        "60 to 120 GeV, k = 2": ("GG", WIDE, {"luminosity": 2.0}),
        "u quarks alone": ("GG", NARROW, {"up": 1.0}),
        "d quarks alone": ("GG", NARROW, {"up": 0.0}),
        "no radiation": ("GG", NARROW, {"radiation": False}),
        "60 to 120 GeV, no radiation": ("GG", WIDE, {"radiation": False}),
    }
    lines = ["| | Sinkhorn: scale | resolution | likelihood: scale | resolution | ln L of the likelihood fit "
             "| mean true mass in the window |", "|" + "---|" * 7]  # fmt: skip
    for name, (sample, window, options) in changes.items():
        mass, shape = masses(recorded(sample, window)), LineShape(**options)
        match, likelihood = Matching(shape, window, 2 * PAIRS).fit(mass), Likelihood(shape, window, mass)
        scale, resolution = pair(likelihood.fit().values[0])
        true = shape.logarithm.exp()
        inside = shape.probability * ((true > window[0]) & (true < window[1]))
        mean = float((inside * true).sum() / inside.sum()) / 1e3
        lines.append(
            f"| {name} | {match.scale:.4f} | {100 * match.resolution:.2f} % | {scale:.4f} | "
            f"{100 * resolution:.2f} % | {likelihood.value(scale, resolution):.2f} | {mean:.2f} GeV |"
        )
    return "\n".join(lines)


def truncation_table(shape: LineShape, mass: Tensor) -> str:
    """Derivatives of the divergence: of the window by weights, of a naive cut, and by differences of the cut."""
    windowed = Matching(shape, NARROW, 16 * PAIRS)
    cut, many = naive(shape, NARROW, mass), naive(shape, NARROW, mass, 2**20)
    ones = torch.ones_like(mass)
    lines = ["| at scale, resolution | derivative in | window by weights | cut, naive | cut, by differences |",
             "|" + "---|" * 5]  # fmt: skip
    for at in (START, (0.995, 0.02), (0.999, 0.03)):
        ours = slopes(lambda s, r: windowed.divergence(s, r, mass, ones), at)
        for k, (a, b, c) in enumerate(zip(ours, slopes(cut, at), differences(many, at), strict=True)):
            lines.append(f"| {at[0]:g}, {at[1]:g} | {('scale', 'resolution')[k]} | {a:.2f} | {b:.2f} | {c:.2f} |")
    return "\n".join(lines)


def steps_table(shape: LineShape, mass: Tensor) -> str:
    """Minimum of the mean divergence over many small sets of independent random pairs: what an optimiser tends to."""
    lines = ["| pairs behind a design step | scale | resolution |", "|" + "---|" * 3]
    for pairs in (64, 256, 1024, 4096):
        sets = [Matching(shape, NARROW, pairs, seed=seed, random=True) for seed in range(65536 // pairs)]
        ones = torch.ones_like(mass)

        def value(x: Tensor, sets: Sequence[Matching] = sets, ones: Tensor = ones) -> Tensor:
            every = [one.divergence(1 + 0.01 * x[0], 0.01 * x[1], mass, ones) for one in sets]
            return torch.stack(every).mean()

        best, _ = minimised(value, [0.0, 2.0], 0.4, 8.0)
        lines.append(f"| {pairs} | {1 + 0.01 * best[0]:.5f} | {best[1]:.2f} % |")
    return "\n".join(lines)


def page(
    rows: Sequence[Row],
    verification: Any,
    seconds: float,
    others: Tensor,
    tables: Mapping[str, str],
    chance: float,
    toys: int,
    tunings: tuple[Tuning, Tuning],
) -> str:
    initial, final = verification.initial, verification.final
    low, high = others.amin(0).tolist(), others.amax(0).tolist()
    return f"""# Muon scale and resolution: Sinkhorn divergence, likelihood, closed form

Written by `python scripts/benchmarks/z_resolution.py --toys {toys}`. GG pairs, opposite charge, 80 to 100 GeV, 445
events; errors are standard deviations of {SAMPLES} bootstrap samples of the events ({FEW} with a blur).

{tables["rows"]}

The command takes {seconds:.0f} s here (2 shared cores) and verifies a divergence of {final.value:.4f} ±
{final.standard_error:.4f} GeV² after {initial.value:.3f} ± {initial.standard_error:.3f} at the start; these errors are
of the simulation, at these recorded events. Of {MANY * toys} toys with 445 events {chance:.0%} have a larger divergence
at their minimum than the recorded sample. Four other seeds of the command end at scales from {low[0]:.5f} to
{high[0]:.5f} and resolutions from {low[1]:.2%} to {high[1]:.2%}: what is left of the noise of the simulation.

`tune` with its default 40 toys prints:

```
{tunings[0]}
```

and without radiation:

```
{tunings[1]}
```

![Recorded masses with both fits, and the scale by each method](comparison.png)

## The sample

{tables["samples"]}

## What the result depends on

{tables["variations"]}

## The window

Derivative of the divergence (GeV²) from the recorded masses. The naive derivative is that of the masses of a cut
sample, the differences are of 2^20 cut pairs with common random numbers.

{tables["truncation"]}

## Toys

Generated with scale {TRUTH[0]}, resolution {TRUTH[1]:.2%} and a cut, {MANY * toys} of each kind unless said, the same
for both methods. Errors of the likelihood are from its curvature, those of the Sinkhorn fit from {FEW} bootstrap
samples of each of the first {toys} toys. Toys whose resolution ends at the edge of what is looked at (0.4 %) are
counted with it.

{tables["toys"]}

## Pairs behind a design step

Minimum of the mean divergence from the recorded masses over sets of independent random pairs, 65 536 in all: what a
stochastic optimiser tends to. (`MuonPairs` are stratified and do better.)

{tables["steps"]}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=int, default=100)
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape, mass = LineShape(), masses(recorded())
    rows = main_rows(shape, mass)
    command, verification, seconds = by_command()
    others = torch.tensor([by_command(seed)[0].values for seed in range(1, 5)])
    tuning, tuned = by_tune()
    silent = by_tune(line_shape={"radiation": False})[1]
    rows[3:3] = [tuning, command]
    tables = {"rows": rows_table(rows), "samples": samples_table(), "variations": variations_table()}
    tables |= {"truncation": truncation_table(shape, mass), "steps": steps_table(shape, mass)}
    print("\n\n".join(tables.values()), flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    draw(rows, mass, options.output / "comparison.png")
    tables["toys"], narrow = toys_table(shape, options.toys)
    assert narrow.divergences is not None
    recorded_divergence = Matching(shape, NARROW, PAIRS).fit(mass).divergence
    chance = float((narrow.divergences > recorded_divergence).double().mean())
    text = page(rows, verification, seconds, others, tables, chance, options.toys, (tuned, silent))
    (options.output / "comparison.md").write_text(text)
    readme = options.output / "README.md"
    if readme.exists():
        head, _, tail = readme.read_text().partition(MARKS[0])
        readme.write_text(f"{head}{MARKS[0]}\n{tables['rows']}\n{MARKS[1]}{tail.partition(MARKS[1])[2]}")
    print(text)


if __name__ == "__main__":
    main()
