"""Simulating designs some of which fail."""

import pytest
import torch

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import BlackBoxSimulator, Chain, Counted, DifferentiableSimulator, attempt


class Fussy(BlackBoxSimulator):
    """Hits = x + input; designs below 0 raise, those above 10 have one hit that is no number."""

    def __init__(self, bad=float("nan"), spoil="hits", error=ValueError):
        super().__init__()
        self.bad, self.spoil, self.error, self.seen = bad, spoil, error, []

    def simulate(self, phi, primaries, generator):
        events, x = primaries.expand(phi.designs), phi["x"][:, 0]
        self.seen.append(x.tolist())
        if bool((x < 0).any()):
            raise self.error(f"x is {float(x[x < 0][0]):g}\nand more that nobody reads")
        parts = {
            "truth": events.truth.clone(),
            "hits": events.hits + x[:, None, None, None],
            "weight": events.weight.clone(),
        }
        parts[self.spoil][x > 10, -1] = self.bad
        return Events.of(**parts)


def primaries(designs, events=3):
    numbers = torch.arange(designs * events, dtype=torch.float32).reshape(designs, events)
    return Events.of(numbers[..., None], numbers[..., None, None])


def tried(values, simulator=None, given=None):
    phi = DesignPoint.of(x=torch.tensor(values)[:, None])
    return attempt(simulator or Fussy(), phi, primaries(len(values)) if given is None else given)


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_what_works_is_simulated_at_once(values):
    simulator = Fussy()
    found = tried(values, simulator)
    assert found.failures == 0 and found.reasons == () and found.succeeded.all()
    assert simulator.seen == [values]
    expected = torch.tensor(values)[:, None] + torch.arange(3.0 * len(values)).reshape(-1, 3)
    assert torch.equal(found.events.hits[..., 0, 0], expected)


@pytest.mark.parametrize(
    "values",
    [
        [-1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -7.0],
        [1.0, -2.0, 3.0, 11.0, -5.0, 6.0, 7.0],
        [11.0, 2.0, 12.0, 4.0],
        [-1.0, 2.0],
    ],
)
def test_the_others_come_back_in_order_with_their_own_primaries(values):
    found, good = tried(values), [0 <= value <= 10 for value in values]
    assert found.succeeded.tolist() == good and found.failures == good.count(False)
    kept = torch.tensor(good)
    expected = (torch.tensor(values)[:, None] + torch.arange(3.0 * len(values)).reshape(-1, 3))[kept]
    assert torch.equal(found.events.hits[..., 0, 0], expected)
    assert torch.equal(found.events.truth, primaries(len(values)).truth[kept])


def test_common_primaries_are_common():
    found = tried([1.0, -1.0, 2.0], given=primaries(1))
    assert torch.equal(found.events.hits[..., 0, 0], torch.tensor([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]))


def test_every_reason_is_told_once_in_one_line():
    found = tried([-1.0, 1.0, -2.0, 12.0, -1.0])
    assert sorted(found.reasons) == ["ValueError: x is -1", "ValueError: x is -2", "hits that are NaN or infinite"]
    (silent,) = tried([-1.0], Fussy(error=lambda text: RuntimeError())).reasons
    assert silent == "RuntimeError"
    (long,) = tried([-1.0], Fussy(error=lambda text: RuntimeError("x" * 1000))).reasons
    assert len(long) == 160


@pytest.mark.parametrize("values", [[-1.0, -2.0, -3.0], [11.0, 12.0], [-1.0, 11.0], [-1.0]])
def test_nothing_comes_back_if_all_fail(values):
    found = tried(values)
    assert found.events is None and found.failures == len(values) and found.reasons


@pytest.mark.parametrize("spoil", ["hits", "weight", "truth"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_anything_that_is_no_number_is_a_failure(spoil, bad):
    found = tried([1.0, 11.0], Fussy(bad, spoil))
    assert found.succeeded.tolist() == [True, False]


def test_each_design_is_counted_once_whatever_happens_to_it():
    """A batch that raises has spent nothing that its halves do not spend again."""
    for values in ([1.0, 2.0, 3.0], [-1.0, 2.0, 3.0, 11.0], [-1.0, -2.0], [1.0, 2.0, 3.0, 4.0, -5.0]):
        simulator = Counted(Fussy())
        tried(values, simulator)
        assert int(simulator.calls) == 3 * len(values)
    inner = Counted(Fussy())
    outer = Counted(Chain({"fussy": inner}))
    tried([-1.0, 2.0, 3.0], outer)
    assert int(outer.calls) == int(inner.calls) == 9


def test_one_bad_design_among_many_is_found_by_halving():
    simulator = Fussy()
    tried([1.0] * 40 + [-1.0] + [1.0] * 23, simulator)
    assert len(simulator.seen) <= 2 * 6 + 1


def test_mistakes_of_the_configuration_and_requests_to_stop_pass():
    for error in (lambda text: ConfigurationError("design", text, "another"), lambda text: KeyboardInterrupt()):
        with pytest.raises((ConfigurationError, KeyboardInterrupt)):
            tried([-1.0], Fussy(error=error))


def test_nothing_carries_derivatives():
    class Linear(DifferentiableSimulator):
        def forward(self, phi, primaries, generator=None):
            events = primaries.expand(phi.designs)
            return Events.of(events.truth, events.hits * phi["x"][:, :, None, None])

    phi = DesignPoint.of(x=torch.tensor([[1.0]], requires_grad=True))
    found = attempt(Linear(), phi, primaries(1))
    assert found.events is not None and not found.events.hits.requires_grad


def test_the_generator_is_used():
    class Noise(BlackBoxSimulator):
        def simulate(self, phi, primaries, generator):
            events = primaries.expand(phi.designs)
            return Events.of(events.truth, torch.rand(events.hits.shape, generator=generator))

    phi = DesignPoint.of(x=torch.ones(2, 1))
    first, second = (attempt(Noise(), phi, primaries(2), torch.Generator().manual_seed(3)).events for _ in range(2))
    assert torch.equal(first.hits, second.hits)
