"""A cosmic-muon telescope: the twin against the recorded run, and the design against brute force.

Fits the geometry and the twin to the run, optimises the design with the twin, scans designs by brute force, measures
both with real strips; writes the tables of detectors/cosmic_telescope/README.md, twin.png and design.png.

    python scripts/benchmarks/cosmic_telescope.py [--steps 150] [--designs 1024] [--neighbours] [--output FOLDER]
"""

import argparse
import copy
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import torch

from mode_opt.design import DesignPoint
from mode_opt.detectors.cosmic_telescope import Layers, TrackFit, accepted, cosmic_telescope, generated, reconstructed
from mode_opt.detectors.cosmic_telescope.calibration import EDGES, FREE, Calibration, calibrate
from mode_opt.detectors.cosmic_telescope.closed_form import central_half_width, without_scattering
from mode_opt.detectors.cosmic_telescope.geometry import recorded_layers
from mode_opt.detectors.cosmic_telescope.passage import Apparatus
from mode_opt.detectors.cosmic_telescope.recognition import recognition
from mode_opt.detectors.cosmic_telescope.refit import refitted
from mode_opt.detectors.cosmic_telescope.scan import Scanned, measured, scan
from mode_opt.experiment import Effort, Experiment, Verification, VerificationEffort, optimise, verify
from mode_opt.simulation import stream

FOLDER = Path(str(files("mode_opt.detectors.cosmic_telescope")))
QUANTITIES = {"φ": (1e3, "mrad"), "cot θ": (1e3, "10⁻³"), "z": (1.0, "mm"), "b": (1.0, "mm")}
BINS = ("all p", "below 2 GeV", "2 to 5 GeV", "5 to 10 GeV", "above 10 GeV")
WAYS: Mapping[str, Mapping[str, Any]] = {
    "recorded": {},
    "strips": {"reading": "strips"},
    "recorded, outer radius at most 195 mm": {
        "design": {"constraints": [{"expression": "radius + sum(gap) <= 195 mm", "name": "outer_radius"},
                                   {"expression": "sum(winding) <= 1", "name": "crossings"}]}},
}  # fmt: skip
EFFORT = Effort(warm_up=20, reconstruction_steps=1, events=2048)
SCANNED = 4000
"""Tracks of each design of the scan."""
CHECK = VerificationEffort(steps=200, batch=512, replicas=1, events=40_000)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def geometry_table() -> str:
    rows = []
    for name, layer in zip(("inner", "axial", "outer"), recorded_layers(), strict=True):
        radius, winding = f"{layer.radius:.1f} ± {layer.radius_error:.1f}", f"{layer.winding:+.4f}"
        winding += f" ± {layer.winding_error:.4f}"
        rows.append([name, radius, winding, f"{layer.pitch:.2f}", str(layer.crossings)])
    return table(["layer", "radius [mm]", "winding [turns]", "pitch [mm]", "crossings used"], rows)


def width_table(fits: Mapping[str, Calibration]) -> str:
    rows = []
    for name, fit in fits.items():
        for k, (quantity, (scale, unit)) in enumerate(QUANTITIES.items()):
            cells = []
            for column in (1, 3, 4, 5, 6):
                seen, error, twin = (x[k, column] * scale for x in (fit.observed, fit.errors, fit.predicted))
                cells.append(f"{seen:.2f} ± {error:.2f} / {twin:.2f}")
            rows.append([name, f"{quantity} [{unit}]", *cells])
    return table(["tracks", "half-width of", *BINS], rows)


def fit_table(fits: Mapping[str, Calibration], counts: Mapping[str, int]) -> str:
    rows = []
    for name, fit in fits.items():
        errors = np.sqrt(np.diag(fit.covariance))
        cells = [f"{value:.3f} ± {error:.3f}" for value, error in zip(fit.values, errors, strict=True)]
        pull = (fit.predicted - fit.observed) / fit.errors
        rows.append([name, str(counts[name]), *cells, f"{fit.distance:.1f}", f"{fit.probability:.2f}",
                     f"{abs(pull[:, 1]).max():.1f}", f"{abs(pull).max():.1f}"])  # fmt: skip
    head = ["tracks", "number", *(f"{name}" for name in FREE), "Σ pull² of 28", "probability"]
    return table([*head, "largest pull, all p", "largest pull"], rows)


