"""Toys with known scale and resolution: bias, pulls, coverage, efficiency."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mode_opt.detectors.z_resolution import Likelihood, LineShape, Matching
from mode_opt.detectors.z_resolution.matching import NARROWEST
from mode_opt.detectors.z_resolution.toys import bootstrap, toy_masses
from z_resolution_parts.setting import FEW, NARROW, PAIRS, TRUTH, WIDE, matched

MANY = 4
"""Toys without errors to one with."""


@dataclass(frozen=True, eq=False)
class Toys:
    """Estimates of the toys, ``k x 2``, errors of all or the first of them, and the divergences at the minimum."""

    values: Tensor
    errors: Tensor | None
    divergences: Tensor | None = None


def sinkhorn_toys(shape: LineShape, window: tuple[float, float], count: int, toys: int, few: int = 0,
                  blur: float = 0.0) -> Toys:  # fmt: skip
    matching, values, errors, divergences = Matching(shape, window, PAIRS, blur), [], [], []
    for k in range(toys):
        mass = toy_masses(shape, window, count, *TRUTH, seed=k)
        fit = matching.fit(mass)
        values.append((fit.scale, fit.resolution))
        divergences.append(fit.divergence)
        if k < few:
            errors.append(matched(matching, mass, bootstrap(count, FEW, k), values[-1]).std(0))
    found = torch.tensor(values, dtype=torch.float64)
    return Toys(found, torch.stack(errors) if few else None, torch.tensor(divergences))


def likelihood_toys(shape: LineShape, window: tuple[float, float], count: int, toys: int) -> Toys:
    fits = [Likelihood(shape, window, toy_masses(shape, window, count, *TRUTH, seed=k)).fit() for k in range(toys)]
    return Toys(torch.cat([fit.values for fit in fits]), torch.cat([fit.errors for fit in fits]))


def summary(name: str, toys: Toys, reference: Toys) -> list[str]:
    """A line for scale and one for resolution."""
    truth = torch.tensor(TRUTH, dtype=torch.float64)
    bias, spread = (toys.values - truth).mean(0), toys.values.std(0)
    edge = int((toys.values[:, 1] < NARROWEST + 1e-6).sum())
    name, lines = name + (f" ({edge} at the edge)" if edge else ""), []
    for k, (what, unit, digits) in enumerate((("scale", 1.0, 5), ("resolution", 100.0, 3))):
        error = spread[k] / len(toys.values) ** 0.5
        cells = [what, f"{unit * bias[k]:+.{digits}f} ± {unit * error:.{digits}f}", f"{unit * spread[k]:.{digits}f}"]
        cells.append(f"{float((reference.values.std(0)[k] / spread[k]) ** 2):.2f}")
        if toys.errors is None:
            cells += ["", "", ""]
        else:
            pulls = (toys.values[: len(toys.errors), k] - truth[k]) / toys.errors[:, k]
            cells += [f"{pulls.mean():+.2f}, {pulls.std():.2f}"]
            cells += [f"{float((pulls.abs() < limit).double().mean()):.1%}" for limit in (1.0, 1.96)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def toys_table(shape: LineShape, count: int) -> tuple[str, Toys]:
    head = ("| toys | of | bias (resolution: in %) | standard deviation | efficiency against the likelihood | pull: "
            "mean, width | within 1σ | within 1.96σ |")  # fmt: skip
    lines, narrow = [head, "|" + "---|" * 8], None
    for window, events, few in ((NARROW, 445, count), (WIDE, 500, count), (NARROW, 100, 0), (NARROW, 2000, 0)):
        where = f"{window[0] / 1e3:g} to {window[1] / 1e3:g} GeV, {events} events"
        best = likelihood_toys(shape, window, events, MANY * count)
        ours = sinkhorn_toys(shape, window, events, MANY * count, few)
        narrow = narrow or ours
        lines += summary(f"likelihood, {where}", best, best) + summary(f"Sinkhorn, {where}", ours, best)
    some = max(count // 4, 10)
    best = likelihood_toys(shape, NARROW, 445, some)
    for blur in (0.0, 1.0, 2.0, 5.0, 10.0):
        ours = sinkhorn_toys(shape, NARROW, 445, some, blur=blur)
        lines += summary(f"Sinkhorn, blur {blur:g} GeV, 445 events, {some} toys", ours, best)
    assert narrow is not None
    return "\n".join(lines), narrow
