"""Table and figure of the finished runs."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from mode_opt.report.style import SERIES, dress, legend_above, new_figure

from .methods import METHODS, Run
from .problems import PROBLEMS

AT = (10, 15, 20, 30, 60)
"""Designs at which the table looks."""

PAGE = """# Fronts from few simulator calls

`python scripts/benchmarks/hypervolume.py`: hypervolume of the front that a method has found, against the designs that
it has evaluated; medians of the seeds, and their range in brackets. What counts are the true values of the designs
that the method holds for its front at that moment (`HypervolumeSearch.front`, for the others those that no other
measured value beats), so that a design that is on a front by luck gains nothing. The share is that of the true front:
in closed form for the first two, and of 16 x 16 designs for the calorimeter, which a finer choice can surpass.

- **{bowls}**: |x − c₁|² and |x − c₂|², 20 events with noise 0.3 an evaluation.
- **{sphere}**: the octant of a sphere, 20 events with noise 0.05 an evaluation. Near the ends of a bounded parameter no
  search looks (the last 1.8 % of its range), so that the whole volume is out of reach.
- **{calorimeter}**: relative spread of visible over true energy (the parametric shower as a black box, 500 electrons
  an evaluation) against length; nothing is trained.

`sweep` minimises the first goal under a grid of limits on the others ({two} levels with two goals, {three} x {three}
with three) with `bayesian`, each begun at the answer before; its levels lie evenly on the true front, which the others
are not told. `hypervolume` asks for two designs at a time and is told the reference point.

![hypervolume against designs](hypervolume.png)

{table}

CPU seconds a design, simulation included: {seconds} (medians over problems and seeds; one thread of a busy machine).

What falls short: with three goals in four dimensions `hypervolume` is no better than random designs up to about 30 of
them; what it asks for first are corners of the box, of which the processes know least. The sweep has 6 to 7 designs for
each of its levels, 3 of them a Sobol sequence, which is few: it is made for gradients or more calls.

No method here measures a design twice. A front that shall be quoted is measured again, with fresh events of each of its
designs (`mode-opt pareto` does so).
"""


def write(runs: Sequence[Run], folder: Path) -> list[Path]:
    """``hypervolume.md`` and ``hypervolume.png``."""
    titles = {name: problem().title for name, problem in PROBLEMS.items()}
    found = {method: [run.seconds for run in runs if run.method == method] for method in METHODS}
    seconds = ", ".join(f"{METHODS[m][0]} {statistics.median(s):.2g}" for m, s in found.items() if s)
    text = PAGE.format(two=5, three=3, table=_table(runs, titles), seconds=seconds, **titles)
    (folder / "hypervolume.md").write_text(text)
    return [folder / "hypervolume.md", _figure(runs, titles, folder)]


def share(run: Run, designs: int) -> float:
    """After so many designs; 0 before the first."""
    known = [value for count, value in zip(run.designs, run.shares, strict=True) if count <= designs]
    return known[-1] if known else 0.0


def _table(runs: Sequence[Run], titles: dict[str, str]) -> str:
    lines = [
        "| problem | method | seeds | " + " | ".join(f"{count} designs" for count in AT) + " |",
        "|---" * (3 + len(AT)) + "|",
    ]
    for name, title in titles.items():
        for method, (label, _) in METHODS.items():
            chosen = [run for run in runs if (run.problem, run.method) == (name, method)]
            if chosen:
                known = [count for count in AT if count <= chosen[0].designs[-1]]
                cells = [_cell([share(run, count) for run in chosen]) for count in known]
                cells += [""] * (len(AT) - len(known))
                lines.append(f"| {title} | {label} | {len(chosen)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(shares: list[float]) -> str:
    return f"{statistics.median(shares):.0%} [{min(shares):.0%}, {max(shares):.0%}]"


def _figure(runs: Sequence[Run], titles: dict[str, str], folder: Path) -> Path:
    figure = new_figure(3.4, 9.5)
    for axes, (name, title) in zip(figure.subplots(1, len(titles), sharey=True), titles.items(), strict=True):
        for (method, (label, _)), look in zip(METHODS.items(), SERIES, strict=False):
            chosen = [run for run in runs if (run.problem, run.method) == (name, method)]
            at = list(range(1, max((run.designs[-1] for run in chosen), default=0) + 1))
            shares = [[share(run, count) for run in chosen] for count in at]
            if not shares:
                continue
            axes.plot(
                at, [statistics.median(s) for s in shares], look.line, color=look.colour, label=label.replace("`", "")
            )
            axes.fill_between(
                at, [min(s) for s in shares], [max(s) for s in shares], color=look.colour, alpha=0.15, lw=0
            )
        axes.set_title(title, fontsize=10)
        axes.set_ylim(0, 1.05)
        dress(
            axes,
            "evaluated designs",
            "hypervolume / that of the true front" if axes.get_subplotspec().is_first_col() else None,
        )
    legend_above(figure, 3)
    path = folder / "hypervolume.png"
    figure.savefig(path, dpi=140)
    return path
