"""A chain cut around its black boxes."""

import torch

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.gradients.segments import Segments
from mode_opt.simulation import BlackBoxSimulator, Chain, Counted, DifferentiableSimulator, StochasticSimulator


class Add(DifferentiableSimulator):
    """Hits plus a number."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, phi, primaries, generator=None):
        events = primaries.expand(phi.designs)
        return Events.of(events.truth, events.hits + self.number)


class Times(BlackBoxSimulator):
    """Hits times a number."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def simulate(self, phi, primaries, generator):
        events = primaries.expand(phi.designs)
        return Events.of(events.truth, events.hits * self.number)


class Coin(StochasticSimulator):
    def forward(self, phi, primaries, generator=None):
        events = primaries.expand(phi.designs)
        return events.with_choices(torch.zeros(events.weight.shape))


PHI, INPUT = DesignPoint.of(x=1.0), Events.of(torch.zeros(1, 1, 1), torch.ones(1, 1, 1, 1))


def result(simulator):
    return float(simulator(PHI, INPUT).hits)


def test_one_black_box_is_replaced_where_it_stands():
    first, box, last = Add(1), Times(10), Coin()
    segments = Segments.of(Chain({"a": first, "b": box, "c": last}))
    assert (segments.before, segments.replaced, segments.after) == ((first,), box, (last,))
    assert result(segments.with_surrogate(Times(100))) == 200.0


def test_everything_between_two_black_boxes_is_replaced_with_them():
    parts = [Add(1), Times(10), Add(2), Times(3), Add(5)]
    segments = Segments.of(Chain({str(k): part for k, part in enumerate(parts)}))
    assert segments.before == (parts[0],) and segments.after == (parts[4],)
    assert list(segments.replaced.parts.values()) == parts[1:4]
    assert result(segments.replaced) == (10 + 2) * 3
    assert result(segments.with_surrogate(Add(0))) == 1 + 1 + 5


def test_counters_and_chains_within_are_taken_off_and_the_replaced_part_is_not_counted():
    box, inner = Times(10), Counted(Chain({"b": Counted(Times(2)), "c": Add(3)}))
    whole = Counted(Chain({"a": Counted(Add(1)), "inner": inner, "box": Counted(box)}))
    segments = Segments.of(whole)
    assert [type(part) for part in segments.before] == [Add] and segments.after == ()
    assert result(segments.replaced) == (2 + 3) * 10
    assert result(segments.with_surrogate(Add(0))) == 2.0
    assert int(whole.calls) == int(inner.calls) == 0
    assert result(whole) == 70.0 and int(whole.calls) == 1


def test_a_lone_black_box_and_a_simulator_without_any_are_replaced_whole():
    box = Times(10)
    for simulator in (box, Counted(box), Chain({"box": box})):
        segments = Segments.of(simulator)
        assert (segments.before, segments.replaced, segments.after) == ((), box, ())
        surrogate = Add(4)
        assert segments.with_surrogate(surrogate) is surrogate
    first, second = Add(1), Add(2)
    segments = Segments.of(Chain({"a": first, "b": second}))
    assert segments.before == segments.after == () and result(segments.replaced) == 4.0
    assert list(segments.replaced.parts.values()) == [first, second]
