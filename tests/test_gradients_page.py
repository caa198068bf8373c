"""The example of docs/gradients.md runs, and its three gradients agree with the closed form."""

import re
from pathlib import Path

import pytest
import torch
from scipy.stats import poisson

PAGE = Path(__file__).parent.parent / "docs" / "gradients.md"
EVENTS = 4000


def test_the_example_gives_the_derivative_of_the_efficiency():
    """Thinned Poisson light is Poisson: dP(k ≥ 8)/dt = 4 P(k = 7) at the mean 4 t = 8."""
    (code,) = re.findall(r"<!-- example -->\n```python\n(.*?)```", PAGE.read_text(), re.S)
    found: dict[str, float] = {}
    space = {"print": lambda name, slope: found.update({name: float(slope)})}
    exec(compile(code, str(PAGE), "exec"), space)  # the user's own words
    design = space["design"]
    (jacobian,) = torch.autograd.grad(design()["thickness"].sum(), design.psi)
    exact = 4 * poisson.pmf(7, 8.0)
    assert set(found) == {"ScoreFunction", "PrunedAlternative", "MeasureValued"}
    for slope in found.values():  # standard errors: 0.02, 0.03 and 0.01
        assert slope / float(jacobian) == pytest.approx(exact, abs=0.12)
