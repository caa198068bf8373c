"""The direct regression of the objective: what it is given, how sure it is, and where it steps."""

import math

import pytest
import torch
from bowl import BEST, Bowl, bowl_design, bowl_pipeline, level, searched
from toys import gun

from mode_opt.design import Design
from mode_opt.detectors.benchmarks import UniformInputs
from mode_opt.errors import NonFiniteError
from mode_opt.events import Events
from mode_opt.gradients import LocalRegression, Pipeline, Sampling
from mode_opt.objectives import Estimate
from mode_opt.simulation import BlackBoxSimulator, Counted, stream


class Known(BlackBoxSimulator):
    """``y ~ N(|φ − 1|² + 3x, 0.3)``, x the first feature of the primary."""

    def simulate(self, phi, primaries, generator):
        events = primaries.expand(phi.designs)
        level = (phi["point"] - 1).square().sum(1)[:, None] + 3 * events.hits[:, :, 0, 0]
        noise = 0.3 * torch.randn(level.shape, generator=generator)
        return Events.of(events.truth, (level + noise)[..., None, None])


class Hidden(BlackBoxSimulator):
    """The same with x drawn inside."""

    def simulate(self, phi, primaries, generator):
        events = primaries.expand(phi.designs)
        x = 2 * torch.rand(events.hits.shape, generator=generator) - 1
        return Known().simulate(phi, Events.of(events.truth, x), generator)


def method(calls=80, **options):
    return LocalRegression(sampling=Sampling(calls=calls, **options), window=300, inducing=80)


def pipeline_of(simulator, start=(0.3, 0.5), inputs=1, **further):
    source = UniformInputs((-1.0,) * inputs, (1.0,) * inputs)
    design = Design({"point": {"start": list(start)}})
    return Pipeline(Counted(simulator), design, source, level, **({"additive": True} | further))


def learnt(search, pipeline, seed=0):
    batch, _, _ = search.simulated(pipeline, stream("cpu", seed, 0))
    search.replay.add(batch)
    search.learn(pipeline, batch, pipeline.design.psi.detach(), stream("cpu", seed, 1))
    return batch


def error(simulator, inputs=1, seed=0):
    pipeline, search = pipeline_of(simulator, inputs=inputs), method(120)
    learnt(search, pipeline, seed)
    centre = pipeline.design.psi.detach()
    return search.gain(pipeline, centre - 0.2, centre + 0.2, stream("cpu", 0)).standard_error


def test_what_is_known_of_an_event_is_not_paid_for():
    """The variance of a value is 0.09 instead of 3.09; of more numbers than the limit none is used."""
    assert error(Known()) < 0.45 * error(Hidden())
    assert error(Known(), inputs=21) > 0.6 * error(Hidden())


def test_residuals_are_zero_within_their_errors():
    """8 models on fresh batches of the same neighbourhood: means of 80 events, error about 0.3/√80."""
    pulls = []
    for seed in range(8):
        search, pipeline = method(), pipeline_of(Known())
        learnt(search, pipeline, seed)
        fresh, _, _ = search.simulated(pipeline, stream("cpu", seed, 2))
        residual = search.residual(pipeline, fresh, stream("cpu", 0))
        assert 0.3 / 80**0.5 * 0.7 < residual.standard_error < 0.08
        pulls.append(residual.value / (2**0.5 * residual.standard_error))  # that of the model itself is as large
    found = torch.tensor(pulls)
    assert abs(float(found.mean())) < 4 / 8**0.5 and float(found.abs().max()) < 4.0


def test_a_change_of_the_simulator_is_seen_in_the_residual():
    class Higher(Known):
        def simulate(self, phi, primaries, generator):
            events = super().simulate(phi, primaries, generator)
            return Events.of(events.truth, events.hits + 1)

    search, pipeline = method(), pipeline_of(Known())
    learnt(search, pipeline)
    other = pipeline_of(Higher())
    fresh, _, _ = search.simulated(other, stream("cpu", 2))
    assert search.residual(other, fresh, stream("cpu", 0)).value == pytest.approx(1.0, abs=0.25)


def test_the_minimum_within_the_region_is_found():
    """Without noise: the optimum (1, 1) from (0.9, 0.8) at a distance of 0.27 in ψ, then from far away."""
    near = pipeline_of(Bowl(noise=0.0), start=(0.9, -0.6))
    near = Pipeline(near.simulator, Design({"x": {"start": 0.9}, "y": {"start": -0.6}}), near.primaries, level, True)
    search = method()
    learnt(search, near)
    end, promised = search.minimise(near, near.design.psi.detach(), stream("cpu", 3))
    phi = near.design.point(end)
    assert float(phi["x"]) == pytest.approx(BEST[0], abs=0.06) and float(phi["y"]) == pytest.approx(BEST[1], abs=0.06)
    assert promised.value == pytest.approx(0.03, abs=0.015)


def test_caution_shortens_steps_and_a_great_deal_of_it_forbids_them():
    lengths = []
    for caution in (0.0, 0.5, 1e4):
        search, pipeline = method(40), bowl_pipeline(Bowl(noise=3.0))
        search.caution = caution
        learnt(search, pipeline)
        centre = pipeline.design.psi.detach()
        lengths.append(float((search.minimise(pipeline, centre, stream("cpu", 3))[0] - centre).norm()))
    assert lengths[0] >= lengths[1] * 0.999 and lengths[1] > lengths[2] and lengths[2] < 1e-3


