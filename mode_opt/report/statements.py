"""What may be said about a run, and no more."""

import math
from dataclasses import dataclass

from mode_opt.report import formatting
from mode_opt.report.result import Estimate, Note, Result

NORMAL_95 = 1.959964  # two-sided 95 % quantile of the normal distribution


@dataclass(frozen=True)
class Verdict:
    """The comparison of start and final design.

    Attributes:
        kind: "better", "worse", "inconclusive" (the interval contains 0), "unpaired" (no paired difference,
            or none with an error) or "unmeasured" (start or final design was not evaluated).
        low, high: 95 % confidence interval of the improvement, ``value ± 1.96 standard errors``, or None.
    """

    kind: str
    low: float | None = None
    high: float | None = None


def verdict(result: Result) -> Verdict:
    """Judge the paired difference ``improvement = J(initial) - J(final)`` (smaller J is better)."""
    difference = result.improvement
    if difference is None:
        unmeasured = result.initial is None or result.final is None
        return Verdict("unmeasured" if unmeasured else "unpaired")
    if difference.standard_error is None or difference.standard_error <= 0:
        return Verdict("unpaired")
    low = difference.value - NORMAL_95 * difference.standard_error
    high = difference.value + NORMAL_95 * difference.standard_error
    kind = "better" if low > 0 else "worse" if high < 0 else "inconclusive"
    return Verdict(kind, low, high)


def factor(result: Result) -> Estimate | None:
    """``r = J(initial) / J(final)`` with its standard error; None unless both are positive.

    The two estimates share their events; their covariance follows from the error of the paired difference
    ``D``, ``cov = (σ_i² + σ_f² - σ_D²) / 2``, and first-order propagation gives
    ``(σ_r / r)² = (σ_i / J_i)² + (σ_f / J_f)² - 2 cov / (J_i J_f)``.
    """
    first, last, difference = result.initial, result.final, result.improvement
    if first is None or last is None or first.value <= 0 or last.value <= 0:
        return None
    ratio = first.value / last.value
    if first.standard_error is None or last.standard_error is None:
        return Estimate(ratio)
    covariance = 0.0
    if difference is not None and difference.standard_error is not None:
        bound = first.standard_error * last.standard_error
        paired = (first.standard_error**2 + last.standard_error**2 - difference.standard_error**2) / 2
        covariance = min(max(paired, -bound), bound)
    relative = (first.standard_error / first.value) ** 2 + (last.standard_error / last.value) ** 2
    relative -= 2 * covariance / (first.value * last.value)
    return Estimate(ratio, ratio * math.sqrt(max(relative, 0.0)))


def headline(result: Result) -> str:
    """One or two sentences: what changed, by how much, how sure that is."""
    judged = verdict(result)
    if judged.kind == "unmeasured":
        return f"{result.detector}: {_unmeasured(result)}"
    if judged.low is None or judged.high is None or result.improvement is None:
        unsure = "no paired difference with a standard error was measured, so no significance is claimed."
        return f"{result.detector}: {_both(result)}; {unsure}"
    size, bounds = (
        formatting.number(result.improvement.value, 3),
        formatting.interval(judged.low, judged.high),
    )
    difference = f"The paired difference (start − final) is {size}, 95 % confidence interval {bounds}"
    if judged.kind == "inconclusive":
        return f"{result.detector}: no significant improvement, {_both(result)}. {difference}, which contains zero."
    if judged.kind == "worse":
        return f"{result.detector}: the final design is worse than the start, {_both(result)}. {difference}."
    ratio = factor(result)
    times = "" if ratio is None else f", a factor of {formatting.estimate(ratio)}"
    return f"{result.detector}: the final design is better, {_both(result)}{times}. {difference}."


def _unmeasured(result: Result) -> str:
    name = result.objective or "objective"
    text = f"{name} was not measured on fresh events for both designs: nothing can be said about an improvement."
    known = (("start", result.initial), ("final", result.final))
    return " ".join([text, *(f"The {w} design has {formatting.estimate(e)}." for w, e in known if e is not None)])


def _both(result: Result) -> str:
    name, start, end = result.objective or "objective", result.initial, result.final
    if start is None or end is None:
        return f"{name} of one of the two designs not recorded"
    return f"{name} from {formatting.estimate(start)} to {formatting.estimate(end)}"


def warnings(result: Result, steps: int) -> list[str]:
    """What a reader must know before believing the headline."""
    found = []
    if not result.finished:
        reason = f" Reason given: {result.message}" if result.message else ""
        found.append(
            f"This run is not finished (status: {result.status}, {steps} design steps recorded). "
            f"Everything below is what had been recorded so far.{reason}"
        )
    for name, constraint in result.constraints.items():
        if constraint.satisfied is False:
            found.append(
                f"The reported design violates the constraint {name}: "
                f"{formatting.number(constraint.value, 6)} {constraint.unit}, "
                f"limit {formatting.number(constraint.limit, 6)} {constraint.unit}."
            )
    if result.gradient_warning:
        found.append(
            f"A check before the first design step found that the gradient of {result.gradient} cannot be trusted "
            f"for this detector: {result.gradient_warning}. mode-opt gradients compares the alternatives."
        )
    found += [f"Noted during the run: {_note(note)}." for note in result.notes]
    if result.finished and not steps:
        found.append("The history of this run holds no design steps.")
    if inconsistent(result):
        found.append(
            "The paired improvement does not agree with the difference of the start and final objective "
            "within five standard errors; one of them may be wrong."
        )
    return found


def _note(note: Note) -> str:
    return note.text.rstrip(".") + (f" ({note.count} times)" if note.count > 1 else "")


def inconsistent(result: Result) -> bool:
    """Whether improvement and initial - final differ by more than 5 of their summed standard errors."""
    parts = (result.initial, result.final, result.improvement)
    if any(part is None or part.standard_error is None for part in parts):
        return False
    first, last, difference = (part for part in parts if part is not None)
    errors = math.fsum(part.standard_error or 0.0 for part in (first, last, difference))
    return abs(first.value - last.value - difference.value) > 5 * errors
