"""What was found out about one gradient estimator, and the verdict on it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mode_opt.objectives.uncertainty import Estimate

AGREES, BIASED, UNDECIDED, REFUSED, FAILED = "agrees", "biased", "cannot tell", "refused", "failed"
FALSE_ALARM = 0.0027
"""Probability of calling a right estimator biased, over all parameters together: that of 3σ."""
RESOLVED = 0.2
"""Largest error, relative to the gradient, with which two gradients can be said to agree."""


@dataclass(frozen=True)
class ParameterFinding:
    """One estimator, one parameter.

    Attributes:
        name: of the parameter or direction.
        unit: of the parameter; the gradient is per this unit.
        gradient: mean over the batches, with standard error.
        reference: reference gradient with its error.
        scale: size that errors are compared with: that of the reference, but not less than the typical one of all.
        pull: (gradient − reference) / combined error.
        per_event: standard deviation of a single event, ``sd of the batches · √events``.
        kurtosis: excess kurtosis of the gradients of batches (of n events its value is about n times larger).
        sign_rate: fraction of batches with the sign of the reference; None if the reference has none (below 2σ).
        freedom: degrees of freedom of the combined error.
    """

    name: str
    unit: str
    gradient: Estimate
    reference: Estimate
    scale: float
    pull: float
    per_event: float
    kurtosis: float
    sign_rate: float | None
    freedom: float

    @property
    def error(self) -> float:
        """Combined standard error of estimator and reference."""
        return math.hypot(self.gradient.standard_error, self.reference.standard_error)

    @property
    def bias(self) -> float:
        """Gradient − reference."""
        return self.gradient.value - self.reference.value

    @property
    def fraction(self) -> float:
        """Bias over reference (−0.5: half of it is missing), or over its typical size where that is zero within 2σ."""
        known = abs(self.reference.value) > 2 * self.reference.standard_error
        size = self.reference.value if known else self.scale
        return self.bias / size if size else math.copysign(math.inf, self.bias)

    @property
    def resolved(self) -> bool:
        """Whether the error is small enough, relative to this derivative itself, to say that the two agree."""
        return self.error <= RESOLVED * abs(self.reference.value)


@dataclass(frozen=True)
class Finding:
    """One estimator.

    Attributes:
        name: of the estimator.
        verdict: ``agrees``, ``biased``, ``cannot tell``, ``refused`` or ``failed``.
        words: the verdict with its reasons.
        parameters: one for each direction; empty if nothing was measured.
        heavy_tails: whether the batches have tails that make standard errors unreliable.
        cosine: of the angle between mean gradient and reference, with jackknife error.
        relative_error: combined error of all directions over the size of the gradient.
        variance: of a single event, summed over the directions.
        seconds_per_event: median over the batches.
        calls_per_event: simulated events for each event of a batch.
        efficiency: 1/(variance × seconds), relative to the best estimator that is not biased.
        efficiency_calls: the same with simulator calls instead of seconds.
        batches: that were used.
        bad_batches: whose gradient was not finite.
    """

    name: str
    verdict: str
    words: str
    parameters: Sequence[ParameterFinding] = field(default_factory=tuple)
    heavy_tails: bool = False
    cosine: Estimate | None = None
    relative_error: float | None = None
    variance: float | None = None
    seconds_per_event: float | None = None
    calls_per_event: float | None = None
    efficiency: float | None = None
    efficiency_calls: float | None = None
    batches: int = 0
    bad_batches: int = 0

    @property
    def worst_fraction(self) -> float:
        """Largest bias that was found, relative to the typical size of the gradient; 0 if none was."""
        found = wrong(self.parameters)
        return max((abs(p.bias) / p.scale if p.scale > 0 else math.inf for p in found), default=0.0)

    def as_dict(self) -> dict[str, Any]:
        """For ``gradients.json``; what was not measured is absent."""
        scalars = {name: value for name, value in vars(self).items() if name not in ("parameters", "cosine")}
        content = {name: value for name, value in scalars.items() if value is not None}
        if self.cosine is not None:
            content["cosine"] = self.cosine.as_dict()
        content["parameters"] = {p.name: _parameter(p) for p in self.parameters}
        return content


def _parameter(finding: ParameterFinding) -> dict[str, Any]:
    content = {
        "unit": finding.unit,
        "gradient": finding.gradient.as_dict(),
        "reference": finding.reference.as_dict(),
        "pull": finding.pull,
        "bias_fraction": finding.fraction,
        "standard_deviation_per_event": finding.per_event,
        "kurtosis_of_batches": finding.kurtosis,
        "sign_rate": finding.sign_rate,
    }
    finite = {k: v for k, v in content.items() if not isinstance(v, float) or math.isfinite(v)}
    return {k: v for k, v in finite.items() if v is not None}


def threshold(parameters: int, freedom: float) -> float:
    """Pull beyond which an estimator is called biased: `FALSE_ALARM` shared by all parameters (Bonferroni).

    The quantile is that of Student's t, because the combined error is itself estimated from few batches.
    """
    from scipy.stats import t

    return float(t.isf(FALSE_ALARM / 2 / max(parameters, 1), max(freedom, 1.0)))


def freedom(error: Estimate, batches: int, reference: Estimate, reference_batches: int | None) -> float:
    """Degrees of freedom of the error of a difference (Welch and Satterthwaite); a reference of None is exact."""
    own, other = error.standard_error**2, reference.standard_error**2
    size = own**2 / (batches - 1) + (0.0 if reference_batches is None else other**2 / (reference_batches - 1))
    return (own + other) ** 2 / size if size > 0 else math.inf


def wrong(parameters: Sequence[ParameterFinding]) -> list[ParameterFinding]:
    """Those that are biased, the largest bias relative to the size of the gradient first."""
    found = [p for p in parameters if abs(p.pull) > threshold(len(parameters), p.freedom)]
    return sorted(found, key=lambda p: -abs(p.bias) / max(p.scale, 1e-300))


def verdict(parameters: Sequence[ParameterFinding], relative_error: float) -> tuple[str, str]:
    """The verdict on measured derivatives, and its reasons in words."""
    biased = wrong(parameters)
    if biased:
        first = biased[0]
        parts = f"{first.name} by {_percent(first.fraction)} ({abs(first.pull):.1f} sigma)"
        others = f" and {len(biased) - 1} more" if len(biased) > 1 else ""
        return BIASED, f"biased: {parts}{others}"
    apart = [p for p in parameters if abs(p.bias) > max(RESOLVED, 2 * relative_error) * p.scale]
    if relative_error <= RESOLVED and apart:
        first = max(apart, key=lambda p: abs(p.pull))
        words = f"{first.name} differs by {_percent(first.fraction)} ({abs(first.pull):.1f} sigma); use more batches"
        return UNDECIDED, f"cannot tell: {words}"
    if not relative_error <= RESOLVED:
        return UNDECIDED, f"cannot tell: errors are {_percent(relative_error, '')} of the gradient; use more batches"
    loose = [p.name for p in parameters if not p.resolved]
    if not loose:
        return AGREES, f"agrees within errors of {_percent(relative_error, '')}"
    shown = ", ".join(loose[:3]) + (f" and {len(loose) - 3} more" if len(loose) > 3 else "")
    return AGREES, f"agrees within errors of {_percent(relative_error, '')}; too small to tell: {shown}"


def _percent(fraction: float, sign: str = "+") -> str:
    if not math.isfinite(fraction):
        return "more than 100 %"
    return f"{100 * fraction:{sign}.{1 if abs(fraction) < 0.1 else 0}f} %"
