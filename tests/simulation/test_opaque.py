"""Declaring simulators black boxes."""

import pytest
import torch
from toys import Counter, Gauge, gun

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.simulation import Chain, Counted, Opaque, Promise, opaque, stream
from mode_opt.simulation.choices import Drawing
from mode_opt.simulation.running import parts, run


def point(requires_grad=False):
    phi = DesignPoint.of(x=torch.tensor([[2.0], [4.0]]))
    return DesignPoint(phi.values.requires_grad_(requires_grad), phi.layout)


def primaries(count=20):
    return gun().sample(count, stream("cpu", 0))


def chain():
    return Chain({"first": Gauge(), "rest": Chain({"a": Gauge(), "b": Counter()}), "last": Gauge()})


def test_all_of_it_gives_the_same_events_without_anything_to_differentiate():
    hidden, plain = opaque(Counter()), Counter()
    assert isinstance(hidden, Opaque) and hidden.promise == Promise.BLACK_BOX
    shut, open_ = (simulator(point(True), primaries(), stream("cpu", 1)) for simulator in (hidden, plain))
    assert torch.equal(shut.hits, open_.hits) and open_.log_probability is not None
    assert not shut.hits.requires_grad and shut.log_probability is None and shut.controls is None


def test_what_the_primaries_bring_along_passes_and_the_own_choices_do_not():
    before = Counter()(DesignPoint.of(x=2.0), primaries(), stream("cpu", 1))
    after = opaque(Counter())(point(), before, stream("cpu", 2))
    assert torch.equal(after.log_probability, before.log_probability.expand(2, -1))


def test_one_part_loses_its_derivative_and_those_behind_it_keep_theirs():
    simulator = opaque(Chain({"shower": Gauge(), "digitisation": Gauge()}), ["shower"])
    assert simulator.promise == Promise.BLACK_BOX
    assert [type(part) for part in simulator.parts.values()] == [Opaque, Gauge]
    phi = point(True)
    events = simulator(phi, primaries(), stream("cpu", 1))
    assert torch.autograd.grad(events.hits.sum(), phi.values)[0].abs().sum() > 0
    same = Chain({"shower": Gauge(), "digitisation": Gauge()})(phi, primaries(), stream("cpu", 1))
    assert torch.equal(events.hits.detach(), same.hits.detach())


def test_parts_of_chains_within_have_names_with_a_dot():
    original = chain()
    simulator = opaque(original, ["rest.b", "last"])
    assert [type(part) for part in parts(simulator)] == [Gauge, Gauge, Opaque, Opaque]
    assert [type(part) for part in parts(original)] == [Gauge, Gauge, Counter, Gauge], "the original is not changed"
    assert [type(part) for part in parts(opaque(original, "rest"))] == [Gauge, Opaque, Gauge]


@pytest.mark.parametrize(
    ("simulator", "names", "words"),
    [
        (chain(), ["shower"], "'shower', expected parts among first, rest, rest.a, rest.b, last"),
        (Gauge(), ["shower"], "no chain of parts"),
        (chain(), [], "at least one part"),
    ],
)
def test_a_name_that_is_no_part_is_refused(simulator, names, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        opaque(simulator, names)
    assert caught.value.key == "opaque"


def test_events_are_counted_once_inside_and_outside():
    inner = Counted(Gauge())
    called = Counted(Chain({"a": Opaque(Chain({"b": inner})), "c": Gauge()}))
    called(point(), primaries())
    assert called.calls == inner.calls == 40
    run(called, point(), primaries(), Drawing(), 1)
    assert called.calls == inner.calls == 80


def test_a_counter_around_a_chain_is_shared():
    counted = Counted(Chain({"a": Gauge(), "b": Gauge()}))
    hidden = opaque(counted, ["a"])
    hidden(point(), primaries())
    assert isinstance(hidden, Counted) and int(counted.calls) == int(hidden.calls) == 40
