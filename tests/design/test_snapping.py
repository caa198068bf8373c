"""Designs that can be made: on the grid, within every constraint, as near as possible."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mode_opt.design import Design
from mode_opt.errors import ModeOptError

CELL: dict[str, Any] = {
    "a": {"start": 4.4, "bounds": [0.5, 6.0], "unit": "mm", "grid": 0.5},
    "g": {"start": 3.59, "bounds": [0.5, 8.0], "unit": "mm"},
}
LENGTH = {"length": "50 * (a + g)"}


def test_rounds_the_other_way_where_a_constraint_would_break() -> None:
    design = Design(CELL, LENGTH, ["length <= 400 mm"])
    snapped = design.snapped()
    assert snapped.concrete()["a"]["value"] == 4.0, "4.5 would be 404.5 mm long"
    assert snapped.concrete()["g"]["value"] == pytest.approx(3.59, rel=1e-5), "the rest stays"
    assert snapped.free_names == ("g",)
    assert snapped.constraints_at()["length"].satisfied
    assert design.free_names == ("a", "g"), "the design itself is not changed"
    assert Design(CELL, LENGTH, ["length <= 405 mm"]).snapped().concrete()["a"]["value"] == 4.5


def test_the_rest_moves_only_if_it_must() -> None:
    design = Design(CELL, LENGTH, ["length <= 400 mm", "a >= 4.2 mm"])
    report = design.snapped().concrete()
    assert report["a"]["value"] == 4.5
    assert report["g"]["value"] == pytest.approx(3.5, rel=1e-4)


def test_stock_values_and_units() -> None:
    a = {"start": "0.44 cm", "bounds": ["0.5 mm", "6 mm"], "unit": "mm", "grid": ["0.1 cm", 2.0, 5.0, 7.0]}
    snapped = Design({**CELL, "a": a}, LENGTH, ["length <= 450 mm"]).snapped()
    assert snapped.concrete()["a"]["value"] == 5.0
    snapped = Design({**CELL, "a": a}, LENGTH, ["length <= 400 mm"]).snapped()
    assert snapped.concrete()["a"]["value"] == 2.0


def test_limits_may_be_met_exactly_on_the_grid() -> None:
    parameters = {**CELL, "a": {**CELL["a"], "grid": 0.1}, "g": {**CELL["g"], "start": 3.58, "grid": 0.1}}
    snapped = Design(parameters, LENGTH, ["length <= 400 mm"]).snapped()
    assert snapped.psi.shape == (1, 0)
    at = snapped.constraints_at()["length"]
    assert at.value == pytest.approx(400.0, rel=1e-6)
    assert at.satisfied


def test_integers_categories_and_a_nonlinear_constraint() -> None:
    options = {"Pb": {"price": 2.0}, "PbWO4": {"price": 50.0}}
    parameters = {
        "n": {"kind": "integer", "start": 20, "bounds": [1, 50]},
        "x": {"start": 2.0, "bounds": [0.5, 5]},
        "m": {"start": {"PbWO4": 0.55, "Pb": 0.45}, "options": options},
    }
    design = Design(parameters, {"cost": "n * x * m.price"}, ["cost <= 1100"])
    snapped = design.snapped()
    report = snapped.concrete()
    assert (report["m"]["value"], report["n"]["value"]) == ("PbWO4", 11), "the likelier option, fewer of it"
    assert snapped.constraints_at()["cost"].satisfied
    assert snapped()["m"].tolist() == [[0.0, 1.0]]
    assert snapped.constraints[0].linear, "with everything else fixed"


def test_another_option_if_the_likeliest_cannot_be() -> None:
    options = {"Pb": {"price": 2.0}, "PbWO4": {"price": 50.0}}
    parameters = {
        "x": {"start": 2.0, "bounds": [1, 5]},
        "m": {"start": {"PbWO4": 0.55, "Pb": 0.45}, "options": options},
    }
    design = Design(parameters, {}, ["x * m.price <= 30"])
    assert design.snapped().concrete()["m"]["value"] == "Pb"


def test_conditional_layers() -> None:
    thickness = {"start": 2.0, "bounds": [1, 5], "unit": "mm", "size": 6, "when": "index < layers"}
    layers = {"kind": "integer", "start": 4, "bounds": [1, 6]}
    design = Design({"layers": layers, "t": thickness}, {"length": "sum(t)"}, ["length <= 8.1 mm"])
    with torch.no_grad():
        design.psi[0, 0] += 0.15  # 4.2 layers
    snapped = design.snapped()
    assert snapped.concrete()["layers"]["value"] == 4
    assert snapped.concrete()["t"]["value"][4:] == [None, None]
    assert snapped.constraints_at()["length"].satisfied


def test_says_when_nothing_fits() -> None:
    design = Design(
        {**CELL, "a": {**CELL["a"], "grid": [1.0, 6.0]}},
        LENGTH,
        ["length <= 400 mm", "a >= 2 mm", "g >= 3 mm"],
    )
    with pytest.raises(ModeOptError, match="no values on the manufacturing grid"):
        design.snapped()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0.6, 4.4), min_size=3, max_size=3),
    st.sampled_from([0.5, 0.7, 1.0]),
    st.floats(0.05, 3.0),
)
def test_nearest_of_all_by_enumeration(start: list[float], grid: float, slack: float) -> None:
    limit = sum(start) + slack
    design = Design({"x": {"start": start, "bounds": [0.5, 4.5], "grid": grid}}, {}, [f"sum(x) <= {limit!r}"])
    stock = [k * grid for k in range(1, 12) if 0.5 <= k * grid <= 4.5 + 1e-9]
    feasible = [x for x in itertools.product(stock, repeat=3) if sum(x) <= limit]
    if not feasible:
        with pytest.raises(ModeOptError, match="no values on the manufacturing grid"):
            design.snapped()
        return
    chosen = design.snapped().concrete()["x"]["value"]

    def distance(x: Any) -> float:
        return sum(abs(p - q) for p, q in zip(x, start, strict=True))

    assert sum(chosen) <= limit * (1 + 1e-6)
    assert distance(chosen) == pytest.approx(min(map(distance, feasible)), abs=1e-4)
