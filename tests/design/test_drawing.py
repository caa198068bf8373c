"""Drawing designs that could be built: right in the mean, certain each time."""

from typing import Any

import pytest
import torch
from statistical import assert_mean

from mode_opt.design import Design
from mode_opt.errors import ConfigurationError, ShapeError
from mode_opt.simulation import stream

PARAMETERS: dict[str, Any] = {
    "x": {"start": 2.0, "bounds": [0.5, 5.0], "unit": "mm", "grid": 0.5},
    "n": {"kind": "integer", "start": [3, 7], "bounds": [1, 9]},
    "m": {
        "start": {"Pb": 0.2, "W": 0.5, "Fe": 0.3},
        "options": {"Pb": {"price": 2}, "W": {"price": 9}, "Fe": {"price": 1}},
    },
    "coating": {"start": 1.5, "bounds": [1.0, 3.0], "unit": "mm", "when": "m == 'W'"},
    "total": {"expression": "n[0] + n[1]"},
}


def design(**changes: Any) -> Design:
    made = Design({**PARAMETERS, **changes}, {"cost": "sum(n) * m.price"})
    with torch.no_grad():
        made.psi += 0.11  # between the whole numbers
    return made


def test_the_mean_is_the_relaxed_design_and_each_draw_can_be_built() -> None:
    made = design(total={"expression": "sum(n)"})
    relaxed = made()
    phi = made.drawn(made.psi.detach().expand(4000, -1), stream("cpu", 1))
    whole, certain = phi["n"], phi["m"]
    assert torch.equal(whole, whole.round()) and (whole - relaxed["n"]).abs().max() < 1
    assert set(certain.unique().tolist()) == {0.0, 1.0} and (certain.sum(1) == 1).all()
    assert_mean(whole, relaxed["n"][0].detach())
    assert_mean(certain, relaxed["m"][0].detach())
    assert torch.equal(phi["x"], relaxed["x"].detach().expand(4000, 1)), "continuous ones stay as they are"
    assert not phi.values.requires_grad


def test_conditions_and_links_follow_from_what_was_drawn() -> None:
    made = design(total={"expression": "sum(n)"})
    phi = made.drawn(made.psi.detach().expand(500, -1), stream("cpu", 2))
    there, raw = phi["m"][:, 1] == 1, made.system.raw(made.psi)["coating"].item()
    assert 100 < int(there.sum()) < 400
    assert (phi["coating"][~there] == 0).all()
    torch.testing.assert_close(phi["coating"][there], torch.full((int(there.sum()), 1), raw))
    torch.testing.assert_close(phi["total"][:, 0], phi["n"].sum(1))
    price = torch.tensor([2.0, 9.0, 1.0])
    torch.testing.assert_close(phi["cost"][:, 0], phi["n"].sum(1) * (phi["m"] * price).sum(1))


def test_layers_beyond_the_drawn_number_do_not_exist() -> None:
    thickness = {"start": 2.0, "bounds": [1, 5], "unit": "mm", "size": 6, "when": "index < layers"}
    made = Design({"layers": {"kind": "integer", "start": 3, "bounds": [1, 6]}, "t": thickness})
    with torch.no_grad():
        made.psi[0, 0] += 0.2
    phi = made.drawn(made.psi.detach().expand(100, -1), stream("cpu", 3))
    exists = (phi["t"] > 0).sum(1, keepdim=True)
    assert torch.equal(exists.float(), phi["layers"]) and len(exists.unique()) == 2
    assert torch.equal(made.buildable(phi).values, phi.values)
    assert made.concrete(phi.design(0))["t"]["value"].count(None) == 6 - int(phi["layers"][0])


def test_bounds_and_grids_of_integers_are_kept_in_the_mean() -> None:
    step = {"kind": "integer", "start": 4, "bounds": [1, 11], "grid": 3}
    stock = {"kind": "integer", "start": [4, 20], "bounds": [2, 30], "grid": [1, 3, 8, 30, 50]}
    ends = {"kind": "integer", "start": 2, "bounds": [1.5, 2.7]}
    made = Design({"a": step, "b": stock, "c": ends})
    phi = made.drawn(made.psi.detach().expand(3000, -1), stream("cpu", 4))
    assert set(phi["a"].unique().tolist()) == {3.0, 6.0}
    assert set(phi["b"][:, 0].tolist()) == {3.0, 8.0} and set(phi["b"][:, 1].tolist()) == {8.0, 30.0}
    assert (phi["c"] == 2).all()
    assert_mean(torch.cat([phi["a"], phi["b"]], 1), torch.tensor([4.0, 4.0, 20.0]))
    low = Design({"b": {**stock, "start": [2, 20]}}).drawn(generator=stream("cpu", 4))
    assert low["b"][0, 0] == 3.0, "below the first stock value there is only that one"
    with pytest.raises(ConfigurationError, match=r"b\.grid"):
        Design({"b": {**stock, "grid": [1, 50]}}).drawn()


def test_designs_may_be_given_by_their_values_and_the_seed_decides() -> None:
    made = design(total={"expression": "sum(n)"})
    points = made.point(made.psi.detach().expand(50, -1))
    by_value = made.drawn(points, stream("cpu", 5))
    by_psi = made.drawn(made.psi.detach().expand(50, -1), stream("cpu", 5))
    torch.testing.assert_close(by_value["n"], by_psi["n"])
    other = made.drawn(points, stream("cpu", 6))
    assert not torch.equal(by_value.values, other.values)
    assert made.drawn(generator=stream("cpu", 5)).designs == 1
    with pytest.raises(ShapeError):
        made.drawn(torch.zeros(3, 1))


def test_only_free_integers_and_categories_make_a_design_discrete() -> None:
    assert Design({"n": {"kind": "integer", "start": 3, "bounds": [1, 9]}}).discrete
    assert Design({"m": {"start": "Pb", "options": ["Pb", "W"]}}).discrete
    fixed = Design({"x": {"start": 1.0}, "m": {"start": "Pb", "options": ["Pb", "W"], "free": False}})
    assert not fixed.discrete
    assert torch.equal(fixed.drawn()["m"], fixed.buildable()["m"])
