"""Compare the branching shower with the reference showers; writes the tables of its README.

python scripts/validate_branching_shower.py [--highest 10000] [--energy 1000000] [--least 400] [--output README]

Each row: ``energy`` MeV of showers (1000 at 1 GeV) and at least ``least``, reference thicknesses those of the design.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from mode_opt.design import DesignPoint
from mode_opt.detectors.branching_shower import BranchingShower
from mode_opt.detectors.branching_shower.particles import Particles
from mode_opt.detectors.branching_shower.transport import Outcome, Randomness
from mode_opt.events import Events
from mode_opt.simulation import stream

README = Path(str(files("mode_opt.detectors.branching_shower"))) / "README.md"

REFERENCE = Path(str(files("mode_opt.detectors.sampling_calorimeter"))) / "data" / "em_showers_reference.csv"

PARTICLES = {"e-": "electron", "gamma": "photon"}

QUANTITIES = {
    "gap energy (MeV)": "edep_gap_mean",
    "resolution (%)": "gap_resolution",
    "depth (mm)": "shower_depth_mm",
    "length (mm)": "shower_length_mm",
    "containment": "containment",
}

Row = dict[str, float]


def reference(highest: float) -> list[tuple[str, Row]]:
    """Kind of particle and figures of each row, up to an energy in MeV."""
    with REFERENCE.open() as file:
        rows = [(r.pop("particle"), {k: float(v or "nan") for k, v in r.items()}) for r in csv.DictReader(file)]
    return sorted((r for r in rows if r[1]["energy_MeV"] <= highest), key=lambda r: r[1]["energy_MeV"])


def figures(particle: str, row: Row, showers: int) -> Row:
    """The same figures of the branching shower, and its speed."""
    absorber, gap, energy = row["absorber_mm"], row["gap_mm"], row["energy_MeV"]
    simulator = BranchingShower(50, "PbWO4", "lAr", absorber, gap, particle=PARTICLES[particle], absorber_deposits=True)
    truth = torch.full((1, showers, 1), energy)
    phi = DesignPoint.of(absorber_thickness=absorber, gap_thickness=gap)
    start = time.process_time()
    with torch.no_grad():
        hits = simulator(phi, Events.of(truth, truth.unsqueeze(-1)), stream("cpu", 0, "validation")).hits[0]
    seconds = time.process_time() - start
    seen, profile = hits[:, :, 0].sum(1), hits.sum(2).mean(0)
    place = (torch.arange(50) + 0.5) * (absorber + gap)
    depth = (profile * place).sum() / profile.sum()
    return {
        "edep_gap_mean": float(seen.mean()),
        "gap_resolution": float(seen.std() / seen.mean()),
        "shower_depth_mm": float(depth),
        "shower_length_mm": float(((profile * (place - depth) ** 2).sum() / profile.sum()).sqrt()),
        "containment": float(profile.sum() / energy),
        "milliseconds": 1e3 * seconds / showers,
        "showers": showers,
    }


def pair(name: str, row: Row, found: Row) -> str:
    """Reference, branching shower and relative difference."""
    key = QUANTITIES[name]
    unit = 100 if name == "resolution (%)" else 1
    digits = 3 if name == "containment" else 2 if name == "resolution (%)" else 1
    values = f"{row[key] * unit:.{digits}f} | {found[key] * unit:.{digits}f}"
    return f"{values} | {100 * (found[key] / row[key] - 1):+.1f} %"


def table(rows: list[tuple[str, Row]], found: list[Row]) -> list[str]:
    """The comparison as markdown; three columns for each quantity."""
    names = [f"{name}: reference | branching | difference" for name in QUANTITIES]
    lines = ["| particle | energy (MeV) | absorber / gap (mm) | showers | " + " | ".join(names) + " |"]
    lines.append("|" + "---|" * (4 + 3 * len(QUANTITIES)))
    for (particle, row), mine in zip(rows, found, strict=True):
        place = f"{row['absorber_mm']:g} / {row['gap_mm']:g}"
        cells = " | ".join(pair(name, row, mine) for name in QUANTITIES)
        lines.append(f"| {particle} | {row['energy_MeV']:.0f} | {place} | {mine['showers']:.0f} | {cells} |")
    return lines


def summary(rows: list[tuple[str, Row]], found: list[Row]) -> list[str]:
    """Largest and root mean square difference of each quantity, per energy."""
    lines = ["| energy (MeV) | quantity | root mean square | largest |", "|---|---|---|---|"]
    for energy in sorted({row["energy_MeV"] for _, row in rows}):
        for name, key in QUANTITIES.items():
            differences = torch.tensor(
                [m[key] / r[key] - 1 for (_, r), m in zip(rows, found, strict=True) if r["energy_MeV"] == energy]
            )
            largest = float(differences[differences.abs().argmax()])
            square = float(differences.square().mean().sqrt())
            lines.append(f"| {energy:.0f} | {name.split(' (')[0]} | {100 * square:.1f} % | {100 * largest:+.1f} % |")
    return lines


@contextmanager
def counting(simulator: BranchingShower) -> Iterator[dict[str, int]]:
    """Counts the steps and the particles born while it lasts."""
    counted, step = {"born": 0, "steps": 0}, simulator.stepper.step

    def watched(particles: Particles, stretch: Tensor, choices: Randomness) -> Outcome:
        outcome = step(particles, stretch, choices)
        counted["steps"] += len(particles.kind)
        counted["born"] += sum(len(parent) for parent, _ in outcome.families)
        return outcome

    simulator.stepper.step = watched  # type: ignore[method-assign]
    yield counted
    simulator.stepper.step = step  # type: ignore[method-assign]


def speed(energy: float, showers: int) -> list[str]:
    """Particles (primaries and secondaries above the cuts) per second of one core, values and with scores."""
    lines = ["| | particles / shower | steps / particle | ms / shower | particles / s |", "|---|---|---|---|---|"]
    truth = torch.full((1, showers, 1), energy)
    thick = {"absorber_thickness": 2.3, "gap_thickness": 5.7}
    for name, layers in (("forward", 0), ("with scores, 2 parameters", 1), ("with scores, 100 parameters", 50)):
        simulator = BranchingShower()
        phi = DesignPoint.of(**{key: torch.full((1, max(layers, 1)), value) for key, value in thick.items()})
        phi.values.requires_grad_(layers > 0)
        with counting(simulator) as counted:
            start = time.process_time()
            simulator(phi, Events.of(truth, truth.unsqueeze(-1)), stream("cpu", 0, "speed"))
            seconds = time.process_time() - start
        made = counted["born"] + showers
        numbers = f"{made / showers:.0f} | {counted['steps'] / made:.1f} | {1e3 * seconds / showers:.1f}"
        lines.append(f"| {name} | {numbers} | {made / seconds:.2g} |")
    return lines


def replaced(text: str, marker: str, lines: list[str]) -> str:
    """The text with the part between ``<!-- marker -->`` and ``<!-- end -->`` replaced."""
    begin = text.index(f"<!-- {marker} -->") + len(f"<!-- {marker} -->")
    end = text.index("<!-- end -->", begin)
    return text[:begin] + "\n" + "\n".join(lines) + "\n" + text[end:]


def main() -> None:
    """Simulate all rows and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--highest", type=float, default=10_000.0, help="energy of the last rows, MeV")
    parser.add_argument("--energy", type=float, default=1e6, help="MeV simulated for each row")
    parser.add_argument("--least", type=int, default=400, help="showers of each row, at least")
    parser.add_argument("--output", type=Path, default=README)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows, found = reference(arguments.highest), []
    for particle, row in rows:
        found.append(figures(particle, row, max(arguments.least, int(arguments.energy / row["energy_MeV"]))))
        print(particle, *(f"{row[k]:g}" for k in ("energy_MeV", "absorber_mm", "gap_mm")), found[-1], flush=True)
    text = arguments.output.read_text()
    text = replaced(text, "summary", summary(rows, found))
    text = replaced(text, "table", table(rows, found))
    text = replaced(text, "speed", speed(1000.0, 400))
    arguments.output.write_text(text)


if __name__ == "__main__":
    main()
