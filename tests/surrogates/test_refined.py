"""A cheap simulator in front of a dear one: what it saves if it is right, and what it costs if it is wrong."""

from functools import partial

import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import BlackBoxSimulator, stream
from mode_opt.surrogates import Refined, Surrogate, gaussian, refined

SLOPE = torch.tensor([1.0, -2.0, 0.5, 0.0])
RATIO = 8
plain = partial(gaussian, trend="linear", training={"steps": 20, "check_every": 10})


class Tilted(BlackBoxSimulator):
    """``y ~ N(x + slope · φ + shift, 1)``; raises for designs beyond ``edge``."""

    def __init__(self, slope: torch.Tensor = SLOPE, shift: float = 0.0, edge: float = 10.0) -> None:
        super().__init__()
        self.slope, self.shift, self.edge = slope, shift, edge

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        if bool((phi.values > self.edge).any()):
            raise ValueError("beyond the edge")
        events = primaries.expand(phi.designs)
        level = (phi.values @ self.slope + self.shift)[:, None, None, None]
        return Events.of(events.truth, events.hits + level + torch.randn(events.hits.shape, generator=generator))


def data(seed: int, designs: int = 150) -> tuple[DesignPoint, Events, Events]:
    generator = stream("cpu", seed, "data")
    phi = DesignPoint.of(point=torch.rand(designs, 4, generator=generator) - 0.5)
    known = torch.randn(designs, 1, 1, generator=generator)
    primaries = Events.of(known, known.unsqueeze(3))
    return phi, primaries, Tilted()(phi, primaries, generator)


def slope(surrogate: Surrogate, seed: int) -> torch.Tensor:
    """Derivative of the mean hit at the middle."""
    known = torch.randn(1, 256, 1, generator=stream("cpu", seed, "slope"))
    values = torch.zeros(1, 4, requires_grad=True)
    phi = DesignPoint(values, DesignPoint.of(point=values.detach()).layout)
    surrogate(phi, Events.of(known, known.unsqueeze(3)), stream("cpu", seed, "draws")).hits.mean().backward()
    assert values.grad is not None
    return values.grad[0]


def error(make: object, seeds: range = range(8)) -> float:
    """Mean square error of the slopes."""
    squares = []
    for seed in seeds:
        surrogate = make(*data(seed))  # type: ignore[operator]
        surrogate.fit(*data(seed), seed=seed)
        squares.append((slope(surrogate, seed) - SLOPE).square().mean())
    return float(torch.stack(squares).mean())


def test_a_cheap_simulator_that_is_right_saves_its_ratio():
    """The variance of slopes falls as 1 / events: RATIO times less with RATIO cheap events for each dear one."""
    alone = error(plain)
    helped = error(partial(refined, cheap=Tilted(), surrogate=plain, ratio=RATIO, trend="linear"))
    assert alone == pytest.approx(12 / 150, rel=0.5)  # variance 1 over that of a uniform number, 1/12, and 150 events
    assert RATIO / 2.5 < alone / helped < RATIO * 2.5


def test_a_cheap_simulator_that_is_wrong_does_little_harm():
    """Slopes of the opposite sign: the dear events decide, with M's 1 / RATIO of the variance on top."""
    alone = error(plain)
    misled = error(partial(refined, cheap=Tilted(-SLOPE, shift=5.0), surrogate=plain, ratio=RATIO, trend="linear"))
    assert misled < 1.6 * alone


def test_cheap_events_are_simulated_once_and_counted():
    phi, primaries, events = data(0)
    surrogate = refined(phi, primaries, events, Tilted(), plain, ratio=3)
    for seed in range(2):
        surrogate.fit(phi, primaries, events, seed=seed, warm=seed > 0)
    assert surrogate.columns() == {"cheap_calls": 3 * 150.0}
    more = data(1, 50)
    surrogate.fit(*more, warm=True)
    assert surrogate.cheap_calls == 3 * 200


def test_a_saved_one_goes_on_with_the_cheap_events_it_has():
    events = data(0)
    first, second = (refined(*events, Tilted(), plain, ratio=2) for _ in range(2))
    first.fit(*events)
    second.load_state_dict(first.state_dict())
    for surrogate in (first, second):
        surrogate.fit(*events, seed=3, warm=True)
    assert second.cheap_calls == 2 * 150
    assert torch.equal(slope(first, 0), slope(second, 0))


def test_designs_that_the_cheap_simulator_cannot_do_are_left_out():
    surrogate = refined(*data(0), Tilted(edge=0.3), plain, ratio=RATIO)
    surrogate.fit(*data(0))
    assert (slope(surrogate, 0) - SLOPE).norm() < 1.0
    nothing: Refined = refined(*data(0), Tilted(edge=-1.0), plain)
    nothing.fit(*data(0))
    assert (slope(nothing, 0) - SLOPE).norm() < 1.5


def test_a_ratio_below_one_is_refused():
    with pytest.raises(ConfigurationError, match=r"surrogate\.ratio"):
        refined(*data(0), Tilted(), plain, ratio=0)
