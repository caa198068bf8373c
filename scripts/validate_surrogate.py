"""Compare the calorimeter's surrogate with recorded showers; writes surrogate.md and surrogate.png.

python scripts/validate_surrogate.py [--output FOLDER] [--cache FOLDER] [--showers FILE.root]

FILE.root: more recorded electrons (``pdg_id`` 11) of one design, e.g. em_showers_egamma.root.
"""

import argparse
import csv
import time
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mode_opt.design import DesignPoint
from mode_opt.detectors.sampling_calorimeter.surrogate import held_out_designs, read_showers, shower_surrogate
from mode_opt.detectors.sampling_calorimeter.surrogate_slopes import recorded_slopes, surrogate_slopes
from mode_opt.detectors.sampling_calorimeter.surrogate_validation import compare, simulated_sum
from mode_opt.events import Events
from mode_opt.simulation import Simulator

FOLDER = Path(str(files("mode_opt.detectors.sampling_calorimeter")))
ENERGIES = torch.tensor([500.0, 1000.0, 2000.0, 5000.0, 10_000.0])
POINTS = torch.tensor([[4.5, 2.5], [3.5, 4.0], [2.5, 5.0], [2.0, 7.0], [1.5, 3.0]])
BEST = ((1.3, 3.3), (3.5, 8.0))
"""Absorber and gap, mm, around the best designs of 400 mm length."""

Sample = tuple[Tensor, Tensor]
"""Rows (absorber, gap, energy), ``n x 3``, and gap energies, ``n x 50``."""


def simulate(simulator: Simulator, keys: Tensor, seed: int) -> Sample:
    """One surrogate shower for each row."""
    generator, parts = torch.Generator().manual_seed(seed), []
    for part in keys.split(8192):
        truth = part[:, 2].reshape(-1, 1, 1)
        phi = DesignPoint.of(absorber_thickness=part[:, :1], gap_thickness=part[:, 1:2])
        with torch.no_grad():
            parts.append(simulator(phi, Events.of(truth, truth.unsqueeze(3)), generator).hits[:, 0, :, 0])
    return keys, torch.cat(parts)


