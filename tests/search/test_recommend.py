"""What is recommended for which problem."""

import sys
import types

import pytest
from bowl import Bowl, OpenBowl, bowl_design
from toys import Counter, one_parameter

import mode_opt.gradients
from mode_opt.design import Design
from mode_opt.gradients import FiniteDifferences, Pathwise, ScoreFunction
from mode_opt.search import BayesianOptimisation, recommend
from mode_opt.simulation import Counted


def many(dimension: int) -> Design:
    return Design({"x": {"start": [0.5] * dimension, "bounds": [0.0, 1.0]}})


@pytest.fixture
def local(monkeypatch):
    """Stands for the local surrogate, which is not what is tested here."""
    monkeypatch.setattr(mode_opt.gradients, "LocalSurrogate", FiniteDifferences, raising=False)
    assert isinstance(sys.modules["mode_opt.gradients"], types.ModuleType)


def test_derivatives_that_exist_are_used():
    assert isinstance(recommend(OpenBowl(), bowl_design()).method, Pathwise)
    assert isinstance(recommend(Counter(), one_parameter()).method, ScoreFunction)
    assert "Counter" in recommend(Counted(Counter()), one_parameter()).reason


def test_a_black_box_is_modelled_as_a_whole_or_near_the_design(local):
    for dimension, calls, additive, name in [
        (1, None, False, "bayesian"),
        (2, 10**4, False, "bayesian"),
        (2, 10**7, False, "local_surrogate"),
        (10, 10**5, False, "bayesian"),
        (10, 10**5, True, "local_surrogate"),
        (10, None, True, "local_surrogate"),
        (100, 10**4, False, "local_surrogate"),
    ]:
        found = recommend(Bowl(), many(dimension), calls, additive)
        assert found.name == name, (dimension, calls, additive)
        assert "Bowl" in found.reason and f"{dimension} free parameter" in found.reason
        assert isinstance(found.method, BayesianOptimisation if name == "bayesian" else FiniteDifferences)