class Found:
    """An optimised design, measured."""

    def __init__(self, name: str, steps: int) -> None:
        self.detector = cosmic_telescope(**WAYS[name])
        self.start = self.detector.design().detach()
        begin = time.perf_counter()
        self.outcome = optimise(Experiment.of(self.detector), steps, effort=EFFORT, verification=CHECK)
        self.seconds = time.perf_counter() - begin
        self.final = self.detector.design().detach()

    def cells(self) -> list[str]:
        point = self.final
        numbers = [float(radius) for radius in Layers.of(point).radius[0]]
        winding = ", ".join(f"{float(w):.3f}" for w in point["winding"][0])
        return [", ".join(f"{r:.1f}" for r in numbers), winding, f"{float(point['pitch']):.2f}",
                f"{float(point['channels']):.0f}"]  # fmt: skip


def shown(check: Verification, name: str) -> list[str]:
    """Objective and its parts of one of two designs, in units of 10⁻³."""
    cells = []
    for part in (check, *(check.parts[key] for key in ("phi", "cot"))):
        estimate = getattr(part, name)
        cells.append(f"{1e3 * estimate.value:.2f} ± {1e3 * estimate.standard_error:.2f}")
    return cells


def with_strips(found: Found) -> Verification:
    """Start and final design with the simulator ``strips``."""
    experiment = Experiment.of(cosmic_telescope(reading="strips"), simulator="strips")
    return verify(experiment, {"initial": found.start, "final": found.final}, CHECK)


def with_point(found: Found, point: DesignPoint) -> Found:
    """The same with another design as the final one, for its cells."""
    other = copy.copy(found)
    other.final = point
    return other


def design_table(found: Mapping[str, Found], scans: Mapping[str, "Scan"], real: Mapping[str, Verification]) -> str:
    first, second = found["recorded"], found["strips"]
    start = with_point(first, first.start)
    limited = next(name for name in found if "," in name)
    rows = [["the run's", "twin, recorded", *start.cells(), *shown(first.outcome.verification, "initial")]]
    rows.append(["found (recorded)", "the same", *first.cells(), *shown(first.outcome.verification, "final")])
    rows.append(["best of the scan", "the same", *scans["recorded"].cells()])
    one = found[limited]
    rows.append([f"found ({limited})", "the same", *one.cells(), *shown(one.outcome.verification, "final")])
    rows.append(["the run's", "twin, strips", *start.cells(), *shown(second.outcome.verification, "initial")])
    rows.append(["found (strips)", "the same", *second.cells(), *shown(second.outcome.verification, "final")])
    rows.append(["best of the scan", "the same", *scans["strips"].cells()])
    rows.append(["the run's", "simulator strips", *start.cells(), *shown(real["strips"], "initial")])
    rows += [[f"found ({name})", "the same", *found[name].cells(), *shown(real[name], "final")] for name in real]
    head = ["design", "measured by", "radii [mm]", "windings", "pitch [mm]", "channels"]
    return table([*head, "J [10⁻³]", "φ [mrad]", "cot θ [10⁻³]"], rows)


class Scan:
    """Designs by brute force, and the best of them against the design found, on the same fresh tracks."""

    def __init__(self, found: Found, name: str, designs: int) -> None:
        begin = time.perf_counter()
        self.found = found
        self.designs = scan(cosmic_telescope(**WAYS[name]), designs, SCANNED)
        self.seconds = time.perf_counter() - begin
        design = copy.deepcopy(found.detector.design)
        design.assign(dict(self.designs[0].values))
        self.best = design().detach()
        fresh = Experiment.of(cosmic_telescope(**WAYS[name]))
        self.against = verify(fresh, {"initial": self.best, "final": found.final}, CHECK)

    def cells(self) -> list[str]:
        return [*with_point(self.found, self.best).cells(), *shown(self.against, "initial")]

    def __str__(self) -> str:
        worse = self.against.improvement
        return f"{1e3 * worse.value:+.3f} ± {1e3 * worse.standard_error:.3f} ({len(self.designs)} designs)"