class Regression(nn.Module):
    """Energy from the layers: the sum times the exponential of a network of sum, profile and design."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(53, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, sample: Sample) -> Tensor:
        keys, layers = sample
        total = torch.log(layers.sum(1) + 1)[:, None]
        profile = torch.sqrt(layers / keys[:, 1:2]) / 2.5
        inputs = torch.cat([profile, keys[:, :2].log(), total - 6], dim=1)
        return torch.exp(total + 1.6 + self.network(inputs))[:, 0]

    def residual(self, sample: Sample) -> Tensor:
        """Predicted over true energy, minus 1."""
        return self(sample) / sample[0][:, 2] - 1


def regression(sample: Sample, epochs: int, seed: int = 0) -> Regression:
    """Trained for the relative error."""
    torch.manual_seed(seed)
    model, (keys, layers) = Regression(), sample
    steps = epochs * (len(keys) // 512)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps + 1)
    for _ in range(steps):
        rows = torch.randint(len(keys), (512,))
        loss = nn.functional.huber_loss(model.residual((keys[rows], layers[rows])), torch.zeros(512), delta=0.5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model


def spread(model: Regression, sample: Sample, chosen: Tensor) -> str:
    """Root mean square of the residuals in percent, with its error from the scatter of their squares."""
    with torch.no_grad():
        square = model.residual(sample)[chosen] ** 2
    rms = float(square.mean().sqrt())
    return f"{100 * rms:.2f} ± {100 * float(square.std()) / (2 * rms * len(square) ** 0.5):.2f}"


def regression_table(surrogate: Simulator, train: Sample, test: Sample, extra: Sample | None) -> list[str]:
    """Networks trained on recorded and on surrogate showers, applied to both."""
    keys = train[0].repeat(4, 1)
    models = {"recorded": regression(train, 40), "surrogate": regression(simulate(surrogate, keys, 1), 10)}
    samples = [("held-out designs", test), *([("further electrons", extra)] if extra else [])]
    lines = []
    for name, real in samples:
        fake = simulate(surrogate, real[0].repeat(4, 1), 2)
        for label, low, high, near in regions(name):
            chosen = [inside(sample[0], low, high, near) for sample in (real, fake)]
            cells = [
                spread(models["recorded"], real, chosen[0]),
                spread(models["surrogate"], real, chosen[0]),
                spread(models["surrogate"], fake, chosen[1]),
                spread(models["recorded"], fake, chosen[1]),
            ]
            lines.append(f"| {name}{', around the best' if near else ''} | {label} | {' | '.join(cells)} |")
    return lines


def regions(name: str) -> Iterable[tuple[str, float, float, bool]]:
    """Label, energies from and to, and whether only designs around the best."""
    if name == "held-out designs":
        for near in (False, True):
            for energy in ENERGIES.tolist():
                yield f"{energy / 1000:g} GeV", 0.99 * energy, 1.01 * energy, near
    else:
        for low, high in ((500, 1000), (1000, 2000), (2000, 4000), (4000, 8000)):
            yield f"{low / 1000:g}-{high / 1000:g} GeV", low, high, False


def inside(keys: Tensor, low: float, high: float, near: bool) -> Tensor:
    chosen = (keys[:, 2] >= low) & (keys[:, 2] < high)
    for column, (start, stop) in enumerate(BEST if near else ()):
        chosen &= (keys[:, column] > start) & (keys[:, column] < stop)
    return chosen


def further(path: Path) -> Sample:
    """Electrons of another file."""
    from mode_opt.data import RootReader

    names = ["absorber_thickness", "gap_thickness", "primary_energy", "edep_gap"]
    columns = RootReader(path, names, tree="showers", cut="pdg_id == 11").read()
    keys, layers = [torch.as_tensor(columns[n]).float() for n in names[:3]], columns[names[3]]
    return torch.stack(keys, dim=1), torch.as_tensor(layers).float()


def reference_table(surrogate: Simulator) -> tuple[list[str], np.ndarray]:
    """The electrons of em_showers_reference.csv; numbers: mean, resolution, error of the latter."""
    with (FOLDER / "data" / "em_showers_reference.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["particle"] == "e-"]
    keys = torch.tensor([[float(r[k]) for k in ("absorber_mm", "gap_mm", "energy_MeV")] for r in rows])
    total = simulated_sum(surrogate, keys, 10_000)
    lines, numbers = [], []
    for row, key, energy in zip(rows, keys.tolist(), total, strict=True):
        mean, resolution = float(row["edep_gap_mean"]), float(row["gap_resolution"])
        found = float(energy.mean()) / mean - 1, float(energy.std() / energy.mean()) / resolution - 1
        error = (2 * int(row["n_events"])) ** -0.5
        numbers.append((*found, error))
        lines.append(
            f"| {key[2]:.0f} | {key[0]:g} | {key[1]:g} | {mean:.1f} | {100 * found[0]:+.1f} % "
            f"| {100 * resolution:.2f} | ±{100 * error:.1f} % | {100 * found[1]:+.1f} % |"
        )
    return lines, np.array(numbers)


def slope_table(surrogate: Simulator, phi: DesignPoint, events: Events, held: Tensor) -> list[str]:
    """Derivatives of the resolution against polynomials fitted to all and to held-out showers."""
    some = compare(surrogate, DesignPoint(phi.values[held], phi.layout), rows_of(events, held), 100)
    everything = recorded_slopes(compare(surrogate, phi, events, 100), POINTS, ENERGIES, degree=5)
    tested = recorded_slopes(some, POINTS, ENERGIES, degree=3)
    model = surrogate_slopes(surrogate, POINTS, ENERGIES)
    lines = []
    for k, (absorber, gap) in enumerate(POINTS.tolist()):
        for j, name in enumerate(("absorber", "gap")):
            cells = [
                f"{float(s.value[k, j]):+.2f} ± {float(s.standard_error[k, j]):.2f}"
                for s in (everything, tested, model)
            ]
            lines.append(f"| {absorber:g} | {gap:g} | {name} | {' | '.join(cells)} |")
    return lines


def rows_of(events: Events, chosen: Tensor) -> Events:
    return Events.of(events.truth[chosen], events.hits[chosen])


def held_out_table(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        error = row["reference_standard_error"] / row["reference"]
        lines.append(
            f"| {row['quantity']} | {row['bin']} | {row['reference']:.4f} | ±{100 * error:.1f} % "
            f"| {row['surrogate']:.4f} | {100 * row['relative_difference']:+.1f} % "
            f"| {100 * row['limit']:.0f} % |"
        )
    return lines


def figure(path: Path, rows: list[dict[str, Any]], reference: np.ndarray, surrogate: Simulator, test: Sample) -> None:
    """Sums on held-out designs, the reference file, and mean profiles."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(16, 8.5), layout="constrained")
    axes[1, 2].set_visible(False)
    for axis, quantity in zip(axes[0], dict.fromkeys(row["quantity"] for row in rows), strict=True):
        part = [row for row in rows if row["quantity"] == quantity]
        limit, x = 100 * part[0]["limit"], range(len(part))
        axis.axhspan(-limit, limit, color="#DCE9E4", label="allowed")
        error = [100 * row["reference_standard_error"] / row["reference"] for row in part]
        axis.errorbar(x, [100 * row["relative_difference"] for row in part], error, fmt="o", color="#0072B2")
        axis.set_xticks(x, [row["bin"] for row in part], rotation=35, ha="right", fontsize=8)
        axis.set(title=f"{quantity}, held-out designs", ylabel="surrogate / recorded − 1 (%)")
        axis.legend()
    x = np.arange(len(reference))
    axes[1, 0].errorbar(x, 100 * reference[:, 1], 100 * reference[:, 2], fmt="o", color="#0072B2", label="resolution")
    axes[1, 0].plot(x, 100 * reference[:, 0], "s", color="#D55E00", label="mean")
    axes[1, 0].axhline(0, color="grey", linewidth=0.8)
    axes[1, 0].set(
        title="em_showers_reference.csv, electrons",
        xlabel="row of the table",
        ylabel="surrogate / reference − 1 (%)",
    )
    axes[1, 0].legend()
    profiles(axes[1, 1], surrogate, test)
    figure.savefig(path, dpi=110)


