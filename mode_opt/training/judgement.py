"""What a user must be told about the verified improvement, in plain words."""

from dataclasses import dataclass

from mode_opt.experiment import Verification

SIGNIFICANT = 1.96
"""Standard errors beyond which an improvement is no chance: those of the 95 % interval of the report."""

ROUNDING = 1e-6
"""Relative difference of two objectives that is left to rounding, where there is no statistical error."""


@dataclass(frozen=True)
class Judgement:
    """Whether the final design is better than the start.

    Attributes:
        kind: ``better``, ``worse`` or ``inconclusive``.
        words: one sentence with the improvement and its standard error.
    """

    kind: str
    words: str


def judge(measured: Verification) -> Judgement:
    """Better or worse if ``|improvement| > 1.96 standard errors`` (and rounding), else inconclusive."""
    value, error = measured.improvement.value, measured.improvement.standard_error
    limit = SIGNIFICANT * error + ROUNDING * abs(measured.initial.value)
    size = f"{value:.3g} ± {error:.2g}"
    if value > limit:
        return Judgement("better", f"the final design is better than the start: improvement {size}")
    if value < -limit:
        return Judgement("worse", f"the final design is worse than the start: improvement {size}")
    return Judgement("inconclusive", f"no significant improvement: {size} is consistent with zero")