def gain(check: Verification) -> str:
    """Improvement with its error, in 10⁻³ and in per cent."""
    better, whole = check.improvement, check.initial.value
    return f"{1e3 * better.value:.2f} ± {1e3 * better.standard_error:.2f} ({100 * better.value / whole:.1f} %)"


def facts(found: Mapping[str, Found], scans: Mapping[str, Scan], real: Mapping[str, Verification]) -> str:
    tracks, run, first = generated(), reconstructed(), found["recorded"]
    radius = float(Layers.of(first.final).radius[0, -1])
    here, there = (int(accepted(tracks, outer=r).sum()) for r in (187.3, radius))
    seen = [recognition(first.detector, point) for point in (first.start, first.final)]
    lines = [
        f"Improvement of J (10⁻³) by the design found with the twin `{name}`: "
        f"{gain(found[name].outcome.verification)} as that twin measures it, {gain(real[name])} as the simulator "
        "`strips` measures it."
        for name in real
    ]
    lines += [
        "J of the best design of the scan minus J of the design found (10⁻³, paired, the same "
        f"{CHECK.events} fresh tracks): {', '.join(f'`{name}` {one}' for name, one in scans.items())}.",
        f"An optimisation took {first.seconds:.0f} s and {first.outcome.simulator_calls} tracks, a scan "
        f"{scans['recorded'].seconds:.0f} s (one shared core).",
        f"Without scattering, closed form (half-widths of φ in mrad and cot θ in 10⁻³): {lever_arms(first)}.",
        f"Of 1000 generated tracks {here} pass the bore and the length of the run's layers, and {there} those of the "
        f"design found with `recorded`, whose outer layer is further out. Of the {len(run.truth)} reconstructed tracks "
        f"of the file {int(accepted(run).sum())} pass.",
        "Tracks of `strips` with six clusters, in random order, put together right, wrong, not at all: "
        f"{_parts(seen[0])} for the run's design, {_parts(seen[1])} for the one found with `recorded` "
        f"({seen[0].tracks} tracks each).",
    ]
    return "\n".join(fill(line, 120, initial_indent="- ", subsequent_indent="  ") for line in lines)


def _parts(seen: Any) -> str:
    return f"{seen.right:.3f}, {seen.wrong:.3f}, {seen.lost:.3f}"


def lever_arms(found: Found) -> str:
    """Closed form and twin without matter, start and found design."""
    cells = []
    for name, point in (("run", found.start), ("found", found.final)):
        empty = Apparatus(wall=1e-9, strip=1e-9)
        detector = found.detector
        events = detector.primaries.sample(40_000, stream("cpu", 0, "tracks"))
        truth = events.truth
        errors = without_scattering(Layers.of(point), empty, truth[..., 1], truth[..., 3])
        widths = [1e3 * float(central_half_width(e)) for e in (errors.phi, errors.cot)]
        twin = type(detector.simulator("twin"))(empty)(point, events, stream("cpu", 0, "noise"))
        belief = TrackFit()(twin, point)
        parts = [1e3 * float(part(twin, belief, point)) for part in detector.objective.parts.values()]
        cells.append(
            f"{name} {widths[0]:.2f} and {widths[1]:.2f} (twin without matter {parts[0]:.2f} and {parts[1]:.2f})"
        )
    return "; ".join(cells)


