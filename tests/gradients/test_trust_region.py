"""Every branch of the verdict on a step, in numbers."""

import math

import numpy as np
import pytest

from mode_opt.errors import ConfigurationError
from mode_opt.gradients.trust_region import TrustRegion
from mode_opt.objectives import Estimate

START = 0.1


def judged(predicted, residual):
    """Verdict and new radius for pairs (value, standard error)."""
    region = TrustRegion(START, 0.01, 1.0)
    return region.judge(Estimate(*predicted), Estimate(*residual)), region.radius


@pytest.mark.parametrize(
    ("predicted", "residual", "accepted", "factor"),
    [
        ((1.0, 0.1), (0.0, 0.1), True, TrustRegion.GROW),  # came true
        ((1.0, 0.3), (0.7, 0.4), True, TrustRegion.GROW),  # 0.3 of it, more than a quarter
        ((1.0, 0.3), (0.8, 0.4), True, 1.0),  # 0.2 of it, 1.6σ below
        ((1.0, 0.3), (1.4, 0.4), True, 1.0),  # for the worse by 0.8σ, 2.8σ below
        ((1.0, 0.03), (0.2, 0.04), True, TrustRegion.SHRINK),  # better, but 4σ less than promised
        ((1.0, 0.3), (2.1, 0.4), False, TrustRegion.SHRINK),  # worse by 2.2σ
        ((0.1, 0.3), (0.8, 0.4), True, TrustRegion.WIDEN),  # nothing promised, nothing seen
        ((0.3, 0.3), (0.0, 0.4), True, TrustRegion.WIDEN),  # promised its own error
        ((0.1, 0.3), (1.3, 0.4), False, TrustRegion.SHRINK),  # nothing promised, worse by 2.4σ
        ((1.0, 0.03), (-0.4, 0.04), True, TrustRegion.GROW),  # 8σ better than promised
        ((0.0, 0.0), (0.0, 0.0), True, TrustRegion.WIDEN),  # no noise, nothing moved
        ((1.0, 0.0), (0.0, 0.0), True, TrustRegion.GROW),  # no noise, exactly as promised
        ((1.0, 0.0), (0.9, 0.0), True, 1.0),  # no noise, a tenth of it
        ((1.0, 0.0), (1.1, 0.0), False, TrustRegion.SHRINK),  # no noise, worse
    ],
)
def test_steps_are_taken_and_radii_changed_by_what_came_true(predicted, residual, accepted, factor):
    verdict, radius = judged(predicted, residual)
    assert verdict.accepted is accepted
    assert radius == pytest.approx(START * factor)


def test_the_numbers_of_a_verdict():
    verdict, _ = judged((1.0, 0.3), (0.8, 0.4))
    assert verdict.predicted == Estimate(1.0, 0.3)
    assert verdict.actual.value == pytest.approx(0.2) and verdict.actual.standard_error == pytest.approx(0.5)
    assert verdict.pull == pytest.approx(-1.6)
    assert judged((1.0, 0.0), (0.0, 0.0))[0].pull == 0.0


def test_growing_is_slower_than_shrinking_and_widening_is_faster_than_growing():
    assert TrustRegion.SHRINK < 1 < TrustRegion.GROW < TrustRegion.WIDEN < 1 / TrustRegion.SHRINK


def test_the_radius_stays_within_its_limits():
    region = TrustRegion(0.1, 0.05, 0.12)
    region.scale(10)
    assert region.radius == 0.12
    region.scale(1e-3)
    assert region.radius == 0.05


def test_a_state_brings_radius_and_inflation_back():
    region, other = TrustRegion(0.1), TrustRegion(0.3)
    region.judge(Estimate(1.0, 0.1), Estimate(1.0, 0.1))
    other.load(region.state())
    assert other.radius == region.radius != 0.1 and other.inflation == region.inflation > 1.0


def test_the_inflation_follows_the_pulls():
    """``f² ← f² (1 + 0.2 (pull² − 1))``, pulls of 3, of more than 5, and of 0; never below 1."""
    region = TrustRegion(0.1)
    assert region.calibrated(Estimate(2.0, 0.5)) == Estimate(2.0, 0.5)
    region.judge(Estimate(1.0, 0.3), Estimate(-1.5, 0.4))
    assert region.inflation == pytest.approx(2.6**0.5)
    assert region.calibrated(Estimate(2.0, 0.5)).standard_error == pytest.approx(0.5 * 2.6**0.5)
    assert region.calibrated(Estimate(2.0, 0.5)).value == 2.0
    region.judge(Estimate(1.0, 0.3), Estimate(50.0, 0.4))
    assert region.inflation == pytest.approx((2.6 * 5.8) ** 0.5)
    region.judge(Estimate(1.0, 0.3), Estimate(0.0, 0.4))
    assert region.inflation == pytest.approx((2.6 * 5.8 * 0.8) ** 0.5)
    for _ in range(30):
        region.judge(Estimate(1.0, 0.3), Estimate(0.0, 0.4))
    assert region.inflation == 1.0


def test_too_small_errors_are_found_out():
    """Errors of promises a quarter of the truth: after 300 steps they are right within a third, on average."""
    random, region, found = np.random.default_rng(0), TrustRegion(0.1), []
    for _ in range(300):
        residual = Estimate(random.normal(0.0, 1.0), 0.3)
        region.judge(region.calibrated(Estimate(1.0, 0.25)), residual)
        found.append(0.25 * region.inflation)
    assert np.mean(np.square(found[100:])) ** 0.5 == pytest.approx(1.0, rel=0.35)


@pytest.mark.parametrize(
    "radii", [(0.0, 0.0, 1.0), (0.1, 0.2, 1.0), (0.5, 0.1, 0.4), (0.1, 0.1, math.inf), (-1, -2, 1)]
)
def test_radii_that_are_not_positive_and_rising_are_refused(radii):
    with pytest.raises(ConfigurationError, match=r"gradient\.radius"):
        TrustRegion(*radii)
