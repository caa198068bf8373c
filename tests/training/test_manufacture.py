"""``mode_opt.training.manufacture``: from the optimum to what can be built, and what that costs."""

from functools import partial

import pytest
import torch
from toys import Gauge, gun, network, resolution

from mode_opt.design import Design
from mode_opt.experiment import Alternation, Effort, Experiment
from mode_opt.training.manufacture import manufacturable

SMALL = Effort(events=256, warm_up=0, reconstruction_steps=2, designs=4, events_per_design=64)
FACTORIES = (partial(torch.optim.Adam, lr=3e-3), partial(torch.optim.Adam, lr=0.1))


def experiment(x_grid, **other):
    torch.manual_seed(0)
    parameters = {"x": {"start": 1.2, "bounds": [0.5, 6.0], "unit": "mm", **x_grid}, **other}
    return Experiment(Design(parameters, {}, ["x <= 2.4 mm"]), Gauge(), gun(), network, resolution())


def built(made, steps=5):
    return manufacturable(made, Alternation(made, SMALL), FACTORIES, steps, lambda what, fraction: None)


def test_without_a_grid_there_is_nothing_to_move():
    assert built(experiment({})) is None


def test_the_nearest_stock_value_within_the_constraint_is_fixed():
    made = experiment({"grid": [1.0, 2.0, 3.0]})
    made.design.assign({"x": 2.39})  # 2 and not 3, which is nearer to the optimum but beyond the limit
    design = built(made)
    assert design.concrete()["x"]["value"] == pytest.approx(2.0) and design.free_names == ()
    assert design.constraints_at()["x"].satisfied
    assert made.design.concrete()["x"]["value"] == pytest.approx(2.39)  # the optimum itself is kept


def test_the_rest_is_optimised_again_and_its_events_are_counted():
    made = experiment({}, y={"start": 1.3, "bounds": [0.0, 4.0], "grid": 1.0})
    before, calls = made.design.concrete()["x"]["value"], made.simulator_calls
    design = built(made)
    assert design.concrete()["y"]["value"] == 1.0 and design.free_names == ("x",)
    assert design.concrete()["x"]["value"] > before + 0.05  # towards the optimum at 3
    assert made.simulator_calls - calls >= 5 * (256 + 2 * 4 * 64)