def profiles(axis: Any, surrogate: Simulator, test: Sample) -> None:
    """Mean gap energy a layer around the best designs."""
    for energy, colour in zip((500.0, 2000.0, 10_000.0), ("#0072B2", "#009E73", "#D55E00"), strict=True):
        chosen = inside(test[0], 0.99 * energy, 1.01 * energy, near=True)
        real, fake = test[1][chosen], simulate(surrogate, test[0][chosen].repeat(50, 1), 3)[1]
        layer = np.arange(1, real.shape[1] + 1)
        error = real.std(0) / len(real) ** 0.5
        axis.errorbar(layer, real.mean(0), error, fmt=".", color=colour, label=f"{energy / 1000:g} GeV")
        axis.plot(layer, fake.mean(0), color=colour)
    axis.set(yscale="log", ylim=(1e-2, None), xlabel="layer", ylabel="mean gap energy (MeV)")
    axis.set_title("Held-out designs around the best; line: surrogate")
    axis.legend()


def report(cache: Path | None, output: Path, showers: Path | None) -> None:
    """Everything, into surrogate.md and surrogate.png."""
    start = time.process_time()
    surrogate = shower_surrogate(cache=cache)
    seconds = time.process_time() - start
    phi, _, events = read_showers()
    held = held_out_designs(phi)
    keys = torch.cat([phi.values, events.truth[:, 0]], dim=1)
    layers = events.hits[:, 0, :, 0]
    test = keys[held], layers[held]
    assert surrogate.validation is not None
    rows = surrogate.validation["rows"]
    reference, numbers = reference_table(surrogate)
    networks = regression_table(surrogate, (keys[~held], layers[~held]), test, further(showers) if showers else None)
    slopes = slope_table(surrogate, phi, events, held)
    text = TEXT.format(
        notes=" ".join(surrogate.validation["notes"]),
        held="\n".join(held_out_table(rows)),
        reference="\n".join(reference),
        networks="\n".join(networks),
        slopes="\n".join(slopes),
    )
    (output / "surrogate.md").write_text(text)
    figure(output / "surrogate.png", rows, numbers, surrogate, test)
    print(f"wrote {output / 'surrogate.md'} and surrogate.png; training or loading took {seconds:.0f} s of CPU")


TEXT = """# The surrogate against recorded showers

Written by `python scripts/validate_surrogate.py`. {notes}

![comparison](surrogate.png)

## Sum of the gap energies on held-out designs

Pooled over designs; the error is the statistical one of the recorded showers. "Fraction" is the sampling
fraction of a minimum ionising particle.

| quantity | bin | recorded | error | surrogate | difference | allowed |
|---|---|---|---|---|---|---|
{held}

## Electrons of em_showers_reference.csv

None of these showers was used in training; the table was looked at while the inputs of the model were chosen.

| energy (MeV) | absorber (mm) | gap (mm) | mean (MeV) | surrogate | resolution (%) | stat. | surrogate |
|---|---|---|---|---|---|---|---|
{reference}

## What a reconstruction network finds

Root mean square of predicted over true energy minus 1, in percent, of a small network over all layers,
trained → applied. Column two against one: a network trained on the surrogate is used on recorded showers.
Column three against two: what the surrogate promises and what is found. Both networks saw the five recorded
energies.

| showers | energy | rec. → rec. | surr. → rec. | surr. → surr. | rec. → surr. |
|---|---|---|---|---|---|
{networks}

## Slopes of the resolution

d ln(resolution of the sum) / d ln(thickness), averaged over the five energies: central differences of
polynomials (degree 5 for all designs, 3 for held-out ones) fitted to recorded showers, and pathwise
derivatives of the surrogate. The errors of the fits are statistical; another degree moves them by about 0.1.

| absorber (mm) | gap (mm) | with respect to | all designs | held-out designs | surrogate |
|---|---|---|---|---|---|
{slopes}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--showers", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report(options.cache, options.output, options.showers)


if __name__ == "__main__":
    main()
