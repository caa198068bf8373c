"""What a local model promised for each step, and what fresh simulations said about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.style import BAND, FINAL, GREY, INITIAL, INK, SERIES, THIN, dress, legend_above, new_figure
from mode_opt.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("step", "promised", "promised_standard_error", "actual", "actual_standard_error", "pull", "accepted")
WITHIN, EXPECTED = 2.0, 0.9545
"""Standard errors within which a promise counts as kept, and how often that happens by chance."""
SIGNIFICANT = 3.0


def numbers_promises(run: RunDirectory) -> Table | None:
    """One row a judged step: the step that was promised, its gain, and the verdict of the next simulations.

    A model promises in one row of the history and is judged in a later one, when designs around the step's end
    have been simulated for the next: a verdict belongs to the last promise before it. Columns of a design
    parameter of the same name are not mistaken for these.
    """
    history = run.history
    if history is None or set(run.result.design) & {"pull", "predicted_gain", "actual_gain"}:
        return None
    names = ("step", "predicted_gain", "predicted_gain_standard_error", "actual_gain", "actual_gain_standard_error")
    step, promised, error, actual, actual_error = (history.floats(name) for name in names)
    pull, accepted = history.floats("pull"), history.floats("accepted")
    made = np.flatnonzero(np.isfinite(promised))
    rows: list[tuple[float, ...]] = []
    for judged in np.flatnonzero(np.isfinite(pull) & np.isfinite(actual)):
        before = made[made < judged]
        if len(before):
            k = before[-1]
            cells = (step[k], promised[k], error[k], actual[judged], actual_error[judged], pull[judged])
            rows.append(tuple(float(cell) for cell in (*cells, accepted[judged])))
    return Table.of_rows(COLUMNS, rows) if rows else None


def figure_promises(run: RunDirectory) -> Figure | None:
    """Pulls with their ±1 σ and ±3 σ bands, promised against actual gain, radius, failed designs or else seconds."""
    numbers = numbers_promises(run)
    if numbers is None or run.history is None:
        return None
    figure = new_figure(height=6.2)
    pulls, gains, radius, last = figure.subplots(2, 2).flat
    _pulls(pulls, numbers)
    _gains(gains, numbers)
    _course(radius, run.history, "radius", "radius of the trust region")
    if np.nansum(run.history.floats("failed_designs")) > 0:
        _course(last, run.history, "failed_designs", "designs that failed in a step")
    else:
        _course(last, run.history, "surrogate_seconds", "learning and descent [s a step]")
    legend_above(figure, 5)
    return figure


def words_of_promises(numbers: Table) -> str:
    """How the promises came true, in a sentence or two."""
    pull, total = numbers.floats("pull"), len(numbers)
    kept, back = int((np.abs(pull) <= WITHIN).sum()), int((numbers.floats("accepted") == 0).sum())
    judged = "1 step" if total == 1 else f"{total} steps"
    text = f"The model's promises came true within {WITHIN:g} standard errors in {kept} of {judged}"
    text += f" ({EXPECTED * total:.0f} are expected of right errors)" if total >= 10 else ""
    text += f"; {back} {'step was' if back == 1 else 'steps were'} significantly for the worse." if back else "."
    mean, limit = float(pull.mean()), SIGNIFICANT / np.sqrt(total)
    if total >= 10 and abs(mean) > limit:
        text += f" It promises too {'much' if mean < 0 else 'little'}: the mean pull is {mean:+.1f}."
    rms = float(np.sqrt((pull**2).mean()))
    if total >= 10 and rms**2 > 1 + SIGNIFICANT * np.sqrt(2 / total):
        text += f" Its errors are too small by a factor of about {rms:.1f}."
    return text


def _pulls(axes: Axes, numbers: Table) -> None:
    step, pull = numbers.floats("step"), numbers.floats("pull")
    for width, colour, label in ((3.0, "#EEEEEE", "±3 σ"), (1.0, BAND, "±1 σ")):
        axes.axhspan(-width, width, color=colour, linewidth=0, zorder=0, label=label)
    axes.axhline(0.0, color=INK, linewidth=0.6)
    taken = numbers.floats("accepted") != 0
    for chosen, look, label in ((taken, FINAL, "step accepted"), (~taken, INITIAL, "step for the worse")):
        if chosen.any():
            style = look.points(4.5)
            del style["capsize"], style["elinewidth"]
            axes.plot(step[chosen], pull[chosen], linestyle="none", label=label, gid=label, **style)
    reach = max(3.5, 1.1 * float(np.abs(pull).max()))
    axes.set_ylim(-reach, reach)
    _steps(axes, "pull: (actual − promised) / σ")


def _gains(axes: Axes, numbers: Table) -> None:
    """The error of the actual gain contains that of the promise, so that only it is drawn."""
    promised, actual, error = (numbers.floats(name) for name in ("promised", "actual", "actual_standard_error"))
    linear = max(float(np.median(error)), 1e-12)
    taken = numbers.floats("accepted") != 0
    for chosen, look in ((taken, FINAL), (~taken, INITIAL)):
        if chosen.any():
            axes.errorbar(promised[chosen], actual[chosen], error[chosen], linestyle="none", **look.points(4))
    for scale in (axes.set_xscale, axes.set_yscale):
        scale("symlog", linthresh=linear, linscale=0.8)
    ends = np.array([min(float(promised.min()), 0.0), max(float(promised.max()), linear)])
    axes.plot(ends, ends, color=GREY, linewidth=1.0, linestyle="--", label="promise kept", gid="diagonal", zorder=0)
    axes.axhline(0.0, color=THIN, linewidth=0.6, zorder=0)
    dress(axes, "promised gain of a step", "actual gain")


def _course(axes: Axes, history: Table, name: str, label: str) -> None:
    step, values = history.floats("step"), history.floats(name)
    known = np.isfinite(values)
    marker = "." if known.sum() <= 40 else ""
    axes.plot(step[known], values[known], color=SERIES[0].colour, linewidth=1.0, marker=marker, gid=name)
    axes.set_ylim(bottom=0.0)
    _steps(axes, label)


def _steps(axes: Axes, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    dress(axes, "design step", label)
