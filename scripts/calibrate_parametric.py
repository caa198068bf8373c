"""Find the constants of the parametric calorimeter from the scan file, by maximum synthetic likelihood.

The 256 designs x 5 energies of em_showers_scan.root are 1280 groups of 16 recorded showers. Each shower is
summarised by statistics s_k: energies of gap and absorber, gap fraction, mean depth and longitudinal spread
(of the total energy per layer, in radiation lengths), and per layer the gap energy and its differences to
the next and the third next layer. The model simulates showers of the same designs and energies; with their
means m_k and variances v_k (plus a tolerance, because no model is exact) the loss is the mean over showers,
and over the statistics of both sets, of

    ((s_k - m_k)^2 / v_k + ln v_k) / 2 ,

whose minimum makes means and variances agree, Gaussian or not (after S. Wood, Nature 466 (2010) 1102). As
the simulator is differentiable, its own constants are found like a design: by Adam, on random batches of
groups. The reference table em_showers_reference.csv is not used here: it remains the test.

    python scripts/calibrate_parametric.py [--steps 1000] [--seed 0]
"""

import argparse
import math
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.detectors.sampling_calorimeter.materials import MATERIALS
from mode_opt.detectors.sampling_calorimeter.parametric import Calibration, ParametricShower
from mode_opt.events import Events

PUBLISHED = {
    "depth_offset": 0.812,
    "depth_step": 0.59,
    "shape_offset": -0.19,
    "shape_slope": 0.458,
    "shape_step": 0.444,
    "depth_spread": -1.4,
    "depth_spread_slope": 1.26,
    "shape_spread": -0.58,
    "shape_spread_slope": 0.86,
    "correlation": 0.705,
}
"""Start values: Grindhammer and Peters, hep-ex/0001020, appendix (homogeneous; the steps: sampling)."""
GUESSED = {
    "transition": 0.017,
    "cavity": 0.3,
    "softening": 1.0,
    "grain": 0.7,
    "grain_power": 0.4,
    "cluster": 0.5,
    "cluster_length": 0.5,
    "albedo": 0.003,
    "lateral": 1.0,
}
"""Start values of the constants of this model alone."""
TOLERANCE = (0.002, 0.002, 0.002, 0.02, 0.02)
"""Of the five statistics of a shower: shares of its energy, then radiation lengths."""
LAYER_TOLERANCE = 0.0005
"""Of the statistics of a layer: share of the energy."""
SHOWERS, GROUPS = 128, 128
"""Simulated showers of a group, groups of a batch."""


def step_length(absorber: Tensor, gap: Tensor) -> Tensor:
    """Radiation lengths of one layer."""
    return absorber / MATERIALS["PbWO4"].radiation_length + gap / MATERIALS["lAr"].radiation_length


def statistics(absorber: Tensor, gap: Tensor, groups: Tensor) -> Tensor:
    """``groups x showers x k`` statistics of ``groups x showers x layers`` deposits; groups as `recorded`."""
    energy, step = groups[:, 2:], step_length(groups[:, :1], groups[:, 1:2])
    total = absorber + gap
    share = total / total.sum(-1, keepdim=True).clamp(min=1e-3)
    layer = torch.arange(total.shape[-1], dtype=total.dtype) + 0.5
    depth = (share * layer).sum(-1)
    spread = (share * (layer - depth.unsqueeze(-1)) ** 2).sum(-1).clamp(min=1e-6).sqrt()
    in_gap, in_absorber = gap.sum(-1), absorber.sum(-1)
    fraction = in_gap / (in_gap + in_absorber).clamp(min=1e-3)
    shower = torch.stack([in_gap / energy, in_absorber / energy, fraction, depth * step, spread * step], -1)
    layers = gap / energy.unsqueeze(-1)
    return torch.cat([shower, layers, layers[..., 1:] - layers[..., :-1], layers[..., 3:] - layers[..., :-3]], -1)


def recorded() -> tuple[Tensor, Tensor]:
    """Absorber, gap (mm) and energy (MeV), ``groups x 3``, and statistics, ``groups x 16 x k``."""
    import uproot

    path = files("mode_opt.detectors.sampling_calorimeter") / "data" / "em_showers_scan.root"
    with uproot.open(f"{path}:showers") as tree:
        columns = tree.arrays(library="np")
    settings = np.stack([columns[n] for n in ("absorber_thickness", "gap_thickness", "primary_energy")], 1)
    order = np.lexsort(settings.T)
    groups = torch.as_tensor(settings[order][::16])
    absorber, gap = (torch.as_tensor(columns[f"edep_{n}"][order]).unflatten(0, (-1, 16)) for n in ("absorber", "gap"))
    return groups, statistics(absorber, gap, groups)


def loss(constants: dict[str, Tensor], groups: Tensor, observed: Tensor, seed: int) -> Tensor:
    """Mean negative synthetic log-likelihood."""
    phi = DesignPoint.of(absorber_thickness=groups[:, :1], gap_thickness=groups[:, 1:2])
    energy = groups[:, 2:].expand(-1, SHOWERS).unsqueeze(-1)
    simulator = ParametricShower(calibration=Calibration(**constants))
    deposits = simulator.deposits(phi, Events.of(energy, energy.unsqueeze(-1)), torch.Generator().manual_seed(seed))
    simulated = statistics(deposits.absorber, deposits.gap, groups).double()
    layers = simulated.shape[-1] - len(TOLERANCE)
    tolerance = torch.tensor([*TOLERANCE, *([LAYER_TOLERANCE] * layers)], dtype=torch.double)
    variance = simulated.var(1, keepdim=True) + tolerance**2
    terms = ((observed - simulated.mean(1, keepdim=True)) ** 2 / variance + variance.log()).mean((0, 1)) / 2
    return terms[: len(TOLERANCE)].mean() + terms[len(TOLERANCE) :].mean()


def calibrate(steps: int, seed: int) -> dict[str, float]:
    """The constants, averaged over the last quarter of the steps; those that start positive stay so."""
    groups, observed = recorded()
    start = {**PUBLISHED, **GUESSED}
    free = {n: torch.tensor(math.log(v) if v > 0 else v, requires_grad=True) for n, v in start.items()}
    optimiser = torch.optim.Adam(list(free.values()), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=1e-5)
    shuffle, tail = torch.Generator().manual_seed(seed), []
    for step in range(steps):
        batch = torch.randperm(len(groups), generator=shuffle)[:GROUPS]
        constants = {name: code.exp() if start[name] > 0 else code for name, code in free.items()}
        optimiser.zero_grad()
        value = loss(constants, groups[batch], observed[batch], seed + 1 + step)
        value.backward()
        torch.nn.utils.clip_grad_norm_(list(free.values()), 10.0)
        optimiser.step()
        schedule.step()
        if step >= 0.75 * steps:
            tail.append([float(value.detach()) for value in constants.values()])
        if step % 100 == 0:
            print(f"step {step:4d}  loss {float(value.detach()):8.4f}", flush=True)
    return dict(zip(free, map(float, np.mean(tail, axis=0)), strict=True))


def main() -> None:
    """Calibrate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, value in calibrate(arguments.steps, arguments.seed).items():
        print(f"{name}: {value:.4g}")


if __name__ == "__main__":
    main()
