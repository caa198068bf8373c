"""Fake run directories: a calorimeter, absorber from 4.5 to 2.3 mm and gap from 2.5 to 5.7 mm."""

import csv
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mode_opt.report import write_report

LAYERS = 50
WriteRun = Callable[..., Path]


def approach(first: Any, last: Any, step: np.ndarray, steps: int, scale: float = 0.18) -> np.ndarray:
    """An exponential approach to ``last``."""
    return last + (first - last) * np.exp(-step / (scale * max(steps, 1)))


def history_columns(steps: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A plausible history: noisy objective, validation every tenth step, a length that comes to its limit."""
    step = np.arange(steps, dtype=float)
    truth = approach(0.131, 0.0665, step, steps) * (1 + 0.25 * np.exp(-step / 4))
    error = 0.035 * truth
    checked = (step % 10 == 0) | (step == steps - 1)
    validation = approach(0.127, 0.0641, step, steps)
    absorber = approach(4.5, 2.3, step, steps) + 0.02 * rng.standard_normal(steps)
    gap = np.minimum(approach(2.5, 5.72, step, steps), 8.0 - absorber)
    return {
        "step": step,
        "objective": truth + error * rng.standard_normal(steps),
        "objective_standard_error": error,
        "validation": np.where(checked, validation + 0.0012 * rng.standard_normal(steps), np.nan),
        "validation_standard_error": np.where(checked, 0.0012, np.nan),
        "reconstruction_loss": approach(1.9, -1.2, step, steps, 0.1) + 0.06 * rng.standard_normal(steps),
        "absorber_thickness": absorber,
        "gap_thickness": gap,
        "constraint/length": LAYERS * (absorber + gap),
        "multiplier/length": approach(0.0, 0.021, step, steps),
        "gradient_norm": 0.09 * np.exp(-2.5 * step / max(steps, 1)) * np.exp(0.25 * rng.standard_normal(steps)) + 1e-3,
        "simulator_calls": 2048.0 * (step + 1),
        "seconds": 0.8 * (step + 1),
    }


def array_columns(steps: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Fifty absorber and fifty gap thicknesses."""
    step, layer = np.arange(steps, dtype=float), np.arange(LAYERS)
    columns = {}
    for name, first, last in (
        ("absorber_thickness", 4.5, 1.6 + 0.035 * layer),
        ("gap_thickness", 2.5, 6.8 - 0.05 * layer),
    ):
        for index in range(LAYERS):
            noise = np.cumsum(0.01 * rng.standard_normal(steps))
            columns[f"{name}[{index}]"] = approach(first, last[index], step, steps) + noise
    return columns


def category_columns(steps: int) -> dict[str, np.ndarray]:
    """Probabilities of three absorber materials."""
    step = np.arange(steps, dtype=float)
    scores = np.stack([1.5 * step / max(steps, 1), 4.0 * step / max(steps, 1), np.zeros(steps)])
    probability = np.exp(scores) / np.exp(scores).sum(0)
    return {f"absorber_material={name}": probability[i] for i, name in enumerate(("PbWO4", "Pb", "Fe"))}


def evaluation_rows(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Resolution a/sqrt(E) + c and bias in eight logarithmic bins of 0.5 to 10 GeV."""
    edges, rows = np.geomspace(500, 10000, 9), []
    for design, stochastic, constant in (("initial", 0.125, 0.035), ("final", 0.056, 0.024)):
        for low, high in pairwise(edges.tolist()):
            mean = float(np.sqrt(low * high))
            resolution = float(np.hypot(stochastic / np.sqrt(mean / 1000), constant))
            rows.append(
                {
                    "design": design,
                    "quantity": "energy",
                    "unit": "MeV",
                    "low": float(low),
                    "high": float(high),
                    "mean": mean,
                    "resolution": resolution * (1 + 0.03 * rng.standard_normal()),
                    "resolution_standard_error": resolution * 0.03,
                    "bias": 0.2 * resolution * float(rng.standard_normal()) * 0.3,
                    "bias_standard_error": resolution / np.sqrt(600),
                    "events": 600,
                }
            )
    return rows


def layers(absorber: float, gap: float) -> list[dict[str, Any]]:
    """The boxes of the calorimeter, 400 mm wide."""
    shapes, x = [], 0.0
    for _ in range(LAYERS):
        for label, material, width in (("absorber", "PbWO4", absorber), ("gap", "liquid argon", gap)):
            box = {
                "kind": "box",
                "x": [x, x + width],
                "y": [-200.0, 200.0],
                "material": material,
                "label": label,
            }
            shapes.append(box)
            x += width
    return shapes


def result_tree() -> dict[str, Any]:
    """``result.json`` of a finished run."""
    return {
        "detector": "sampling_calorimeter",
        "gradient": "pathwise",
        "seed": 7,
        "status": "finished",
        "simulator_calls": 409600,
        "wall_seconds": 247.3,
        "objective": {
            "name": "energy_resolution",
            "initial": {"value": 0.12683, "standard_error": 0.00121},
            "final": {"value": 0.06412, "standard_error": 0.00068},
            "improvement": {"value": 0.06271, "standard_error": 0.00094},
        },
        "design": {
            "absorber_thickness": {"initial": 4.5, "final": 2.3071, "unit": "mm"},
            "gap_thickness": {"initial": 2.5, "final": 5.6914, "unit": "mm"},
        },
        "constraints": {"length": {"value": 399.925, "limit": 400.0, "unit": "mm", "satisfied": True}},
        "versions": {"mode_opt": "0.1.0", "torch": "2.13.0"},
    }


def surrogate_tree() -> dict[str, Any]:
    """Validation of a surrogate in bins of energy and of sampling fraction; one bin beyond its limit."""
    rows = []
    bins = (
        "0.5 GeV",
        "1 GeV",
        "2 GeV",
        "5 GeV",
        "10 GeV",
        "fraction < 0.2",
        "0.2 to 0.35",
        "fraction > 0.35",
    )
    differences = {
        "mean gap energy": (0.4, -0.6, 0.9, -1.2, 0.2, 1.4, -0.3, 0.5),
        "resolution": (3, -6, 8, 2, -4, 17, 5, -9),
    }
    for quantity, limit, error in (("mean gap energy", 0.03, 0.006), ("resolution", 0.15, 0.045)):
        for name, percent in zip(bins, differences[quantity], strict=True):
            rows.append(
                {
                    "quantity": quantity,
                    "bin": name,
                    "reference": 100.0,
                    "reference_standard_error": 100.0 * error,
                    "surrogate": 100.0 + percent,
                    "relative_difference": percent / 100,
                    "limit": limit,
                }
            )
    return {
        "title": "Surrogate against HepEmShow",
        "rows": rows,
        "notes": ["26 held-out designs, 2080 showers."],
    }


CONFIGURATION = """detector:
  name: sampling_calorimeter
  design:
    parameters:
      absorber_thickness: {start: 4.5, bounds: [0.5, 6.0], unit: mm}
      gap_thickness: {start: 2.5, bounds: [1.0, 10.0], unit: mm}
    constraints:
      length: length <= 400 mm
logger:
  api_key: abc123hidden
seed: 7
"""


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """A function that writes a run directory; options as in `write_run_directory`."""

    def write(name: str = "run", **options: Any) -> Path:
        return write_run_directory(tmp_path / name, **options)

    return write


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its report, for tests that only read."""
    path = write_run_directory(tmp_path_factory.mktemp("reported") / "run")
    write_report(path)
    return path


def write_run_directory(
    path: Path,
    result: dict[str, Any] | None = None,
    steps: int = 200,
    columns: dict[str, np.ndarray] | None = None,
    arrays: bool = False,
    categories: bool = False,
    without: tuple[str, ...] = (),
) -> Path:
    """Write all files of a run except those named in ``without``."""
    rng = np.random.default_rng(20)
    (path / ".hydra").mkdir(parents=True)
    table = history_columns(steps, rng)
    table |= array_columns(steps, rng) if arrays else {}
    table |= category_columns(steps) if categories else {}
    write_csv(path / "history.csv", table | (columns or {}))
    rows = evaluation_rows(rng)
    write_csv(path / "evaluation.csv", {key: np.array([row[key] for row in rows]) for key in rows[0]})
    drawing = {"unit": "mm", "initial": layers(4.5, 2.5), "final": layers(2.3071, 5.6914)}
    provenance = {
        "command_line": ["mode-opt", "optimise", "experiment=sampling_calorimeter", "seed=7"],
        "git": {"revision": "0123abc", "clean": True},
        "hardware": {"processor": "2 cores", "device": "cpu"},
        "input_files": [{"path": "em_showers_scan.root", "sha256": "9f" * 32}],
        "timings": {"surrogate training": 61.2, "optimisation": 160.1},
    }
    trees = {
        "result": result or result_tree(),
        "drawing": drawing,
        "provenance": provenance,
        "surrogate": surrogate_tree(),
    }
    for name, tree in trees.items():
        (path / f"{name}.json").write_text(json.dumps(tree))
    (path / ".hydra" / "config.yaml").write_text(CONFIGURATION)
    for name in without:
        (path / name).unlink()
    return path


def write_csv(path: Path, table: dict[str, np.ndarray]) -> None:
    """Columns to a file, NaN as an empty cell."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table)
        for row in zip(*table.values(), strict=True):
            writer.writerow(["" if isinstance(v, float) and np.isnan(v) else v for v in row])
