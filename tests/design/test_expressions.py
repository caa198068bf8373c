"""Expressions: values, derivatives, units and sizes, and what is refused."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mode_opt.design import DesignPoint
from mode_opt.design.affine import Affine, NotAffineError, affine
from mode_opt.design.expressions import Expression
from mode_opt.design.kinds import Kind, Scope
from mode_opt.errors import ConfigurationError
from mode_opt.units import DIMENSIONLESS, parse_unit

MM, PRICE = parse_unit("mm"), parse_unit("EUR/kg")
SCOPE = Scope(
    {
        "a": Kind(MM),
        "b": Kind(MM, 3),
        "c": Kind(MM, 2),
        "n": Kind(DIMENSIONLESS, 1, True),
        "m": Kind(parse_unit("kg")),
    },
    {"absorber": ("Pb", "Fe")},
    {"absorber": {"price": ((2.0, 1.0), PRICE)}},
)
A, B, N, M, P = 2.0, torch.tensor([1.0, 5.0, 3.0]), 4.0, 0.5, torch.tensor([0.3, 0.7])


def point() -> DesignPoint:
    return DesignPoint.of(a=A, b=B, c=torch.ones(2), n=N, m=M, absorber=P)


def value(text: str) -> list[float]:
    return Expression.of(text, SCOPE, "key")(point())[0].tolist()


@pytest.mark.parametrize(
    ("text", "expected", "unit"),
    [
        ("n * (a + sum(b))", [44.0], "mm"),
        ("-a + 2 cm", [18.0], "mm"),
        ("a - -3 mm", [5.0], "mm"),
        ("a * b", [2.0, 10.0, 6.0], "mm**2"),
        ("b ** 2 / 2 mm", [0.5, 12.5, 4.5], "mm"),
        ("sqrt(a * 8 mm)", [4.0], "mm"),
        ("mean(b) + min(b) + max(b)", [9.0], "mm"),
        ("max(a, b, 3 mm)", [3.0, 5.0, 3.0], "mm"),
        ("b[3]", "bad index", ""),
        ("b[1]", [5.0], "mm"),
        ("abs(a - 5 mm)", [3.0], "mm"),
        ("exp(log(n)) + tanh(0) + sigmoid(0)", [4.5], ""),
        ("where(b > a, a, b)", [1.0, 2.0, 2.0], "mm"),
        ("where(absorber == 'Pb', 10 mm, 20 mm)", [17.0], "mm"),
        ("absorber.price * m", [0.65], "EUR"),
        ("m * absorber.price / 3 EUR/kg", [0.65 / 3], "kg"),
        ("3 EUR/kg * m / a", [0.75], "EUR/mm"),
        ("1 + 2 * 3 ** 2", [19.0], ""),
        ("a if a else a", "refused", ""),
    ],
)  # fmt: skip
def test_values_and_units(text: str, expected: list[float] | str, unit: str) -> None:
    if isinstance(expected, str):
        with pytest.raises(ConfigurationError, match="key"):
            value(text)
        return
    assert value(text) == pytest.approx(expected, rel=1e-6)
    assert Expression.of(text, SCOPE, "key").kind.unit.fits(parse_unit(unit))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a <= 400 kg", "units that fit: a is in mm, 400 kg in kg"),
        ("a + 3", "units that fit: a is in mm, 3 in dimensionless"),
        ("exp(a)", r"a pure number as argument of exp\(\), not one in mm"),
        ("a ** n", "a plain number as exponent of a value in mm"),
        ("n ** a", "an exponent without a unit"),
        ("b + c", r"arrays of one size, not of sizes \[2, 3\]"),
        ("length * 2", "'length' is none of a, b, c, n, m, absorber"),
        ("3 * mm", r"'mm' is none of .* \(units follow a number\)"),
        ("absorber * a", "a number: 'absorber' is categorical, write absorber.price"),
        ("absorber.density", r"one of \['price'\] after 'absorber.'"),
        ("a.price", "'a' is not one"),
        ("absorber == 'Cu'", "not 'absorber' and 'Cu'"),
        ("n == 3", "== and != only between a categorical parameter and an option"),
        ("1 mm < a < 3 mm", "one comparison"),
        ("a and b", "comparisons around 'and'"),
        ("(a > 1 mm) + 1", "a number where a comparison stands"),
        ("where(a, a, a)", "a comparison as first argument"),
        ("sqrt(a, a)", r"sqrt\(\) with 1 argument"),
        ("__import__('os').system('ls')", "an expression of arithmetic"),
        ("(lambda: 1)()", "an expression of arithmetic"),
        ("[x for x in b]", "an expression of arithmetic"),
        ("open('x')", "an expression of arithmetic"),
        ("a @ b", "an expression of arithmetic"),
        ("a +", "an expression of arithmetic"),
        ("'text'", "an expression of arithmetic"),
        ("", "a text of arithmetic"),
        (3, "a text of arithmetic"),
        ("a + 3 parsec_per_foo", "a known unit"),
    ],
)
def test_refusals_name_the_key(text: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^design\.constraints\[0\]: .*" + message):
        Expression.of(text, SCOPE, "design.constraints[0]")


def test_a_zero_fits_any_unit() -> None:
    assert value("max(a, 0)") == [2.0]


def test_batched_and_differentiable() -> None:
    expression = Expression.of("a * sum(b) + b * a * n", SCOPE, "key")
    layout = point().layout
    values = torch.rand(3, len(layout.centre), dtype=torch.float64, requires_grad=True)
    assert expression(DesignPoint(values, layout)).shape == (3, 3)
    torch.autograd.gradcheck(lambda v: expression(DesignPoint(v, layout)), values)


def test_expressions_can_be_pickled() -> None:
    expression = pickle.loads(pickle.dumps(Expression.of("a + 3 cm", SCOPE, "key")))
    assert expression(point()).tolist() == [[32.0]]


def identity(name: str) -> Affine:
    rows = {"a": slice(0, 1), "b": slice(1, 4), "n": slice(4, 5)}
    if name not in rows:
        raise NotAffineError
    matrix = np.eye(5)[rows[name]]
    return Affine(matrix, np.zeros(len(matrix)))


@pytest.mark.parametrize(
    ("text", "linear"),
    [
        ("3 * (a - sum(b)) / 2 + 1 mm", True),
        ("mean(b) - b[0]", True),
        ("a * sqrt(4) ** 3 + max(1 mm, 2 mm)", True),
        ("a ** 1", True),
        ("n * a", False),
        ("a * a / a", False),
        ("max(b)", False),
        ("a / n", False),
        ("where(n > 2, a, 2 * a)", False),
    ],
)
@given(st.lists(st.floats(0.5, 5.0), min_size=5, max_size=5))
def test_affine_detection_is_exact(text: str, linear: bool, x: list[float]) -> None:
    expression = Expression.of(text, SCOPE, "key")
    form = affine(expression, identity, 5)
    assert (form is not None) == linear
    if form is not None:
        tensor = torch.tensor([x], dtype=torch.float64)
        lookup = {"a": tensor[:, :1], "b": tensor[:, 1:4], "n": tensor[:, 4:]}
        expected = expression.evaluate(lookup, tensor)[0].numpy()
        assert form.matrix @ np.array(x) + form.constant == pytest.approx(expected, rel=1e-12, abs=1e-12)
