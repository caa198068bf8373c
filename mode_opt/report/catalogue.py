"""Every figure of the report, with its numbers and the caption that says how they were obtained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mode_opt.report.array_figure import STEPS, figure_arrays, numbers_arrays
from mode_opt.report.constraint_figure import figure_constraints, numbers_constraints
from mode_opt.report.detector_figure import figure_detector, numbers_detector
from mode_opt.report.diagnostics_figure import figure_diagnostics, numbers_diagnostics
from mode_opt.report.objective_figure import figure_objective, numbers_objective, outside, smoothing_window
from mode_opt.report.parameter_figures import (
    PANELS,
    figure_categories,
    figure_parameters,
    numbers_categories,
    numbers_parameters,
)
from mode_opt.report.promise_figure import figure_promises, numbers_promises, words_of_promises
from mode_opt.report.resolution_figures import (
    figure_bias,
    figure_resolution,
    numbers_bias,
    numbers_resolution,
    relative,
)
from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.surrogate_figure import figure_surrogate, numbers_surrogate
from mode_opt.report.table import Table
from mode_opt.report.tolerance_figure import figure_tolerance, numbers_tolerance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Numbers = Callable[[RunDirectory], Table | None]
Draw = Callable[[RunDirectory], "Figure | None"]
Caption = Callable[[RunDirectory, Table, "Figure"], str]


@dataclass(frozen=True)
class Plot:
    """A figure of the report.

    Attributes:
        name: of its files in ``figures/``.
        title: heading of its section.
        numbers: the plotted numbers, None if the run does not have them.
        draw: the figure, None if the run does not have the numbers.
        caption: text below it, from the run, the numbers and the drawn figure.
    """

    name: str
    title: str
    numbers: Numbers
    draw: Draw
    caption: Caption


def _objective(run: RunDirectory, numbers: Table, figure: Figure) -> str:
    series, parts = numbers.unique("series"), []
    if "training" in series:
        searched = run.history is None or not np.isfinite(run.history.floats("gradient_norm")).any()
        tried = " (of the designs that the search tried: the diamonds show its answer)"
        own = " (by the local model, of the design it was learnt around)"
        what = "" if not searched else tried if run.history is None or "predicted_gain" not in run.history else own
        parts.append(f"Thin line: the estimate of each design step, on the events of that step{what}.")
    if "running mean" in series:
        parts.append(f"Thick line: mean of {smoothing_window(run.steps)} neighbouring steps.")
    if "training" in series:
        parts.append(
            "Band: one standard error of a single step, as estimated by the run; "
            "about two thirds of the steps should lie in it."
        )
    if "validation" in series:
        parts.append("Diamonds: checks on validation events.")
    if "initial" in series or "final" in series:
        parts.append(
            "Circle and square with horizontal lines and bands: start and final design with standard errors, "
            "on fresh events that took no part in the optimisation, same primaries and same reconstruction "
            "effort for both. Training values come from a reconstruction that is still learning: "
            "they need not agree."
        )
    hidden = outside(numbers, figure.axes[0].get_ylim())
    if hidden:
        parts.append(f"{hidden} training steps lie outside the vertical range.")
    return " ".join([*parts, "Smaller is better."])


def _parameters(run: RunDirectory, numbers: Table, figure: Figure) -> str:
    if len(numbers.unique("parameter")) > PANELS:
        return (
            "Change of each scalar parameter since the first step, "
            "divided by its allowed range or, where that is not known, by its first value."
        )
    bounded = " Above each panel: the allowed range; hatched where the panel reaches beyond it."
    return (
        "Each scalar parameter against the design step (line), "
        "with the reported start (circle) and final (square) value."
        + (bounded if np.isfinite(numbers.floats("lower_bound")).any() else "")
    )


def _arrays(run: RunDirectory, numbers: Table, figure: Figure) -> str:
    thinned = f" The map shows {STEPS} of {run.steps} steps." if run.steps > STEPS else ""
    return f"Left: every element against the design step. Right: first and last step of the history.{thinned}"


def _constraints(run: RunDirectory, numbers: Table, figure: Figure) -> str:
    hatched = any(word != "unknown" for word in numbers.words("sense"))
    return (
        "Constrained quantities as the run recorded them at each step, with their limits."
        + (" Hatched: not allowed." if hatched else "")
        + (
            " Right: multiplier of the augmented Lagrangian."
            if len(figure.axes) > len(numbers.unique("constraint"))
            else ""
        )
    )


def _resolution(run: RunDirectory, numbers: Table, figure: Figure) -> str:
    return (
        f"Resolution: root mean square of {_residual(run, numbers)} in bins of the truth, bias included, for "
        "the start and the final design. Horizontal bars: the bin; vertical bars: standard errors. "
        "Lower panel: ratio of the two, below one is better; its error takes them as independent, "
        "which is cautious where both saw the same primaries."
    )


def _residual(run: RunDirectory, numbers: Table) -> str:
    kinds = {run.evaluation is not None and relative(run.evaluation, name) for name in numbers.unique("quantity")}
    if len(kinds) > 1:
        return "predicted/true − 1 (predicted − true where a unit is given)"
    return "predicted/true − 1" if True in kinds else "predicted − true"


def _bias(run: RunDirectory, numbers: Table, figure: Figure) -> str:
    return f"Bias: mean of {_residual(run, numbers)} in bins of the truth, with standard errors. Zero is best."


def _detector(run: RunDirectory, numbers: Table, figure: Figure) -> str:
    enlarged = ""
    if len(figure.axes) > len(numbers.unique("design")):
        enlarged = " Right: the first volumes enlarged, with their thickness, at the same scale for both."
    stretched = " Across the beam the scale is another one." if "not to scale" in figure.axes[0].get_ylabel() else ""
    return f"Cut through the detector along the beam, both designs at the same scale.{stretched}{enlarged}"


def _surrogate(run: RunDirectory, numbers: Table, figure: Figure) -> str:
    surrogate = run.surrogate
    beyond = numbers.words("within_limit").count("no")
    judged = sum(word != "" for word in numbers.words("within_limit"))
    notes = "" if surrogate is None else " ".join((surrogate.title + ".", *surrogate.notes))
    verdict = f" {judged - beyond} of {judged} bins lie within their limit." if judged else ""
    return f"{notes}{verdict} Error bars: statistical error of the reference."


def _promises(run: RunDirectory, numbers: Table, figure: Figure) -> str:
    return (
        f"{words_of_promises(numbers)} Each step is judged by the simulations made for the next one, which the model "
        "has not seen. Top left: deviation of the actual from the promised gain in its standard errors, of which about "
        "two thirds should lie in the darker band. Top right: both gains, linear near zero and logarithmic beyond; the "
        "error of the actual gain contains that of the promise, and a promise of 0 is a step that was not taken. "
        "Bottom: how far the model was trusted, and designs that could not be simulated or, if there were none, the "
        "time that the model took."
    )


def _tolerance(run: RunDirectory, numbers: Table, figure: Figure) -> str:
    hidden = (
        0
        if run.tolerance is None
        else len(run.tolerance.parameters)
        - len({n for k, n in zip(numbers.words("kind"), numbers.words("name"), strict=True) if k == "parameter"})
    )
    return (
        "Change of the objective around the final design along each parameter, and along directions of the design "
        "space in units of half the allowed ranges: quadratic model with its standard error. Dashed: the loss that is "
        "allowed; dotted: the deviations that it allows; hatched: beyond a bound or constraint."
        + (
            " Points: simulated designs that differ in this parameter alone, with errors against the mean of all; what "
            "the others differ in is corrected for with the model."
            if "measured" in numbers.unique("series")
            else ""
        )
        + (f" {hidden} parameters that matter less are not shown." if hidden else "")
    )


def _diagnostics(run: RunDirectory, numbers: Table, figure: Figure) -> str:
    return "How the optimisation ran: recorded at each design step, not smoothed."


CATALOGUE = (
    Plot("objective", "Objective during the optimisation", numbers_objective, figure_objective, _objective),
    Plot("resolution", "Resolution", numbers_resolution, figure_resolution, _resolution),
    Plot("bias", "Bias", numbers_bias, figure_bias, _bias),
    Plot("detector", "Detector", numbers_detector, figure_detector, _detector),
    Plot("parameters", "Design parameters", numbers_parameters, figure_parameters, _parameters),
    Plot("arrays", "Array parameters", numbers_arrays, figure_arrays, _arrays),
    Plot(
        "categories",
        "Categorical parameters",
        numbers_categories,
        figure_categories,
        lambda *_: "Probability of each option while optimising; the design table gives the option that was chosen.",
    ),
    Plot("constraints", "Constraints", numbers_constraints, figure_constraints, _constraints),
    Plot("surrogate", "Validation of the surrogate", numbers_surrogate, figure_surrogate, _surrogate),
    Plot("promises", "Promises of the local model", numbers_promises, figure_promises, _promises),
    Plot("tolerance", "Tolerances of the final design", numbers_tolerance, figure_tolerance, _tolerance),
    Plot("diagnostics", "Diagnostics", numbers_diagnostics, figure_diagnostics, _diagnostics),
)
