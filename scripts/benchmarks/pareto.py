"""Fronts of two goals on two detectors, swept by ``mode-opt pareto``; writes tables and the pictures of docs/pareto.md.

    python scripts/benchmarks/pareto.py [--only calorimeter] [--runs runs/pareto] [--output docs/benchmarks/pareto.md]

Runs that are finished in ``--runs`` are not repeated. The calorimeter takes 6 minutes of a core, the selection 2.
"""

import argparse
import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from mode_opt.cli import main as mode_opt

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
COMMANDS = {
    "calorimeter": [
        "detector=sampling_calorimeter",
        "simulator=parametric",
        "goals={resolution: own, length: length}",
        "points=6",
        "budget.steps=150",
        "verification.steps=500",
        "verification.replicas=2",
    ],
    "selection": [
        "detector=event_selection",
        "goals={significance: own, selected: {_target_: mode_opt.objectives.Rate, value: -1}}",
        "points=6",
        "verification.steps=300",
        "verification.replicas=2",
    ],
}


def made(name: str, runs: Path) -> Path:
    """The directory of a front, which is made or finished."""
    folder = runs / name
    resumed = (folder / "pareto.json").exists()
    words = [f"resume={folder}"] if resumed else [*COMMANDS[name], f"hydra.run.dir={folder}"]
    code = mode_opt(["pareto", "quiet=true", *words])
    if code:
        raise SystemExit(code)
    return folder


def number(text: str, digits: int = 4) -> str:
    """Of a cell, which may be empty."""
    return f"{float(text):.{digits}g}" if text else ""


def estimate(row: dict[str, str], name: str) -> str:
    """Value and error of a column."""
    value, error = row[name], row[f"{name}_standard_error"]
    return f"{number(value)} ± {number(error, 2)}" if error and float(error) else number(value)


def table(folder: Path) -> Iterator[str]:
    """Lines of a front in Markdown."""
    content = json.loads((folder / "front.json").read_text())
    with (folder / "front.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    first, second = (goal["name"] for goal in content["goals"])
    unit = content["goals"][1]["unit"]
    design = [name for name in rows[0] if name.startswith("design_")]
    units = content["parameters"]
    heads = [f"{n.removeprefix('design_')} {units.get(n.removeprefix('design_'), '')}".strip() for n in design]
    values = [f"limit on {second} {unit}".strip(), first, f"{second} {unit}".strip(), "multiplier", "slope"]
    yield f"| point | {' | '.join(values)} | on the front | {' | '.join(heads)} | calls |"
    yield "|" + "---|" * (8 + len(design))
    for row in rows:
        rates = [estimate(row, f"{kind}_{second}") for kind in ("multiplier", "slope")]
        values = [number(row[f"limit_{second}"]), estimate(row, first), estimate(row, second), *rates]
        cells = [*values, "yes" if row["on_front"] == "1" else "no", *(number(row[name], 3) for name in design)]
        yield f"| {row['role']} | {' | '.join(cells)} | {number(row['simulator_calls'], 3)} |"
    volume = content["hypervolume"]
    at = ", ".join(f"{name} {value:.4g}" for name, value in content["reference"].items())
    yield f"\nHypervolume {volume['value']:.4g} ± {volume['standard_error']:.2g} below {at}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(COMMANDS))
    parser.add_argument("--runs", type=Path, default=Path("runs/pareto"))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    lines = [
        "# Fronts of two goals",
        "",
        "Written by `python scripts/benchmarks/pareto.py`; see [pareto.md](../pareto.md).",
    ]
    for name in [arguments.only] if arguments.only else COMMANDS:
        folder = made(name, arguments.runs)
        words = " ".join(f"'{word}'" if "{" in word else word for word in COMMANDS[name])
        lines += ["", f"## {name}", "", f"`mode-opt pareto {words}`", "", *table(folder)]
        if arguments.output is not None:
            shutil.copyfile(folder / "figures" / "front.png", PICTURES / f"pareto_{name}.png")
    print("\n".join(lines))
    if arguments.output is not None:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
