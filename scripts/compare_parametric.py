"""Compare the parametric calorimeter with recorded showers; writes parametric.md and parametric.png.

python scripts/compare_parametric.py [--events 20000] [--output FOLDER]
"""

import argparse
import csv
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mode_opt.design import DesignPoint
from mode_opt.detectors.sampling_calorimeter.parametric import Deposits, ParametricShower
from mode_opt.events import Events

FOLDER = Path(str(files("mode_opt.detectors.sampling_calorimeter")))
Row = dict[str, float]


def reference() -> list[Row]:
    """The electron rows of em_showers_reference.csv, best contained first."""
    with (FOLDER / "data" / "em_showers_reference.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["particle"] == "e-"]
    numbers = [{key: float(value) for key, value in row.items() if key != "particle"} for row in rows]
    return sorted(numbers, key=lambda row: -row["containment"])


def shoot(absorber: float, gap: float, energy: float, events: int, seed: int) -> Deposits:
    """Showers of one design and energy."""
    primaries = torch.full((1, events, 1), energy, dtype=torch.double)
    phi = DesignPoint.of(absorber_thickness=torch.tensor(absorber).double(), gap_thickness=torch.tensor(gap).double())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return ParametricShower().deposits(phi, Events.of(primaries, primaries.unsqueeze(-1)), generator)


def figures(row: Row, events: int, seed: int) -> Row:
    """The quantities of a reference row, from the model; depth: total energy, at the layers' centres."""
    shower = shoot(row["absorber_mm"], row["gap_mm"], row["energy_MeV"], events, seed)
    total, gap = (shower.absorber + shower.gap)[0], shower.gap[0].sum(1)
    centre = (torch.arange(total.shape[1]) + 0.5) * (row["absorber_mm"] + row["gap_mm"])
    return {
        "edep_gap_mean": float(gap.mean()),
        "gap_resolution": float(gap.std() / gap.mean()),
        "containment": float(total.sum(1).mean() / row["energy_MeV"]),
        "shower_depth_mm": float((total.mean(0) * centre).sum() / total.mean(0).sum()),
    }


def table(rows: list[Row], found: list[Row]) -> str:
    """Markdown table of reference and model."""
    lines = [
        "| energy (MeV) | absorber (mm) | gap (mm) | containment | model | gap energy (MeV) | model "
        "| resolution (%) | stat. | model | depth (mm) | model |",
        "|" + "---|" * 12,
    ]
    for r, m in zip(rows, found, strict=True):
        ratio = {key: f"{100 * (m[key] / r[key] - 1):+.1f} %" for key in m}
        lines.append(
            f"| {r['energy_MeV']:.0f} | {r['absorber_mm']:g} | {r['gap_mm']:g} | {r['containment']:.3f} "
            f"| {ratio['containment']} | {r['edep_gap_mean']:.1f} | {ratio['edep_gap_mean']} "
            f"| {100 * r['gap_resolution']:.2f} | ±{100 / (2 * r['n_events']) ** 0.5:.1f} % "
            f"| {ratio['gap_resolution']} | {r['shower_depth_mm']:.1f} | {ratio['shower_depth_mm']} |"
        )
    return "\n".join(lines)


def scan() -> dict[str, np.ndarray]:
    """The branches of em_showers_scan.root."""
    import uproot

    with uproot.open(f"{FOLDER / 'data' / 'em_showers_scan.root'}:showers") as tree:
        return tree.arrays(library="np")


def polynomial(point: torch.Tensor) -> torch.Tensor:
    """Terms up to third order in the two columns of ``point``."""
    x, y = point[..., 0], point[..., 1]
    return torch.stack([x**i * y**j for i in range(4) for j in range(4 - i)], -1)


def fitted(points: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Coefficients of ``ln(var / mean^2)``, a cubic in the log thicknesses, by gamma likelihood."""
    terms, relative = polynomial(points), variance / mean**2
    coefficients = torch.zeros(terms.shape[1], dtype=torch.double)
    coefficients[0] = relative.mean().log()
    for _ in range(30):
        ratio = relative * (-(terms @ coefficients)).exp()
        hessian = terms.T @ (ratio.unsqueeze(1) * terms) + 1e-6 * torch.eye(len(coefficients))
        step = torch.linalg.solve(hessian, terms.T @ (ratio - 1))
        coefficients = coefficients + step * min(1.0, 2.0 / float(step.abs().max()))
    return coefficients


Groups = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def recorded_groups(data: dict[str, np.ndarray], energy: float) -> Groups:
    """Logarithms of the thicknesses of the 256 designs, mean and variance of their gap energies."""
    chosen = data["primary_energy"] == energy
    pair = np.stack([data["absorber_thickness"], data["gap_thickness"]], 1)[chosen]
    order = np.lexsort(pair.T)
    deposits = torch.as_tensor(data["edep_gap"][chosen][order].sum(1)).double().reshape(-1, 16)
    return torch.as_tensor(pair[order][::16]).double().log(), deposits.mean(1), deposits.var(1)


def simulated_groups(points: torch.Tensor, energy: float) -> Groups:
    """The same of the model, 200 showers a design."""
    primaries = torch.full((len(points), 200, 1), energy)
    phi = DesignPoint.of(absorber_thickness=points[:, :1].exp(), gap_thickness=points[:, 1:].exp())
    with torch.no_grad():
        events = Events.of(primaries, primaries.unsqueeze(-1))
        deposits = ParametricShower()(phi, events, torch.Generator().manual_seed(3)).hits.sum((2, 3)).double()
    return points, deposits.mean(1), deposits.var(1)


def slopes(groups: Groups, absorber: float, gap: float) -> list[tuple[float, float]]:
    """d ln(resolution) / d ln(thickness) of absorber and gap from the cubic, with bootstrap error."""
    random, samples = torch.Generator().manual_seed(0), []
    at = torch.tensor([absorber, gap], dtype=torch.double).log().requires_grad_()
    for k in range(41):
        count = len(groups[0])
        index = torch.randint(count, (count,), generator=random) if k else torch.arange(count)
        coefficients = fitted(*(column[index] for column in groups))
        samples.append(torch.autograd.grad(polynomial(at) @ coefficients / 2, at)[0])
    error = torch.stack(samples[1:]).std(0)
    return [(float(samples[0][k]), float(error[k])) for k in range(2)]


def model_slopes(energy: float, absorber: float, gap: float) -> list[float]:
    """The same derivatives of the model, by automatic differentiation of 50000 showers."""
    logs = torch.tensor([absorber, gap], dtype=torch.double).log().requires_grad_()
    phi = DesignPoint.of(absorber_thickness=logs[0].exp(), gap_thickness=logs[1].exp())
    primaries = torch.full((1, 50_000, 1), energy)
    generator = torch.Generator().manual_seed(1)
    events = Events.of(primaries, primaries.unsqueeze(-1))
    gap_energy = ParametricShower()(phi, events, generator).hits.sum((2, 3))
    return torch.autograd.grad((gap_energy.std() / gap_energy.mean()).log(), logs)[0].tolist()


def slope_table(data: dict[str, np.ndarray]) -> str:
    """Markdown table of the derivatives of the resolution."""
    head = "scan, cubic | model, cubic | model, autograd"
    lines = [
        f"| energy (MeV) | absorber (mm) | gap (mm) | absorber: {head} | gap: {head} |",
        "|" + "---|" * 9,
    ]
    for energy in (1000.0, 5000.0):
        recorded = recorded_groups(data, energy)
        simulated = simulated_groups(recorded[0], energy)
        for point in ((4.5, 2.5), (3.0, 4.0), (4.0, 6.0), (1.5, 4.0)):
            columns = zip(
                slopes(recorded, *point), slopes(simulated, *point), model_slopes(energy, *point), strict=True
            )
            cells = [f"{v:+.2f} ± {e:.2f} | {w:+.2f} ± {u:.2f} | {m:+.2f}" for (v, e), (w, u), m in columns]
            lines.append(f"| {energy:.0f} | {point[0]:g} | {point[1]:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(rows: list[Row], found: list[Row], data: dict[str, np.ndarray], path: Path) -> None:
    """Ratios of the three quantities, and layer profiles."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
    containment = [row["containment"] for row in rows]
    panels = (("edep_gap_mean", "gap energy", 0.05), ("gap_resolution", "resolution", 0.15))
    for axis, (key, name, limit) in zip(axes.flat, (*panels, ("shower_depth_mm", "mean depth", 0.05)), strict=False):
        for energy, marker in ((1000, "o"), (3000, "s"), (10000, "^")):
            chosen = [k for k, row in enumerate(rows) if row["energy_MeV"] == energy]
            ratio = [found[k][key] / rows[k][key] for k in chosen]
            errors = [(2 * rows[k]["n_events"]) ** -0.5 if key == "gap_resolution" else 0.0 for k in chosen]
            x = [containment[k] for k in chosen]
            axis.errorbar(x, ratio, errors, fmt=marker, label=f"{energy / 1000:g} GeV", markersize=5)
        axis.axhspan(1 - limit, 1 + limit, xmin=0.0, color="0.9", zorder=0)
        axis.axvline(0.9, color="0.5", linestyle=":")
        axis.set(xlabel="containment of the recorded showers", ylabel=f"{name}, model / recorded")
    axes[0, 0].legend(frameon=False)
    profiles(axes[1, 1], data)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def profiles(axis: Any, data: dict[str, np.ndarray]) -> None:
    """Mean and spread per layer of showers in a part of the scan, and of the model at the same designs."""
    a, g = data["absorber_thickness"], data["gap_thickness"]
    for energy, colour in ((1000.0, "C0"), (10000.0, "C2")):
        chosen = (data["primary_energy"] == energy) & (a > 2) & (a < 3) & (g > 4) & (g < 7)
        columns = [torch.as_tensor(x[chosen]).double().reshape(-1, 1) for x in (a, g)]
        one = torch.full((len(columns[0]), 20, 1), energy, dtype=torch.double)
        phi = DesignPoint.of(absorber_thickness=columns[0], gap_thickness=columns[1])
        with torch.no_grad():
            hits = ParametricShower()(phi, Events.of(one, one.unsqueeze(-1)), torch.Generator().manual_seed(2)).hits
        model, recorded = hits.reshape(-1, hits.shape[2]).numpy() / energy, data["edep_gap"][chosen] / energy
        axis.stairs(100 * recorded.mean(0), color=colour, label=f"{energy / 1000:g} GeV, recorded: mean")
        axis.plot(
            np.arange(50) + 0.5,
            100 * model.mean(0),
            color=colour,
            marker=".",
            linestyle="",
            label="model: mean",
        )
        axis.stairs(100 * recorded.std(0), color=colour, linestyle="--", label="recorded: standard deviation")
        axis.plot(np.arange(50) + 0.5, 100 * model.std(0), color=colour, marker="x", linestyle="", markersize=4)
    axis.set(xlabel="layer", ylabel="gap energy (% of the electron's)")
    axis.set_title("absorber 2 to 3 mm, gap 4 to 7 mm (crosses: model's deviation)", fontsize=9)
    axis.legend(frameon=False, fontsize=7)


TEXT = """# Parametric simulator against recorded showers

Written by `scripts/compare_parametric.py` ({events} simulated showers a row). The constants come from
`data/em_showers_scan.root` alone (`scripts/calibrate_parametric.py`); the rows below, from
`data/em_showers_reference.csv`, took no part in the fit. They did guide the choice of the form of the model
and of the loss, so they are no blind test. Both were made by the same program in the same range of designs
and energies, so this tests the fit, not other materials. Model columns: relative difference to the recorded
value; "stat.": statistical uncertainty of the recorded resolution. Depth: mean layer centre, weighted with
the total (absorber and gap) energy of the mean profile, times the thickness of a layer.

{table}

Largest differences with containment above 0.9: {worst}.

Derivatives of the logarithm of the resolution (standard deviation over mean of the summed gap energy, no
correction for leakage) with respect to the logarithm of a thickness. "Cubic": of a cubic in the logarithms
of both thicknesses fitted to the 256 designs of the scan (bootstrap error), for the recorded showers and
for showers of the model at the same designs; a cubic is too smooth for the change from leakage to sampling
fluctuations, so only these two columns compare like with like. "Autograd": automatic differentiation of the
model at the point itself.

{slopes}

![comparison](parametric.png)
"""


def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--output", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows, data = reference(), scan()
    found = [figures(row, arguments.events, seed) for seed, row in enumerate(rows)]
    pairs = [(r, m) for r, m in zip(rows, found, strict=True) if r["containment"] > 0.9]
    worst = ", ".join(
        f"{name} {100 * max((m[key] / r[key] - 1 for r, m in pairs), key=abs):+.1f} %"
        for key, name in (
            ("edep_gap_mean", "gap energy"),
            ("gap_resolution", "resolution"),
            ("shower_depth_mm", "depth"),
        )
    )
    text = TEXT.format(events=arguments.events, table=table(rows, found), worst=worst, slopes=slope_table(data))
    (arguments.output / "parametric.md").write_text(text)
    draw(rows, found, data, arguments.output / "parametric.png")
    print(text)


if __name__ == "__main__":
    main()
