import pytest
import torch
from toys import Counter, Gauge

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import Chain, Counted, Program
from mode_opt.simulation.choices import Bernoulli, Chooser, Drawing, Recording
from mode_opt.simulation.running import count, parts, run


class Loss(Program):
    """Each event keeps its hit with probability p, else loses it."""

    def run(self, phi, primaries, choices):
        kept = choices.bernoulli(phi["p"].expand(-1, primaries.count))
        return Events(
            primaries.truth,
            primaries.hits * kept[..., None, None],
            primaries.mask,
            primaries.weight,
            primaries.log_probability,
        )


class Overriding(Chooser):
    """Draws, but the coins with this probability fall on 1."""

    def __init__(self, probability):
        self.probability, self.seen = probability, 0

    def choose(self, law, site):
        self.seen += 1
        drawn = law.draw(site.uniform(torch.float32))
        assert isinstance(law, Bernoulli)
        return torch.where(law.probability.detach() == self.probability, torch.ones_like(drawn), drawn)


def primaries(events=50):
    return Events.of(torch.zeros(1, events, 1), torch.ones(1, events, 1, 1))


def detector():
    inner = Chain({"smear": Counted(Gauge()), "loss": Loss()})
    return Counted(Chain({"first": Loss(), "rest": inner, "again": Gauge()}))


def point(p=0.5, x=2.0):
    return DesignPoint.of(p=torch.full((2, 1), p), x=torch.full((2, 1), x))


def test_chains_and_counters_are_taken_apart_in_order():
    assert [type(part) for part in parts(detector())] == [Loss, Gauge, Loss, Gauge]
    assert [type(part) for part in parts(Gauge())] == [Gauge]


def test_a_run_counts_like_a_call():
    called, ran = detector(), detector()
    called(point(), primaries())
    run(ran, point(), primaries(), Drawing(), 1)
    assert ran.calls == called.calls == 100
    inner = [part for part in ran.modules() if isinstance(part, Counted)][1]
    assert inner.calls == 100
    count(ran, 7)
    assert ran.calls == inner.calls == 107


def test_the_seed_decides_and_the_parts_draw_from_streams_of_their_own():
    first, again, other = (run(detector(), point(), primaries(), Drawing(), seed).hits for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    twice = run(Chain({"a": Loss(), "b": Loss()}), point(), primaries(2000), Drawing(), 3).hits
    assert abs(twice.mean() - 0.25) < 0.04  # one common stream would give 0.5


def test_a_rerun_with_another_outcome_shares_the_noise_of_the_other_parts():
    simulator = Chain({"loss": Loss(), "gauge": Gauge()})
    drawn = run(simulator, point(), primaries(), Drawing(), 5).hits
    chooser = Overriding(0.5)
    kept = run(simulator, point(), primaries(), chooser, 5).hits
    assert chooser.seen == 1 and (kept != 0).all() and (drawn == 0).any()
    assert torch.equal(drawn, torch.where(drawn == 0, 0.0, kept))


def test_a_recording_chooser_collects_from_all_programs():
    simulator, phi = Chain({"a": Loss(), "b": Loss()}), point(0.25)
    phi = DesignPoint(phi.values.requires_grad_(), phi.layout)
    recording = Recording(2 * 50)
    hits = run(simulator, phi, primaries(), recording, 5).hits[..., 0, 0].detach()
    total = recording.log_probability(phi.values).reshape(2, 50)
    assert torch.allclose(total[hits == 1].exp(), torch.tensor(0.25**2))


def test_primaries_of_one_design_serve_all():
    events = run(Gauge(), point(), primaries(), Drawing(), 0)
    assert (events.designs, events.count) == (2, 50)


def test_a_stochastic_simulator_that_is_no_program_is_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"'Counter', expected a simulator written in random choices"):
        run(Chain({"gauge": Gauge(), "counter": Counter()}), point(), primaries(), Drawing(), 0)
