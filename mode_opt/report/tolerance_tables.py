"""The tables of tolerances on the page."""

from typing import Any

from mode_opt.report import formatting
from mode_opt.report.result import Estimate
from mode_opt.report.run_directory import RunDirectory
from mode_opt.report.tolerance import LimitRow, Sides, ToleranceReport

COMPONENTS = 4
INADEQUATE = "A quadratic does not describe the objective around this design: take the numbers for orders of magnitude."


def tolerance_tables(run: RunDirectory) -> dict[str, Any] | None:
    """What the page shows of ``tolerance.json``, or None."""
    report = run.tolerance
    if report is None:
        return None
    parameters = [
        {
            "name": row.name,
            "value": formatting.number(row.value),
            "unit": row.unit,
            "below": _side(row.sides, "below"),
            "above": _side(row.sides, "above"),
            "spread": _any(row.spread),
            "held": ", ".join(row.held),
        }
        for row in report.parameters
    ]
    limits = [_limit(row) for row in report.limits if row.state != "free" or row.kind != "bound"]
    directions = [
        {
            "kind": f"held by {row.held}" if row.held else row.kind,
            "components": ", ".join(f"{value:+.2f} {name}" for name, value in row.components[:COMPONENTS]),
            "curvature": formatting.estimate(row.curvature),
            "below": _side(row.sides, "below"),
            "above": _side(row.sides, "above"),
        }
        for row in report.directions
    ]
    words = _words(report)
    tables = {"loss": formatting.number(report.loss_percent), "parameters": parameters, "limits": limits}
    return tables | {"directions": directions, "words": words, "warning": None if report.adequate else INADEQUATE}


def _side(sides: Sides, which: str) -> str:
    deviation = sides.below if which == "below" else sides.above
    room, limit = getattr(sides, f"room_{which}"), getattr(sides, f"limit_{which}")
    shown = _any(deviation)
    return f"{shown}; {limit} allows {formatting.number(room, 3)}" if room < deviation.value else shown


def _any(estimate: Estimate) -> str:
    if estimate.value == float("inf"):
        return "any"
    return formatting.estimate(estimate) if estimate.standard_error else formatting.number(estimate.value)


def _limit(row: LimitRow) -> dict[str, str]:
    counts = row.state in ("active", "violated")
    shared = "" if row.unique else " (shared with others)"
    return {
        "words": row.words,
        "value": f"{formatting.number(row.value, 6)} {row.unit}".rstrip(),
        "state": row.state,
        "gain": f"{_any(row.gain)} per {row.unit or 'unit'}{shared}" if counts else "nothing",
        "percent": _any(row.gain_per_percent) if counts else "",
    }


def _words(report: ToleranceReport) -> str:
    how = (
        f"From a quadratic fitted to {report.designs} designs that were simulated around the final one."
        if report.method == "regression"
        else "From differences of gradients around the final design."
    )
    if report.p_value is None:
        return how
    verdict = "agrees with" if report.p_value > 0.05 else "does not agree with"
    text = f"{report.p_value:.2g}"
    return f"{how} The slope along what no limit holds {verdict} that of an optimum (p = {text})."
