"""What ``mode-opt tolerance`` prints and writes."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from mode_opt.experiment import Tolerances
from mode_opt.experiment.tolerance import LimitTolerance, ParameterTolerance, Side, profiles
from mode_opt.objectives import Estimate

SHOWN = 4
"""Components of a direction that are printed."""


def content(found: Tolerances, loss: float) -> dict[str, Any]:
    """``tolerance.json``: plain numbers, None where there is none or it is infinite."""
    fit = found.fit
    entries: dict[str, Any] = {
        "method": found.method,
        "loss_percent": loss,
        "loss": found.loss,
        "objective": found.objective.as_dict(),
        "optimality": found.optimality.as_dict(),
        "remaining": found.remaining,
        "parameters": [asdict(p) for p in found.parameters],
        "limits": [asdict(x) | {"gain_per_percent": x.gain_per_percent.as_dict()} for x in found.limits],
        "directions": [asdict(d) | {"kind": d.kind} for d in found.directions],
        "hessian": found.hessian.tolist(),
        "mixed_derivatives": found.model.full,
        "profiles": [asdict(p) for p in profiles(found)],
        "fit": None,
    }
    if fit is not None:
        radii = {p.name: float(r) * p.size for p, r in zip(found.parameters, fit.radius, strict=True)}
        entries["fit"] = {
            "radius": radii,
            "designs": len(fit.places),
            "failed": fit.failed,
            "reasons": list(fit.reasons),
            "simulator_calls": fit.calls,
            "trials": fit.trials,
            "lack_of_fit": fit.lack.as_dict(),
            "misfit": fit.misfit,
            "adequate": fit.adequate,
        }
    cleaned: dict[str, Any] = _finite(entries)
    return cleaned


def _finite(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def lines(found: Tolerances) -> Iterable[dict[str, Any]]:
    """``tolerance.csv``: one line a parameter; what is infinite or unknown is empty."""
    for entry in found.parameters:
        row: dict[str, Any] = {"parameter": entry.name, "unit": entry.unit, "value": entry.value}
        for name, side in (("below", entry.below), ("above", entry.above)):
            row |= _columns(name, side.deviation)
            row |= {f"{name}_limit": side.limit if side.stopped else "", f"{name}_room": _cell(side.room)}
        for name in ("deviation", "spread", "slope", "curvature"):
            row |= _columns(name, getattr(entry, name))
        yield row | {"held_by": " ".join(entry.held)}


def _columns(name: str, estimate: Estimate) -> dict[str, float | str]:
    return {name: _cell(estimate.value), f"{name}_standard_error": _cell(estimate.standard_error)}


def _cell(value: float) -> float | str:
    return value if math.isfinite(value) else ""


def show(found: Tolerances, loss: float, console: Console) -> None:
    """The tables, and what must be known to believe them."""
    console.print(f"objective {_text(found.objective)}; for a loss of {loss:g} %, that is {found.loss:.3g}:")
    console.print(_parameters(found.parameters))
    if any(side.stopped for p in found.parameters for side in (p.below, p.above)):
        console.print("  [...]: as far as this bound or constraint allows, which comes before the loss")
    limits = [x for x in found.limits if x.state != "free" or x.kind != "bound"]
    if limits:
        console.print(_limits(limits))
    for sentence in sentences(found):
        console.print(sentence)
    for number, direction in enumerate(found.directions, 1):
        largest = sorted(direction.components.items(), key=lambda item: -abs(item[1]))[:SHOWN]
        words = ", ".join(f"{value:+.2f} {name}" for name, value in largest)
        kind = f"held by {direction.held}" if direction.held else direction.kind
        deviation = _pair(direction.below, direction.above)
        console.print(
            f"direction {number}, {kind}: {words}; curvature {_text(direction.curvature)}, {deviation} half ranges"
        )


def _parameters(entries: list[ParameterTolerance]) -> Table:
    grid = Table("parameter", "value", "alone", "if all deviate (rms)", "unit", "held by", box=None,
                 padding=(0, 3, 0, 0))  # fmt: skip
    for entry in entries:
        alone = _pair(entry.below, entry.above)
        held = ", ".join(entry.held)
        grid.add_row(entry.name, f"{entry.value:.4g}", alone, _text(entry.spread), entry.unit, held)
    return grid


def _pair(below: Side, above: Side) -> str:
    """``±0.23 (error 0.01)`` if both sides are alike, else ``-0.1 +0.3``; where a limit comes first, the way to it."""
    infinite = math.isinf(below.deviation.value) and math.isinf(above.deviation.value)
    if infinite and not (below.stopped or above.stopped):
        return "any"
    free = [side.deviation for side in (below, above) if not side.stopped]
    error = max((e.standard_error for e in free if math.isfinite(e.standard_error)), default=0.0)
    if len(free) == 2 and abs(free[0].value - free[1].value) <= 2 * error:
        return f"±{min(free, key=lambda e: e.value).value:.3g} (error {error:.1g})"
    shown = f"-{_side(below)} +{_side(above)}"
    return f"{shown} (error {error:.1g})" if error else shown


def _side(side: Side) -> str:
    if side.stopped:
        return f"{side.room:.3g} [{side.limit}]"
    return f"{side.deviation.value:.3g}" if math.isfinite(side.deviation.value) else "any"


def _limits(limits: list[LimitTolerance]) -> Table:
    grid = Table("limit", "value", "state", "relaxed by 1 unit it buys", "by 1 %", box=None, padding=(0, 3, 0, 0))
    for x in limits:
        bought = _text(x.gain) + ("" if x.unique else " (shared)") if x.state in ("active", "violated") else "nothing"
        percent = _text(x.gain_per_percent) if x.state in ("active", "violated") else ""
        value = _text(x.value) if x.value.standard_error else f"{x.value.value:.5g}"
        grid.add_row(x.words, f"{value} {x.unit}".rstrip(), x.state, bought, percent)
    return grid


def sentences(found: Tolerances) -> list[str]:
    """What limits cost, whether the design is an optimum, and whether the quadratic model holds."""
    words = []
    for x in found.limits:
        if x.state == "active" and x.gain.value > 0:
            words.append(f"relaxing {x.words} by 1 {x.unit}".rstrip() + f" buys {_text(x.gain)} in the objective")
    rest = found.optimality
    if rest.p_value == rest.p_value:
        verdict = "agrees with 0" if rest.p_value > 0.05 else "does not agree with 0"
        test = f"chi2 {rest.chi2:.3g} for {rest.ndf:.3g}, p = {rest.p_value:.2g}"
        words.append(f"the slope along what no limit holds {verdict}, that of an optimum: {test}")
    if found.remaining > 0.01 * found.loss:
        part = 100 * found.remaining / abs(found.objective.value)
        words.append(f"at its minimum along the stiff directions the model promises {part:.2g} % less")
    fit = found.fit
    if fit is not None:
        lack = f"chi2 {fit.lack.chi2:.3g} for {fit.lack.ndf:.3g}, p = {fit.lack.p_value:.2g}"
        size = f"residuals {100 * fit.misfit / found.loss:.2g} % of the allowed loss"
        words.append(f"quadratic fitted to {len(fit.places)} designs, {fit.calls} simulator calls: {size}, {lack}")
        if not fit.adequate:
            words.append("a quadratic does NOT describe the objective here: take the numbers for orders of magnitude")
        if fit.failed:
            words.append(f"{fit.failed} designs failed and were left out: {'; '.join(fit.reasons)}")
    if not found.model.full:
        words.append("mixed derivatives are not measured for so many parameters: no directions")
    return words


def _text(estimate: Estimate) -> str:
    if not math.isfinite(estimate.value):
        return "any"
    error = f" ± {estimate.standard_error:.2g}" if math.isfinite(estimate.standard_error) else ""
    return f"{estimate.value:.4g}{error}"
