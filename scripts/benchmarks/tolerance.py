"""Tolerances of an optimised calorimeter in several ways; writes docs/benchmarks/tolerance.md and its figure."""

import argparse
import io
import json
import shutil
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mode_opt.cli import main as mode_opt

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "tolerance.md"
CASES: dict[str, list[str]] = {
    "parametric, differences of gradients": [],
    "the same, another seed": ["seed=1"],
    "parametric as a black box, regression": ["opaque=true"],
    "parametric, nobody knows of the deviation": ["surveyed=false"],
    "surrogate as a black box, regression": ["simulator=surrogate", "opaque=true"],
}
FIGURE = "parametric as a black box, regression"
HEADER = """# Tolerances of a calorimeter

The final design of `mode-opt optimise simulator=parametric` (sampling calorimeter, 250 steps, seed 0), and
`mode-opt tolerance RUN_DIR …` for a loss of 1 %; 2 CPU cores shared with other work, so that times are upper limits.
Again with `python scripts/benchmarks/tolerance.py --run RUN_DIR`.
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--run", type=Path, default=None, help="an optimised run; made anew if there is none")
    options.add_argument("--output", type=Path, default=PAGE)
    options.add_argument("--cases", nargs="*", default=list(CASES), help="names of the rows")
    options.add_argument("--words", nargs="*", default=[], help="further words for all, e.g. verification.steps=100")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = arguments.run or Path(folder) / "run"
        if not run.exists():
            mode_opt(["optimise", "simulator=parametric", "quiet=true", f"hydra.run.dir={run}"])
        rows, printed = [], ""
        for number, name in enumerate(arguments.cases):
            copy = Path(folder) / str(number)
            shutil.copytree(run, copy)
            (copy / "report.html").unlink(missing_ok=True)
            begin, said = time.perf_counter(), io.StringIO()
            with redirect_stdout(said):
                code = mode_opt(["tolerance", str(copy), "quiet=true", *CASES[name], *arguments.words])
            if code:
                raise SystemExit(code)
            printed = printed or said.getvalue()
            found = json.loads((copy / "tolerance.json").read_text())
            if name == FIGURE:
                shutil.copy(copy / "figures" / "tolerance.png", arguments.output.with_suffix(".png"))
            rows.append(row(name, found, time.perf_counter() - begin))
            print(said.getvalue(), rows[-1], sep="\n", flush=True)
    arguments.output.write_text(page(rows, printed))


def row(name: str, found: dict[str, Any], seconds: float) -> str:
    """A line of the table."""
    cells = [name, text(found["objective"], 4)]
    for parameter in found["parameters"]:
        below, above = (side(parameter[which]) for which in ("below", "above"))
        cells.append(f"−{below} / +{above}")
    length = next(limit for limit in found["limits"] if limit["name"] == "length")
    cells.append(f"{1e6 * length['gain']['value']:.0f} ± {1e6 * length['gain']['standard_error']:.0f}")
    bends = [direction["curvature"]["value"] for direction in found["directions"]]
    cells += [", ".join(f"{bend:.2g}" for bend in bends), f"{found['remaining'] / found['objective']['value']:.1%}"]
    return "| " + " | ".join([*cells, f"{seconds:.0f} s"]) + " |"


def side(entry: dict[str, Any]) -> str:
    """The deviation, or the way to the limit that comes first."""
    value, room = entry["deviation"]["value"], entry["room"]
    if room is not None and (value is None or room < value):
        return f"{room:.3f} [{entry['limit']}]"
    return text(entry["deviation"], 3)


def text(estimate: dict[str, float | None], digits: int) -> str:
    value, error = estimate["value"], estimate["standard_error"]
    if value is None:
        return "any"
    return f"{value:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def page(rows: list[str], printed: str) -> str:
    names = [
        "",
        "J",
        "absorber (mm)",
        "gap (mm)",
        "relaxing the length buys (10⁻⁶ per mm)",
        "curvatures (per half range²)",
    ]
    names += ["promised at the minimum", "time"]
    lines = ["", "| " + " | ".join(names) + " |", "|" + "---|" * len(names), *rows, ""]
    text = HEADER + "\n".join(lines) + f"\nThe first, as printed:\n\n```\n{printed}```\n"
    return text + f"\nThe figure of “{FIGURE}”:\n\n![Tolerances](tolerance.png)\n"


if __name__ == "__main__":
    main()