def neighbours_table() -> str:
    """J of the twin and of real strips, each averaged over 21 designs that lie close together."""
    detector = cosmic_telescope(reading="strips")
    design = copy.deepcopy(detector.design)
    places = {
        "the run's windings and gaps, inner radius 165 to 169 mm": [
            {"radius": 165 + 0.2 * k, "gap": [10.8, 10.7], "winding": [0.511, 0.468]} for k in range(21)
        ],
        "two layers at the bore, windings 0.25 and 0.75, outer radius 206 to 246 mm": [
            {"radius": 165.0, "gap": [10.2, 30.8 + 2 * k], "winding": [0.25, 0.75]} for k in range(21)
        ],
        "the same, outer radius 258 to 298 mm": [
            {"radius": 165.0, "gap": [10.2, 78.8 + 2 * k], "winding": [0.25, 0.75]} for k in range(21)
        ],
    }
    rows = []
    for name, designs in places.items():
        values = []
        for one in designs:
            design.assign(one)
            point = design().detach()
            values.append([1e3 * measured(detector, point, 20_000, 0, simulator) for simulator in ("twin", "strips")])
        rows.append([name, *(f"{x.mean():.2f}, scatter {x.std(ddof=1):.2f}" for x in np.array(values).T)])
    return table(["21 designs each", "J of the twin `strips` [10⁻³]", "J of the simulator `strips` [10⁻³]"], rows)


def draw_twin(fits: Mapping[str, Calibration], path: Path) -> None:
    """Half-widths of the residuals by momentum, file and twin."""
    from mode_opt.report.style import SERIES, new_figure

    figure = new_figure(height=6.2, width=9.0)
    centres = [np.sqrt(low * high) for low, high in ((600.0, EDGES[1]), EDGES[1:3], EDGES[2:4], (EDGES[3], 60_000.0))]
    for k, (axes, (name, (scale, unit))) in enumerate(zip(figure.subplots(2, 2).flat, QUANTITIES.items(), strict=True)):
        for shift, look, (tracks, fit) in zip((0.97, 1.03), SERIES, fits.items(), strict=False):
            x = np.array(centres) / 1e3 * shift
            axes.errorbar(x, fit.observed[k, 3:] * scale, fit.errors[k, 3:] * scale, linestyle="", **look.points(),
                          label=f"run, {tracks}")  # fmt: skip
            axes.plot(x, fit.predicted[k, 3:] * scale, color=look.colour, linestyle=look.line, label=f"twin, {tracks}")
        axes.set(xscale="log", xlabel="momentum p [GeV]", ylim=(0, None))
        axes.set_ylabel(f"half-width of {name} [{unit}]")
    figure.axes[1].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def draw_design(found: Found, scanned: list[Scanned], path: Path) -> None:
    """Layers before and after, the scan, and slices of J through the design found."""
    from mode_opt.report.style import DESIGNS, SERIES, new_figure

    figure = new_figure(height=4.2, width=11.0)
    side, cloud, slices = figure.subplots(1, 3, width_ratios=(1.05, 1, 1))
    for index, (name, point) in enumerate((("run's design", found.start), ("design found", found.final))):
        look = list(DESIGNS.values())[index]
        for layer in range(3):
            _winds(side, Layers.of(point), layer, look, name if layer == 0 else None)
    side.set(xlabel="z [mm]", ylabel="distance from the axis, signed [mm]", xlim=(-480, 480), ylim=(-320, 320))
    side.legend(frameon=False, fontsize=8, loc="upper center", ncols=2)
    outer = [one.values["radius"] + sum(one.values["gap"]) for one in scanned]  # type: ignore[arg-type,operator]
    cloud.plot(outer, [1e3 * one.objective for one in scanned], ".", color="0.7", markersize=3, label="scan")
    for name, point in (("initial", found.start), ("final", found.final)):
        value = 1e3 * measured(found.detector, point, SCANNED)  # the tracks of the scan
        label = {"initial": "run's design", "final": "design found"}[name]
        cloud.errorbar(
            float(Layers.of(point).radius[0, -1]), value, linestyle="", **DESIGNS[name].points(8), label=label
        )
    cloud.set(xlabel="radius of the outer layer [mm]", ylabel="J [10⁻³]", ylim=(29, 50))
    cloud.legend(frameon=False, fontsize=8, loc="upper left")
    for look, share in zip(SERIES, (0.25, 0.375, 0.5), strict=False):
        _slice(slices, found, share, look)
    slices.set(xlabel="radius of the outer layer [mm]", ylabel="J [10⁻³]")
    slices.legend(frameon=False, fontsize=8, title="windings, inner + outer", title_fontsize=8)
    side.set_title("layers, and a strip of each stereo layer", fontsize=10)
    cloud.set_title("scan", fontsize=10)
    slices.set_title("inner layers at the bore", fontsize=10)
    figure.savefig(path, dpi=130)