def test_promises_are_kept_within_their_errors():
    """The promised gain of 6 first steps against the exact one; the optimum of a noisy model promises too much."""

    def height(phi):
        return float((phi["point"] - 1).square().sum())

    total = 0.0
    for seed in range(6):
        search, pipeline = method(), pipeline_of(Known())
        learnt(search, pipeline, seed)
        centre = pipeline.design.psi.detach()
        end, promised = search.minimise(pipeline, centre, stream("cpu", seed))
        exact = height(pipeline.design.point(centre)) - height(pipeline.design.point(end))
        assert abs(promised.value - exact) < 4 * promised.standard_error, seed
        total += exact
    assert total / 6 > 0.05


def test_an_objective_that_is_no_mean_gives_one_value_a_design_with_its_jackknife_error():
    """The predicted variance of J is that of 64 events, 0.3²/64, and nothing of the primaries is used."""
    search = LocalRegression(sampling=Sampling(calls=64 * 30, events=64), window=64 * 60, inducing=60)
    pipeline = bowl_pipeline(additive=False)
    batch = learnt(search, pipeline)
    assert search._posterior.data.rows.known.shape == (30, 0)
    variance = search._posterior.data.variance * search._posterior.data.scale**2
    assert float(variance.mean()) == pytest.approx(0.09 / 64, rel=0.4)
    residual = search.residual(pipeline, batch, stream("cpu", 0))
    assert residual.standard_error == pytest.approx(0.3 / 64**0.5 / 30**0.5, rel=0.6)


def test_single_events_and_averages_of_events_agree():
    """4 events of each of 20 designs, or 80 designs: the same value of J within errors."""
    values = []
    for events in (1, 4):
        search, pipeline = method(events=events), pipeline_of(Known())
        learnt(search, pipeline)
        values.append(search.value(pipeline, pipeline.design.psi.detach(), stream("cpu", 0)))
    error = math.hypot(*(value.standard_error for value in values))
    # J is the mean over the inputs that were drawn: 3 ⟨x⟩ of 80 uniform numbers has an error of 0.19 of its own.
    assert abs(values[0].value - values[1].value) < 4 * math.hypot(error, 2**0.5 * 3 / 3**0.5 / 80**0.5)


def test_objectives_that_are_no_numbers_are_refused():
    def score(events, phi):
        return level(events, phi) * math.nan

    pipeline = Pipeline(Counted(Bowl()), bowl_design(), gun(), score, True)
    with pytest.raises(NonFiniteError, match="simulate more events"):
        searched(method(), pipeline, 1)


class Valley(BlackBoxSimulator):
    """``y ~ N(|φ|² + |φ|⁴ / 4, 0.5)``: quartic, so that a smooth model is wrong at its centre."""

    def simulate(self, phi, primaries, generator):
        events = primaries.expand(phi.designs)
        square = phi["point"].square().sum(1)
        noise = 0.5 * torch.randn(events.hits.shape, generator=generator)
        return Events.of(events.truth, (square + square**2 / 4)[:, None, None, None] + noise)


def test_the_objective_that_is_told_is_honest():
    """6 dimensions, 6 seeds: deviations from the exact J (0 at the start) of the order of the claimed error."""
    pulls, errors = [], []
    for seed in range(6):
        design = Design({"point": {"start": [0.0] * 6}})
        pipeline = Pipeline(Counted(Valley()), design, UniformInputs((-1.0,), (1.0,)), level, True)
        search = LocalRegression(radius=0.8, sampling=Sampling(calls=400), window=400, inducing=150)
        learnt(search, pipeline, seed)
        told = search.measured(pipeline, design.psi.detach(), stream("cpu", seed, 2))
        pulls.append(told.value / told.standard_error)
        errors.append(told.standard_error)
    assert 0.3 < float(torch.tensor(pulls).square().mean().sqrt()) < 1.8
    assert min(errors) > 0.03 and max(errors) < 0.4


def test_what_is_told_is_the_value_corrected_by_the_residual_of_the_closest(monkeypatch):
    """Model 2.0 ± 0.3, residual 0.5 ± 0.4; the closest are the twentieth part, at least 10 designs."""
    search, pipeline, seen = method(400), bowl_pipeline(), []
    search.window = 400
    learnt(search, pipeline)

    def residual(pipeline, batch, generator):
        seen.append(len(batch.psi))
        return Estimate(0.5, 0.4)

    monkeypatch.setattr(search, "value", lambda *_: Estimate(2.0, 0.3))
    monkeypatch.setattr(search, "residual", residual)
    told = search.measured(pipeline, pipeline.design.psi.detach(), stream("cpu", 0))
    assert told.value == pytest.approx(2.5) and told.standard_error == pytest.approx(0.5) and seen == [20]
    monkeypatch.setattr(search, "residual", lambda *_: Estimate(math.nan, 0.4))
    assert search.measured(pipeline, pipeline.design.psi.detach(), stream("cpu", 0)) == Estimate(2.0, 0.3)


def test_asked_before_anything_was_learnt():
    pipeline = bowl_pipeline()
    with pytest.raises(NonFiniteError, match="before anything was learnt"):
        method().value(pipeline, pipeline.design.psi.detach(), stream("cpu", 0))


def test_calls_are_counted_once():
    pipeline = bowl_pipeline()
    searched(method(50), pipeline, 1)
    assert int(pipeline.simulator.calls) == 50
    inner = Counted(Bowl())
    both = bowl_pipeline(inner)
    searched(method(50), both, 1)
    assert int(both.simulator.calls) == int(inner.calls) == 50


def test_the_length_scale_is_told():
    (told,) = searched(method(), bowl_pipeline(), 1)
    assert 0.05 < told.columns["length_scale"] < 50
