"""Numbers as text."""

import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mode_opt.report import formatting
from mode_opt.report.result import Estimate

SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def parsed(text: str) -> float:
    mantissa, _, power = text.replace("−", "-").partition(" × 10")
    return float(mantissa) * 10.0 ** int(power.translate(SUPERSCRIPTS) or 0)


@given(value=st.floats(-1e12, 1e12), digits=st.integers(2, 6))
def test_numbers_keep_their_significant_digits(value: float, digits: int) -> None:
    assume(value == 0 or abs(value) > 1e-12)
    assert parsed(formatting.number(value, digits)) == pytest.approx(value, rel=0.5001 * 10.0 ** (1 - digits))


@given(value=st.floats(-1e8, 1e8), error=st.floats(1e-9, 1e8))
def test_an_estimate_is_rounded_to_its_error(value: float, error: float) -> None:
    text = formatting.estimate(Estimate(value, error))
    power = re.search(r"× 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)$", text)
    scale = 10.0 ** int(power.group(1).translate(SUPERSCRIPTS)) if power else 1.0
    shown, shown_error = (float(part) for part in re.findall(r"[-\d.]+", text.replace("−", "-").split("×")[0]))
    assert shown_error * scale == pytest.approx(error, rel=0.051)
    assert abs(shown * scale - value) <= 0.051 * error + 1e-9 * abs(value)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.0641234, 0.00068), "0.06412 ± 0.00068"),
        (Estimate(-12.3456, 1.5), "−12.3 ± 1.5"),
        (Estimate(1234.0, 250.0), "1234 ± 250"),
        (Estimate(1.234e-7, 4.5e-9), "(1.234 ± 0.045) × 10⁻⁷"),
        (Estimate(0.5, None), "0.5 (no standard error)"),
        (None, "not measured"),
    ],
)
def test_estimates_as_in_a_paper(estimate: Estimate | None, text: str) -> None:
    assert formatting.estimate(estimate) == text


def test_values_and_changes() -> None:
    assert formatting.value([4.5] * 50) == "50 × 4.5"
    assert formatting.value([1.0, 2.0, 3.0, 4.0, 5.0]) == "1 to 5 (mean 3)"
    assert formatting.value([1.0, math.nan]) == "1, not measured"
    assert formatting.value(["Pb", "Fe"]) == "Pb, Fe"
    assert formatting.change(4.5, 2.25) == "−2.25 (−50 %)"
    assert formatting.change(0.0, 1.0) == "+1"
    assert formatting.change("Pb", "Fe") == "changed" and formatting.change("Pb", "Pb") == "unchanged"
    assert formatting.change([1.0, 2.0], [2.0, 1.0]) == "−1 to +1"
    assert formatting.change(1.0, None) == "not measured"
    assert formatting.duration(247.3) == "4 min 07 s" and formatting.duration(7384) == "2 h 03 min"
    assert formatting.count(1234567) == "1\u202f234\u202f567"
