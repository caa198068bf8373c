"""The table of all runs: a CSV file with a row a run, and a page in Markdown."""

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .methods import METHODS
from .original import NOTE, PREFIX, label, original_runs
from .problems import Problem, listed, problem_named
from .record import FAILED, Run, quantile

DECADES = (1e3, 1e4, 1e5, 1e6)
FACTS = ("problem", "method", "seed", "status", "budget", "steps", "calls", "designs", "objective")
COSTS = ("wall_seconds", "cpu_seconds", "wall_seconds_per_step", "cpu_seconds_per_step")
HEAD = """# Methods for simulators that can only be called

Made by `python scripts/benchmarks/black_box.py`; every run is a row of [black_box.csv](black_box.csv). One simulator
call is one simulated event, and everything that a method simulates counts. Objectives are exact ones of the design
that the method would answer with at that moment; no method sees them. Cells: median over the seeds, [quartiles], and
how many runs got there if not all did; a run that did not counts as infinitely long. A dash: not within the budget, or
the time. Designs are distinct ones: where changing the geometry is what costs, they count instead of calls. No method
can repeat the noise of the simulator. What is in *italics* is no competitor: the original's code, run elsewhere, and
what knows more than it may, the exact gradient (which takes steps instead of calls) or how to repeat the noise.
"""


def write(runs: Sequence[Run], folder: Path, name: str = "black_box") -> list[Path]:
    """Both files, of these runs and the original's."""
    problems = {name: problem_named(name) for name in listed(runs)}
    table, page = folder / f"{name}.csv", folder / f"{name}.md"
    write_rows(runs, problems, table)
    everything = [*runs, *(run for run in original_runs() if run.problem in problems)]
    sections = [section(problem, [r for r in everything if r.problem == p]) for p, problem in problems.items()]
    machines = ", ".join(dict.fromkeys(run.machine for run in runs))
    text = "\n".join([HEAD, *sections, f"{NOTE}\n", f"Ours: {machines}, one thread a run.\n"])
    page.write_text(text, encoding="utf-8")
    return [table, page]


def write_rows(runs: Iterable[Run], problems: dict[str, Problem], path: Path) -> None:
    """The CSV file; ``calls_to_1`` belongs to ``threshold_1``, and is empty if that was not reached."""
    most = max((len(problem.thresholds) for problem in problems.values()), default=0)
    reached = [f"{what}_{k + 1}" for k in range(most) for what in ("threshold", "calls_to", "designs_to")]
    decades = [f"objective_at_{calls:.0f}" for calls in DECADES]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*FACTS, *COSTS, *decades, *reached, "message"])
        for run in runs:
            thresholds = problems[run.problem].thresholds
            cells = [v for t in thresholds for v in (t, run.reached(t), run.reached(t, "designs"))]
            cells += [math.nan] * (len(reached) - len(cells))
            facts = [run.problem, run.method, run.seed, run.status, run.budget, run.steps]
            facts += [run.last(name) for name in ("calls", "designs", "objective", "wall_seconds", "cpu_seconds")]
            facts += [run.seconds_per_step(), run.seconds_per_step("cpu_seconds")]
            numbers = [*facts, *(run.objective_at(calls) for calls in DECADES), *cells]
            writer.writerow([*map(_plain, numbers), run.message])


def _plain(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.6g}" if math.isfinite(value) else ""


def section(problem: Problem, runs: Sequence[Run]) -> str:
    """One problem: calls and designs to thresholds, objectives at budgets, costs."""
    methods = ordered(dict.fromkeys(run.method for run in runs))
    by_method = {method: [run for run in runs if run.method == method] for method in methods}
    free = [name for name in methods if all(run.last("calls") == 0 for run in by_method[name])]
    charged = [name for name in methods if name not in free]
    lines = [f"## {problem.name}", "", f"Start {problem.start:.4g}, lowest known objective {problem.optimum:.4g}.", ""]
    for axis, names in (("calls", charged), ("designs", charged), ("steps", free)):
        if names:
            rows = {name: [reach(by_method[name], t, axis) for t in problem.thresholds] for name in names}
            lines += grid([f"{axis} to {t:.4g}" for t in problem.thresholds], rows)
    rows = {name: [*(at(by_method[name], calls) for calls in DECADES), *costs(by_method[name])] for name in charged}
    heads = [f"at {calls:.0e} calls".replace("e+0", "e") for calls in DECADES]
    lines += grid([*heads, "s/step", "CPU s/step", "failed"], rows)
    return "\n".join(lines)


def ordered(methods: Iterable[str]) -> list[str]:
    """In the order of `METHODS`, the original behind."""
    places = {name: index for index, name in enumerate(METHODS)}
    return sorted(methods, key=lambda name: (places.get(name, len(places)), name))


def shown(method: str) -> str:
    """What a method is called in the tables."""
    if method.startswith(PREFIX):
        return f"*{label(method)}*"
    known = METHODS.get(method)
    if known is None:
        return method
    return {"ours": f"**{known.label}**", "reference": f"*{known.label}*"}.get(known.group, known.label)


def grid(heads: Sequence[str], rows: dict[str, list[str]]) -> list[str]:
    """The lines of a table, and an empty one."""
    lines = ["| method | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    return [*lines, *("| " + " | ".join([shown(name), *cells]) + " |" for name, cells in rows.items()), ""]


def reach(runs: Sequence[Run], threshold: float, axis: str) -> str:
    """Median, quartiles and successes of what it takes to get to a threshold."""
    values = [steps_to(run, threshold) if axis == "steps" else run.reached(threshold, axis) for run in runs]
    successes = sum(math.isfinite(value) for value in values)
    count = "" if successes == len(runs) else f" ({successes}/{len(runs)})"
    return "–" + count if successes == 0 else spread(values, whole) + count


def steps_to(run: Run, threshold: float) -> float:
    """Steps until the objective is at or below a threshold; infinite if it never is."""
    return next((float(k) for k, value in enumerate(run.columns["objective"]) if value <= threshold), math.inf)


def at(runs: Sequence[Run], calls: float) -> str:
    """Median and quartiles of the objective after so many calls."""
    known = [value for run in runs if not math.isnan(value := run.objective_at(calls))]
    count = "" if len(known) == len(runs) else f" ({len(known)}/{len(runs)})"
    return spread(known, lambda value: f"{value:.3g}") + count if known else "–"


def costs(runs: Sequence[Run]) -> list[str]:
    """Median seconds of a step on the wall and on the CPU, and how many runs failed."""
    medians = [quantile([run.seconds_per_step(n) for run in runs], 0.5) for n in ("wall_seconds", "cpu_seconds")]
    failed = sum(run.status == FAILED for run in runs)
    return [*("–" if math.isnan(value) else f"{value:.2g}" for value in medians), f"{failed}/{len(runs)}"]


def spread(values: Sequence[float], form: Callable[[float], str]) -> str:
    """``median [lower quartile, upper quartile]``, or one value."""
    low, middle, high = (quantile(list(values), share) for share in (0.25, 0.5, 0.75))
    alone = len(values) == 1 or math.isinf(low)
    return form(middle) + ("" if alone else f" [{form(low)}, {form(high)}]")


def whole(value: float) -> str:
    """A number of calls, with thin spaces between thousands; ∞ for never."""
    return "∞" if math.isinf(value) else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