def _winds(axes: Any, layers: Layers, layer: int, look: Any, label: str | None) -> None:
    """The outline of a layer, and one of its strips as seen from the side (solid in front, faint behind)."""
    radius, turn = float(layers.radius[0, layer]), float(layers.turn[0, layer])
    z = np.linspace(-470, 470, 400)
    angle = np.pi / 2 - turn * z
    front = np.where(np.cos(angle) >= -1e-6, radius * np.sin(angle), np.nan)
    behind = np.where(np.cos(angle) < 0, radius * np.sin(angle), np.nan)
    axes.plot([-470, 470, 470, -470, -470], [radius, radius, -radius, -radius, radius], color=look.colour,
              linestyle=look.line, linewidth=1.0, label=label)  # fmt: skip
    if layer != 1:
        axes.plot(z, front, color=look.colour, linewidth=1.6)
        axes.plot(z, behind, color=look.colour, linewidth=0.7, alpha=0.5)


def _slice(axes: Any, found: Found, share: float, look: Any) -> None:
    """J against the radius of the outer layer, for one way to share the winding."""
    design = copy.deepcopy(found.detector.design)
    radii, values = np.linspace(187, 294, 15), []
    for outer in radii:
        design.assign({"radius": 165.0, "gap": [10.2, float(outer) - 175.2], "winding": [share, 1 - share]})
        values.append(1e3 * measured(found.detector, design().detach(), 20_000))
    axes.plot(radii, values, color=look.colour, linestyle=look.line, label=f"{share:g} + {1 - share:g}")


def written(path: Path, parts: Mapping[str, str]) -> None:
    """Put each part between its marks."""
    text = path.read_text()
    for name, part in parts.items():
        head, _, tail = text.partition(f"<!-- {name} -->\n")
        text = f"{head}<!-- {name} -->\n{part}\n<!-- end of {name} -->{tail.partition(f'<!-- end of {name} -->')[2]}"
    path.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--designs", type=int, default=1024)
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--neighbours", action="store_true", help="only the table of neighbouring designs")
    options = parser.parse_args()
    torch.manual_seed(0)
    neighbours = {"neighbours": neighbours_table()}
    print(neighbours["neighbours"], flush=True)
    if options.neighbours:
        if (options.output / "README.md").exists():
            written(options.output / "README.md", neighbours)
        return
    own, events = refitted()
    pairs = {"recorded": reconstructed(), "strips": own}
    fits = {"recorded": calibrate(pairs["recorded"]), "strips": calibrate(own, sharing=1.0)}
    counts = {name: len(one.truth) for name, one in pairs.items()}
    every = fits | {"strips, no sharing": calibrate(own)}
    counts["strips, no sharing"] = counts["strips"]
    parts = neighbours | {"geometry": geometry_table(), "fit": fit_table(every, counts), "widths": width_table(fits)}
    print("\n\n".join(parts.values()), f"\n{counts['strips']} of {events} events refitted", flush=True)
    found: dict[str, Found] = {}
    for name in WAYS:
        found[name] = Found(name, options.steps)
        print(f"{name}\n{found[name].outcome}", flush=True)
    scans = {name: Scan(found[name], name, options.designs) for name in ("recorded", "strips")}
    real = {name: with_strips(found[name]) for name in scans}
    parts["design"] = design_table(found, scans, real)
    parts["facts"] = facts(found, scans, real)
    options.output.mkdir(parents=True, exist_ok=True)
    draw_twin(fits, options.output / "twin.png")
    draw_design(found["recorded"], scans["recorded"].designs, options.output / "design.png")
    print("\n\n".join((parts["design"], parts["facts"])))
    if (options.output / "README.md").exists():
        written(options.output / "README.md", parts)


if __name__ == "__main__":
    main()
