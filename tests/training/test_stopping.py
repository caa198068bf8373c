import pytest

from mode_opt.errors import ConfigurationError
from mode_opt.training import Budget, EarlyStopping


def test_whichever_ends_first():
    budget = Budget(steps=10, simulator_calls=1000, seconds=60.0)
    assert budget.spent(9, 999, 59.0) is None
    assert "10 design steps" in str(budget.spent(10, 0, 0))
    assert "1000 simulator calls" in str(budget.spent(1, 1000, 0))
    assert "60 seconds" in str(budget.spent(1, 0, 61.0))
    assert budget.fraction(5, 900, 6.0) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": None}, "at least one of steps"),
        ({"steps": 0}, "budget.steps: got 0"),
        ({"seconds": -1.0}, "budget.seconds"),
        ({"simulator_calls": "many"}, "budget.simulator_calls"),
    ],
)
def test_bad_budgets_are_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Budget(**arguments)


def test_patience():
    stopping = EarlyStopping(patience=2, significance=1.0)
    falling = [(1.0 / k, 0.01) for k in range(1, 8)]
    assert not stopping.exhausted(falling)
    assert not stopping.exhausted([(1.0, 0.1), (1.0, 0.1)])  # not enough validations yet
    assert stopping.exhausted([(1.0, 0.1), (0.5, 0.1), (0.49, 0.1), (0.51, 0.1)])  # changes below one error
    assert not stopping.exhausted([(1.0, 0.1), (0.5, 0.1), (0.49, 0.1), (0.3, 0.1)])
    assert not EarlyStopping(patience=None).exhausted([(1.0, 0.0)] * 100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patience": 0}, "early_stopping.patience: got 0"),
        ({"patience": -3}, "early_stopping.patience"),
        ({"patience": 2.5}, "a positive whole number, or null"),
        ({"significance": -1.0}, "early_stopping.significance"),
        ({"significance": float("nan")}, "early_stopping.significance"),
    ],
)
def test_bad_patience_is_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        EarlyStopping(**arguments)
