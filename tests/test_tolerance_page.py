"""The example of docs/tolerance.md runs and says what it should."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from mode_opt.experiment import ToleranceEffort
from mode_opt.experiment.tolerance.arrangement import DENSE, arrangement
from mode_opt.experiment.tolerance.effort import CALLS, EXTERNAL_CALLS
from mode_opt.experiment.tolerance.limits import NEAR

PAGE = (Path(__file__).parent.parent / "docs" / "tolerance.md").read_text()


def test_the_example(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    space = {}
    exec(compile(code, "tolerance.md", "exec"), space)
    found = space["found"]
    assert found.method == "regression" and found.fit.adequate and found.optimality.p_value > 1e-3
    assert found.parameters[0].curvature.value == pytest.approx(2.0, rel=0.01)
    assert capsys.readouterr().out.startswith("t 3.0")


def test_the_numbers_of_the_page_are_those_of_the_code():
    text = " ".join(PAGE.split())
    assert f"({CALLS:,}; of external programs {EXTERNAL_CALLS:,})".replace(",", " ") in text
    assert f"Above {DENSE} parameters" in text and f"within {NEAR:g} half ranges" in text
    assert all(len(arrangement(d)) == 1 + 4 * d + 2 * d * (d - 1) for d in (1, 2, 5))
    assert all(f"{entry.name}" in text for entry in fields(ToleranceEffort))
