"""What is recommended for which problem."""

from bowl import Bowl, OpenBowl, bowl_design
from toys import Counter, one_parameter

from mode_opt.design import Design
from mode_opt.gradients import LocalRegression, LocalSurrogate, Pathwise, ScoreFunction
from mode_opt.search import BayesianOptimisation, recommend
from mode_opt.simulation import Counted
from mode_opt.surrogates import gaussian


def many(dimension: int) -> Design:
    return Design({"x": {"start": [0.5] * dimension, "bounds": [0.0, 1.0]}})


def test_derivatives_that_exist_are_used():
    assert isinstance(recommend(OpenBowl(), bowl_design()).method, Pathwise)
    assert isinstance(recommend(Counter(), one_parameter()).method, ScoreFunction)
    assert "Counter" in recommend(Counted(Counter()), one_parameter()).reason


def test_a_black_box_is_modelled_as_a_whole_or_near_the_design():
    classes = {"bayesian": BayesianOptimisation, "local_regression": LocalRegression, "local_surrogate": LocalSurrogate}
    for dimension, calls, additive, trained, name in [
        (1, None, False, False, "bayesian"),
        (2, 10**4, False, False, "bayesian"),
        (2, 10**4, True, True, "local_surrogate"),
        (2, 10**7, False, False, "local_surrogate"),
        (10, 10**4, False, False, "bayesian"),
        (10, 10**5, False, False, "local_surrogate"),
        (10, 10**5, True, False, "local_regression"),
        (10, None, True, False, "local_regression"),
        (100, 10**4, False, False, "local_surrogate"),
    ]:
        found = recommend(Bowl(), many(dimension), calls, additive, trained)
        assert found.name == name, (dimension, calls, additive)
        assert "Bowl" in found.reason and f"{dimension} free parameter" in found.reason
        assert isinstance(found.method, classes[name])


def test_the_family_of_a_recommended_surrogate_can_be_chosen():
    found = recommend(Bowl(), many(10), None, surrogate=gaussian)
    assert isinstance(found.method, LocalSurrogate) and found.method.factory is gaussian
