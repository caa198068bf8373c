"""The figure of the comparison."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mode_opt.detectors.z_resolution import LineShape, Matching
from mode_opt.detectors.z_resolution.likelihood import density
from z_resolution_parts.setting import NARROW, START, Row


def draw(rows: Sequence[Row], mass: Tensor, path: Path) -> None:
    """The masses with both fits and the start, and the scale by each method."""
    import numpy as np

    from mode_opt.report.style import SERIES, new_figure

    figure = new_figure(height=4.2, width=10.0)
    spectrum, points = figure.subplots(1, 2)
    edges = np.linspace(80, 100, 41)
    counts, _ = np.histogram(mass.numpy() / 1e3, edges)
    centres, per_bin = (edges[1:] + edges[:-1]) / 2, (edges[1] - edges[0]) * 1e3 * len(mass)
    spectrum.errorbar(centres, counts, yerr=np.sqrt(counts), color="0.1", marker="o", markersize=3.5, linestyle="",
                      linewidth=1.0, label=f"recorded, {len(mass)} GG pairs")  # fmt: skip
    shape, fine = LineShape(), torch.linspace(80.001e3, 99.999e3, 400, dtype=torch.float64)
    found = {row.name: row.values for row in rows}
    matching = Matching(shape, NARROW, 2**16)
    tuned = found["Sinkhorn, exact (blur 0)"]
    for look, name, where in (
        (SERIES[1], "simulation at the start", START),
        (SERIES[0], "simulation, tuned (Sinkhorn)", tuned),
    ):
        simulated, weight = matching.simulated(*(torch.tensor(v, dtype=torch.float64) for v in where))
        values, _ = np.histogram(simulated.numpy() / 1e3, edges, weights=weight.numpy())
        spectrum.stairs(values / values.sum() * len(mass), edges, color=look.colour, linestyle=look.line, label=name)
    for look, name, model, where in (
        (SERIES[2], "likelihood fit", shape, found["likelihood"]),
        (SERIES[3], "likelihood fit without radiation", LineShape(radiation=False),
         found["likelihood without radiation"])):  # fmt: skip
        curve = density(model, NARROW, *where, fine).numpy() * per_bin
        spectrum.plot(fine.numpy() / 1e3, curve, color=look.colour, linestyle=look.line, label=name)
    spectrum.set(xlabel="recorded mass [GeV]", ylabel="pairs in 0.5 GeV", xlim=(80, 100), ylim=(0, 72))
    spectrum.legend(frameon=False, fontsize=7.5, loc="upper left")
    for k, row in enumerate(rows):
        error = row.errors[0] if row.errors else 0.0
        points.errorbar(row.values[0], len(rows) - k, xerr=error, **SERIES[0].points())
    points.axvline(1.0, color="0.5", linewidth=0.8, linestyle=":")
    points.set_yticks([len(rows) - k for k in range(len(rows))], [row.name.replace("`", "") for row in rows],
                      fontsize=7.5)  # fmt: skip
    points.set(xlabel="scale, recorded over true momentum", ylim=(0.4, len(rows) + 0.6))
    figure.savefig(path, dpi=130)
