import pytest
import torch
from toys import ClosedGauge, Counter, Gauge, gun

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.simulation import Chain, Counted, Promise, stream

PHI = DesignPoint.of(x=2.0)


def test_a_chain_promises_what_its_weakest_part_promises():
    assert Chain({"a": Gauge(), "b": Gauge()}).promise == Promise.DIFFERENTIABLE
    assert Chain({"a": Gauge(), "b": Counter()}).promise == Promise.STOCHASTIC
    assert Chain({"a": Counter(), "b": ClosedGauge()}).promise == Promise.BLACK_BOX


def test_the_output_of_a_part_is_the_input_of_the_next():
    primaries = gun().sample(2000, stream("cpu", 0))
    events = Chain({"a": Gauge(), "b": Gauge()})(PHI, primaries, stream("cpu", 1))
    ratio = (events.hits[..., 0, 0] / events.truth[..., 0]).log()
    once = float(Gauge().sigma(PHI["x"]))
    assert ratio.std().item() == pytest.approx(once * 2**0.5, rel=0.07)  # independent noise of both parts


def test_log_probabilities_of_the_parts_add_up():
    primaries = gun().sample(50, stream("cpu", 0))
    single = Counter()(PHI, primaries, stream("cpu", 1)).log_probability
    double = Chain({"a": Counter(), "b": Counter()})(PHI, primaries, stream("cpu", 1))
    generator = stream("cpu", 1)
    first = Counter()(PHI, primaries, generator)
    second = Counter()(PHI, primaries, generator)
    assert torch.equal(first.log_probability, single)
    torch.testing.assert_close(double.log_probability, first.log_probability + second.log_probability)


def test_a_black_box_part_keeps_derivatives_of_the_parts_behind_it():
    phi = DesignPoint(PHI.values.clone().requires_grad_(), PHI.layout)
    events = Chain({"a": ClosedGauge(), "b": Gauge()})(phi, gun().sample(10, stream("cpu", 0)), stream("cpu", 1))
    assert torch.autograd.grad(events.hits.sum(), phi.values)[0].abs().item() > 0
    with pytest.raises(RuntimeError):
        torch.autograd.grad(ClosedGauge()(phi, gun().sample(10), None).hits.sum(), phi.values)


def test_an_empty_chain_is_refused():
    with pytest.raises(ConfigurationError, match="at least one simulator"):
        Chain({})


def test_a_name_that_a_module_cannot_have_is_refused():
    with pytest.raises(ConfigurationError, match=r"simulators\.chain.*0\.9.*other names"):
        Chain({"gain 0.9": Gauge()})


def test_calls_are_counted_as_events_times_designs_and_survive_a_state_dict():
    counted = Counted(Gauge())
    counted(DesignPoint.of(x=torch.tensor([[1.0], [2.0]])), gun().sample(10), None)
    counted(PHI, gun().sample(5), None)
    assert int(counted.calls) == 25
    other = Counted(Gauge())
    other.load_state_dict(counted.state_dict())
    assert int(other.calls) == 25 and other.promise == Promise.DIFFERENTIABLE


def test_streams_differ_by_every_label_and_repeat():
    def draw(*labels):
        return torch.rand(3, generator=stream("cpu", *labels))

    assert torch.equal(draw(1, "design", 2), draw(1, "design", 2))
    others = [draw(2, "design", 2), draw(1, "verify", 2), draw(1, "design", 3), draw(1, "design", 2, 0)]
    assert not any(torch.equal(draw(1, "design", 2), other) for other in others)
