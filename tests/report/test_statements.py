"""What the report claims, and what it does not."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mode_opt.report.result import ConstraintResult, Estimate, Note, Result
from mode_opt.report.statements import factor, headline, inconsistent, verdict, warnings

BETTER = Result(
    detector="calorimeter",
    status="finished",
    objective="resolution",
    initial=Estimate(0.12683, 0.00121),
    final=Estimate(0.06412, 0.00068),
    improvement=Estimate(0.06271, 0.00094),
)


def test_a_significant_improvement_is_stated_with_its_interval() -> None:
    judged = verdict(BETTER)
    assert judged.kind == "better"
    assert judged.low == pytest.approx(0.06271 - 1.959964 * 0.00094)
    text = headline(BETTER)
    assert "better, resolution from 0.1268 ± 0.0012 to 0.06412 ± 0.00068, a factor of 1.978" in text
    assert "0.0627, 95 % confidence interval 0.06087 to 0.06455" in text


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (0.0018, "inconclusive", "no significant improvement"),
        (-0.0018, "inconclusive", "contains zero"),
        (0.00197, "better", "is better"),
        (-0.00197, "worse", "the final design is worse than the start"),
    ],
)
def test_the_boundary_of_significance_is_two_sided_95_percent(value: float, kind: str, words: str) -> None:
    result = replace(BETTER, final=Estimate(0.12683 - value, 0.0012), improvement=Estimate(value, 0.001))
    assert verdict(result).kind == kind
    assert words in headline(result)
    if kind != "better":
        assert "factor" not in headline(result)


@pytest.mark.parametrize("improvement", [None, Estimate(0.06), Estimate(0.06, 0.0)])
def test_without_an_error_no_significance_is_claimed(improvement: Estimate | None) -> None:
    text = headline(replace(BETTER, improvement=improvement))
    assert "no significance is claimed" in text and "better" not in text


def test_unmeasured_designs_give_no_claim() -> None:
    text = headline(replace(BETTER, final=None, improvement=None))
    assert "nothing can be said about an improvement" in text and "The start design has 0.1268" in text
    assert "factor" not in headline(replace(BETTER, initial=Estimate(-1.0, 0.1), final=Estimate(-2.0, 0.1)))


def test_the_error_of_the_factor_is_that_of_paired_measurements() -> None:
    # Toy experiments: correlated pairs, ratio of means; 4 sigma on the spread of 4000 experiments.
    rng = np.random.default_rng(3)
    sigma = np.array([[0.0012**2, 0.6 * 0.0012 * 0.0007], [0.6 * 0.0012 * 0.0007, 0.0007**2]])
    draws = rng.multivariate_normal([0.127, 0.064], sigma, size=4000)
    paired = math.sqrt(sigma[0, 0] + sigma[1, 1] - 2 * sigma[0, 1])
    result = replace(
        BETTER,
        initial=Estimate(0.127, 0.0012),
        final=Estimate(0.064, 0.0007),
        improvement=Estimate(0.063, paired),
    )
    found = factor(result)
    assert found is not None and found.standard_error is not None
    spread = (draws[:, 0] / draws[:, 1]).std()
    assert found.standard_error == pytest.approx(spread, rel=4 / math.sqrt(2 * 4000) + 0.01)


def test_warnings_tell_what_spoils_the_headline() -> None:
    assert warnings(BETTER, 10) == []
    failed = replace(BETTER, status="failed", message="NaN in the objective")
    assert "status: failed, 10 design steps" in warnings(failed, 10)[0]
    assert "NaN in the objective" in warnings(failed, 10)[0]
    violated = replace(BETTER, constraints={"length": ConstraintResult(400.004, 400.0, "mm", False)})
    assert "violates the constraint length: 400.004 mm, limit 400 mm" in warnings(violated, 10)[0]
    assert "no design steps" in warnings(BETTER, 0)[0]
    noted = replace(BETTER, notes=(Note("a design failed.", 3), Note("it diverged")))
    assert warnings(noted, 10) == [
        "Noted during the run: a design failed (3 times).",
        "Noted during the run: it diverged.",
    ]
    flipped = replace(BETTER, improvement=Estimate(-0.06271, 0.00094))
    assert inconsistent(flipped) and "does not agree" in warnings(flipped, 10)[0]
