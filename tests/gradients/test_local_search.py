"""The loop of the local methods, with a scripted model in it, and what both methods must survive."""

import io
import math
from itertools import pairwise

import pytest
import torch
from bowl import Bowl, bowl_design, bowl_pipeline, height, searched
from exact import Reading
from failing import Bowl as Cliff
from failing import failing
from toys import gun

from mode_opt.design import Design
from mode_opt.detectors.benchmarks import MeanResponse, UniformInputs
from mode_opt.errors import ConfigurationError, SimulationError
from mode_opt.events import Events
from mode_opt.experiment import Alternation, Effort, Experiment, Optimisers
from mode_opt.gradients import Descent, LocalRegression, LocalSearch, LocalSurrogate, Pipeline, Sampling
from mode_opt.gradients.local_search import GIVE_UP
from mode_opt.gradients.trust_region import TrustRegion
from mode_opt.objectives import Estimate, Resolution
from mode_opt.reconstruction import CellNetwork, PriorBelief
from mode_opt.simulation import BlackBoxSimulator, Counted, stream
from mode_opt.surrogates import gaussian

SURE, UNSURE = Estimate(1.0, 0.1), Estimate(0.1, 1.0)
FINE = Estimate(0.0, 0.1)


class Scripted(LocalSearch):
    """Promises, residuals and gains as told; every step is one of 0.1 in all columns."""

    def __init__(self, promises=(), residuals=(), back=0.0, **options):
        sampling = Sampling(**({"calls": 40} | options))
        super().__init__(TrustRegion(0.2, 0.01, 1.0), sampling, window=1000)
        self.promises, self.residuals, self.back = list(promises), list(residuals), back
        self.batches = []

    def learn(self, pipeline, batch, centre, generator):
        self.batches.append(batch)
        return ("learnt",)

    def residual(self, pipeline, batch, generator):
        return self.residuals.pop(0) if self.residuals else FINE

    def minimise(self, pipeline, centre, generator):
        return centre + 0.1, self.promises.pop(0) if self.promises else SURE

    def value(self, pipeline, psi, generator):
        return Estimate(float(psi[0, 0]), 1.0)

    def gain(self, pipeline, start, end, generator):
        return Estimate(self.back, 1.0)

    def measured(self, pipeline, psi, generator):
        return self.value(pipeline, psi, generator)

    def part(self, simulator):
        return simulator


def walked(search, steps, pipeline=None, seed=0):
    """Steps one by one: ψ after each, and what each says."""
    pipeline, visited, told = pipeline or bowl_pipeline(), [], []
    for index in range(steps):
        told += searched(search, pipeline, index + 1, seed, first=index)
        visited.append(pipeline.design.psi.detach().clone())
    return visited, told


def test_a_batch_lies_around_the_design_and_the_first_is_the_design_itself():
    search, pipeline = Scripted(calls=4000), bowl_pipeline()
    start = pipeline.design.psi.detach().clone()
    searched(search, pipeline, 1)
    psi = search.batches[0].psi
    assert len(psi) == 1000 and torch.equal(psi[0], start[0])  # the nearest, up to the window
    step = search.replay.batches[0].psi - start
    assert len(step) == 4000 and float(step.abs().max()) <= 0.2
    assert torch.allclose(step.std(0), torch.full((2,), 0.2 / 3**0.5), rtol=0.05)
    phi = search.replay.batches[0].phi
    assert torch.equal(phi.values, pipeline.design.point(search.replay.batches[0].psi).values)


def test_every_event_has_primaries_of_its_own():
    search, pipeline = Scripted(events=5), bowl_pipeline()
    searched(search, pipeline, 1)
    energies = search.replay.batches[0].inputs.hits.flatten()
    assert len(energies) == len(energies.unique()) == 40


@pytest.mark.parametrize(
    ("options", "additive", "designs", "events"),
    [
        ({}, True, 40, 1),
        ({"events": 5}, True, 8, 5),
        ({"design_cost": 16.0}, True, 10, 4),
        ({"events": 2, "design_cost": 16.0}, True, 20, 2),
        ({"calls": None}, True, 120, 1),
        ({"calls": None}, False, 7, 256),  # 16 · 120 / 256
        ({"events": 30}, True, 2, 30),  # never fewer than two designs
    ],
)
def test_how_much_is_simulated(options, additive, designs, events):
    search, pipeline = Scripted(**options), bowl_pipeline(additive=additive)
    searched(search, pipeline, 1)
    batch, looks = search.replay.batches[0], 1 if additive else 2  # with `prepare`, for the reconstruction
    assert (len(batch.psi), batch.outputs.count) == (looks * designs, events)
    assert int(pipeline.simulator.calls) == looks * designs * events


def calls_of_steps(promises, steps, **options):
    search, pipeline, spent = Scripted(promises, **options), bowl_pipeline(), [0]
    for index in range(steps):
        searched(search, pipeline, index + 1, first=index)
        spent.append(int(pipeline.simulator.calls))
    return [b - a for a, b in pairwise(spent)]


def test_batches_grow_while_steps_are_lost_in_the_noise_and_shrink_when_they_are_not():
    lost = calls_of_steps([UNSURE] * 20, 20, most=4.0)
    assert lost[0] == 40 < lost[1] < lost[2] and lost[-1] == 160 == max(lost)
    found = calls_of_steps([UNSURE] * 3 + [SURE] * 10, 13)
    assert found[3] > found[4] > found[5] and found[-1] == 40
    assert calls_of_steps([Estimate(2.0, 1.0)] * 4, 4) == [40] * 4


def test_a_step_for_the_worse_is_taken_back_unless_the_new_model_knows_better():
    bad = Estimate(5.0, 0.1)
    visited, told = walked(Scripted(residuals=[bad], back=1.0), 2)
    assert torch.allclose(visited[1], visited[0])  # from the start again, by the same 0.1
    assert told[1].columns["accepted"] == 0.0 and told[1].columns["radius"] < told[0].columns["radius"]
    assert told[1].objective.value == pytest.approx(float(visited[0][0, 0]) - 0.1, abs=1e-6)
    visited, _ = walked(Scripted(residuals=[bad], back=-1.0), 2)
    assert torch.allclose(visited[1], visited[0] + 0.1)
    visited, told = walked(Scripted(residuals=[FINE], back=1.0), 2)
    assert torch.allclose(visited[1], visited[0] + 0.1) and told[1].columns["accepted"] == 1.0


def test_columns_say_what_was_promised_and_what_came():
    _, told = walked(Scripted([SURE, UNSURE], [Estimate(0.25, 0.1)]), 2)
    assert "accepted" not in told[0].columns and told[0].columns["predicted_gain"] == 1.0
    row = told[1].columns
    assert row["actual_gain"] == pytest.approx(0.75) and row["predicted_gain"] == pytest.approx(0.1)
    assert row["actual_gain_standard_error"] == pytest.approx(0.02**0.5)
    assert row["pull"] == pytest.approx(-0.25 / 0.02**0.5)
    assert row["failed_designs"] == 0.0 and row["surrogate_seconds"] >= 0.0
    assert "learnt" in told[0].notes


def test_the_answer_is_the_average_of_the_later_iterates_since_the_last_significant_step():
    search = Scripted([SURE, UNSURE, UNSURE, UNSURE, SURE, UNSURE])
    pipeline, visited = bowl_pipeline(), []
    later = [1, 1, 2, 2, 1, 1]  # of 1, 2, 3, 4, 1 and 2
    for index, span in enumerate(later):
        searched(search, pipeline, index + 1, first=index)
        visited.append(pipeline.design.psi.detach().clone())
        expected = torch.stack(visited[-span:]).mean(0)
        assert torch.allclose(search.answer(pipeline.design), expected), index
    assert len({tuple(psi[0].tolist()) for psi in visited}) == 6


@pytest.mark.parametrize(("residual", "span"), [(0.0, 1), (0.7, 1), (0.8, 3)])
def test_a_promise_that_does_not_come_true_ends_no_average(residual, span):
    """Steps 1 to 4 are not significant, 5 promises 1, of which 0.3 or 0.2 comes: 1 of 2, or 3 of 6 iterates."""
    search = Scripted([UNSURE] * 4 + [SURE, UNSURE], [FINE] * 4 + [Estimate(residual, 1.0)])
    pipeline = bowl_pipeline()
    visited, _ = walked(search, 6, pipeline)
    assert torch.allclose(search.answer(pipeline.design), torch.stack(visited[-span:]).mean(0))


def test_an_average_that_has_ended_stays_so():
    """Step 3 comes true, step 4 promises nothing and is for the worse: two of the iterates 3, 4 and 5."""
    search = Scripted([UNSURE, UNSURE, SURE, UNSURE, UNSURE], [FINE, FINE, FINE, Estimate(1.0, 1.0)])
    pipeline = bowl_pipeline()
    visited, _ = walked(search, 5, pipeline)
    assert torch.allclose(search.answer(pipeline.design), torch.stack(visited[-2:]).mean(0))


def test_a_state_knows_an_average_that_may_go_on():
    search, pipeline = Scripted([UNSURE] * 4 + [SURE], [FINE] * 4), bowl_pipeline()
    visited, _ = walked(search, 5, pipeline)
    loaded = Scripted([UNSURE], [Estimate(0.8, 1.0)])
    loaded.load_state_dict(search.state_dict())
    searched(loaded, pipeline, 6, first=5)
    last = pipeline.design.psi.detach()
    assert torch.allclose(loaded.answer(pipeline.design), torch.stack([*visited[-2:], last]).mean(0))


def test_errors_of_promises_follow_the_pulls():
    """A pull of −2.5/√2: the next promise has an error larger by ``√(1 + 0.2 (3.125 − 1))``."""
    _, told = walked(Scripted([SURE] * 3, [Estimate(0.25, 0.1)]), 2)
    assert told[0].columns["predicted_gain_standard_error"] == pytest.approx(0.1)
    assert told[1].columns["predicted_gain_standard_error"] == pytest.approx(0.1 * (1 + 0.2 * 2.125) ** 0.5)


def test_a_residual_that_is_no_number_shrinks_the_region_and_is_no_verdict():
    _, told = walked(Scripted(residuals=[Estimate(math.nan, 0.1)]), 2)
    assert told[1].columns["radius"] < told[0].columns["radius"] and "accepted" not in told[1].columns


def always(values):
    return True


def test_a_start_where_everything_fails_is_reported():
    with pytest.raises(SimulationError, match=r"no design near the present one can be simulated.*volumes overlap"):
        searched(Scripted(), bowl_pipeline(Bowl(raises=always)), 1)


def test_a_neighbourhood_where_everything_fails_is_left_and_given_up_after_a_while():
    search, simulator = Scripted(), Bowl()
    pipeline = bowl_pipeline(simulator)
    start = pipeline.design.psi.detach().clone()
    searched(search, pipeline, 1)
    simulator.raises = always
    (lost,) = searched(search, pipeline, 2, first=1)
    assert torch.equal(pipeline.design.psi, start) and lost.columns["radius"] == 0.1
    assert lost.columns["failed_designs"] == 40.0 and "volumes overlap" in lost.notes[0]
    assert lost.columns["accepted"] == 0.0
    simulator.raises = lambda values: False
    searched(search, pipeline, 3, first=2)
    simulator.raises = always
    searched(search, pipeline, 2 + GIVE_UP, first=3)
    with pytest.raises(SimulationError, match="no design near"):
        searched(search, pipeline, 4 + GIVE_UP, first=3 + GIVE_UP)


def test_designs_that_fail_are_left_out_of_what_is_learnt():
    def right(values):
        return bool(values[0] > -0.8)

    for broken in ({"raises": right}, {"is_nan": right}):
        search = Scripted()
        _, (told,) = walked(search, 1, bowl_pipeline(Bowl(**broken)))
        batch = search.batches[0]
        assert len(batch.psi) == 40 - told.columns["failed_designs"] and 5 < told.columns["failed_designs"] < 35
        assert bool((batch.phi["x"] <= -0.8).all()) and bool(batch.outputs.hits.isfinite().all())
        assert batch.inputs.designs == batch.outputs.designs == batch.phi.designs == len(batch.psi)


def test_kept_events_are_handed_out_near_the_design():
    search, pipeline = Scripted(events=5), bowl_pipeline()
    assert search.recorded(pipeline, 4, 3, stream("cpu", 0)) is None
    searched(search, pipeline, 3)
    phi, events = search.recorded(pipeline, 4, 3, stream("cpu", 0))
    assert phi.designs == events.designs == 4 and events.count == 3
    assert search.recorded(pipeline, 4, 100, stream("cpu", 0))[1].count == 5
    level = events.hits[:, :, 0, 0].mean(1)
    assert torch.allclose(level, height(phi), atol=4 * 0.3 / 3**0.5)
    whole = search.replay.batches[0]
    rows = [int((whole.phi.values == row).all(1).nonzero()[0, 0]) for row in phi.values]
    known = {round(float(value), 5) for value in whole.outputs.hits[rows].flatten()}
    assert {round(float(value), 5) for value in events.hits.flatten()} <= known


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Sampling(calls=0), r"gradient\.sampling\.calls"),
        (lambda: Sampling(most=0.5), r"gradient\.sampling\.most"),
        (lambda: Sampling(events=0), r"gradient\.sampling\.events"),
        (lambda: Sampling(design_cost=-1.0), r"gradient\.sampling\.design_cost"),
        (lambda: Sampling(design_cost=math.inf), r"gradient\.sampling\.design_cost"),
        (lambda: LocalRegression(window=19), r"gradient\.window"),
        (lambda: LocalSurrogate(members=0), r"gradient\.members"),
        (lambda: LocalSurrogate(descent=Descent(steps=0)), r"gradient\.descent\.steps"),
        (lambda: LocalRegression(radius=0.0), r"gradient\.radius"),
    ],
)
def test_options_that_cannot_be_used_are_refused(build, words):
    with pytest.raises(ConfigurationError, match=words):
        build()


# Both methods.


def regression(window=180, **options):
    """Seconds matter here, and few designs (``window``) are needed to find a bowl."""
    sampling = Sampling(**({"calls": 60, "most": 1.5} | options))
    search = LocalRegression(sampling=sampling, window=window * sampling.per_design(True), inducing=60)
    search.process.subset = 120
    return search


def small(phi, primaries, events):
    return gaussian(phi, primaries, events, hidden=8, training={"steps": 25})


def surrogate(window=300, **options):
    sampling, descent = Sampling(**({"calls": 100, "most": 1.5} | options)), Descent(events=128, steps=10, rate=0.25)
    return LocalSurrogate(small, sampling=sampling, window=window * sampling.per_design(True), descent=descent)


methods = pytest.mark.parametrize("build", [regression, surrogate])


@methods
def test_the_optimum_is_found(build):
    """Height at the start 6.6; noise of an event 0.3."""
    search, pipeline = build(), bowl_pipeline()
    searched(search, pipeline, 12)
    assert float(height(pipeline.design.point(search.answer(pipeline.design)))) < 0.3


@methods
def test_no_step_leaves_the_region(build):
    """Of a slope in ten dimensions, where the corner of the box is farther out than the ball: 1.73 > 1.2."""
    design = Design({"point": {"start": [0.0] * 10}})
    search = build(calls=250, most=1.0)
    reached = []
    for index in range(3):
        before = design.psi.detach().clone()
        pipeline = Pipeline(Counted(Slope()), design, gun(), mean, True)
        (told,) = searched(search, pipeline, index + 1, first=index)
        if told.columns.get("accepted") == 0.0:
            continue
        step, radius = design.psi.detach() - before, search.region.radius
        assert float(step.abs().max()) <= radius * 1.0001
        assert float(step.norm()) <= 1.2 * radius * (10 / 3) ** 0.5 * 1.0001
        reached.append(float(step.norm()) / radius)
    assert max(reached) > 1.0


class Slope(BlackBoxSimulator):
    """``y ~ N(Σ φ, 0.1)``."""

    def simulate(self, phi, primaries, generator):
        events = primaries.expand(phi.designs)
        noise = 0.1 * torch.randn(events.hits.shape, generator=generator)
        return Events.of(events.truth, phi["point"].sum(1)[:, None, None, None] + noise)


def mean(events, phi):
    return events.hits[:, :, 0, 0].mul(events.weight).sum(1) / events.weight.sum(1)


@methods
def test_a_penalty_counts_and_is_no_part_of_the_objective(build):
    """Beyond x = 0 it is dear: the constrained minimum has x near 0; J there is 1."""
    search = build()
    pipeline = bowl_pipeline(penalty=lambda phi: 50 * phi["x"][:, 0].clamp_min(0).square())
    told = searched(search, pipeline, 10)
    found = pipeline.design.point(search.answer(pipeline.design))
    assert -0.35 < float(found["x"]) < 0.2 and abs(float(found["y"]) + 0.5) < 0.35
    assert told[-1].objective.value == pytest.approx(float(height(found)), abs=0.4)


@methods
def test_a_penalty_that_costs_objective_is_obeyed_from_outside(build):
    """The start is the minimum of J, and forbidden."""
    design = Design({"x": {"start": 1.0}, "y": {"start": -0.5}})
    search = build()
    pipeline = bowl_pipeline(design=design, penalty=lambda phi: 50 * phi["x"][:, 0].clamp_min(0).square())
    first = searched(search, pipeline, 8)[0]
    assert abs(first.objective.value) < 0.5  # and not 50
    assert -0.3 < float(design.point(search.answer(design))["x"]) < 0.3


def driven(experiment, steps, effort=None, seed=0):
    bare = Effort(warm_up=0, reconstruction_steps=0)
    alternation = Alternation(experiment, effort or bare, seed)
    parameters = [*experiment.reconstruction.parameters()] or [torch.nn.Parameter(torch.zeros(1))]
    optimisers = Optimisers(torch.optim.Adam(parameters, 1e-3), torch.optim.SGD([experiment.design.psi], 0.1))
    for _ in alternation.warm_up(optimisers):
        pass
    return alternation, optimisers, [alternation.step(optimisers) for _ in range(steps)]


@methods
@pytest.mark.parametrize("kind", ["nan", "raises", "deterministic", "bounded"])
def test_black_boxes_that_fail_are_optimised_as_far_as_they_go(build, kind):
    problem = failing(kind)
    experiment = Experiment.of(problem.detector, gradient=build())
    alternation, _, records = driven(experiment, 9)
    truth = problem.truth
    reached = float(truth.exact_objective(alternation.design)[0])
    assert reached < truth.optimum + (truth.start - truth.optimum) / 4
    failures = sum(record.columns["failed_designs"] for record in records)
    notes = " ".join(note for record in records for note in record.notes)
    if kind in ("nan", "raises"):
        assert failures > 0
        assert ("NaN" if kind == "nan" else "RuntimeError: the geometry overlaps") in notes
    else:
        assert failures == 0 and not notes


@methods
def test_a_reconstruction_is_trained_on_designs_that_did_not_fail(build):
    """Before the search has events of its own, the neighbourhood is simulated: with designs that fail."""
    design = Design({"point": {"start": [1.05, 1.0]}})
    primaries = UniformInputs((1.0,), (2.0,))
    experiment = Experiment(design, Cliff("nan"), primaries, CellNetwork.fitting, MeanResponse(), build())
    effort = Effort(warm_up=3, reconstruction_steps=1, designs=8, events_per_design=16)
    _, _, records = driven(experiment, 2, effort)
    assert math.isfinite(records[-1].columns["reconstruction_loss"])


class Constant(BlackBoxSimulator):
    def simulate(self, phi, primaries, generator):
        events = primaries.expand(phi.designs)
        return Events.of(events.truth, torch.full_like(events.hits, 2.0))


@methods
def test_hits_that_never_change_leave_the_design_finite(build):
    pipeline = bowl_pipeline(Constant())
    search = build()
    told = searched(search, pipeline, 4)
    assert bool(pipeline.design.psi.isfinite().all()) and told[-1].objective.value == pytest.approx(2.0, abs=1e-3)


@methods
def test_one_survivor_of_a_batch_is_survived(build):
    """Only the present design can be simulated."""
    search, simulator = build(), Bowl()
    pipeline = bowl_pipeline(simulator)
    searched(search, pipeline, 1)
    present = pipeline.design().values.detach()[0]
    simulator.is_nan = lambda values: not torch.equal(values, present)
    (told,) = searched(search, pipeline, 2, first=1)
    assert told.columns["failed_designs"] >= 59 and bool(pipeline.design.psi.isfinite().all())


@methods
def test_a_start_on_its_bounds_is_left(build):
    design = Design({"x": {"start": -2.0, "bounds": [-2.0, 2.0]}, "y": {"start": 2.0, "bounds": [-2.0, 2.0]}})
    search, pipeline = build(), bowl_pipeline(design=design)
    searched(search, pipeline, 3)
    assert bool(design.psi.isfinite().all())
    assert float(height(design.point(search.answer(design)))) <= 9.0 + 12.5


class Spread(BlackBoxSimulator):
    """``hit = E (1 + σ e)`` with ``σ² = 0.05² + |φ − (1, −0.5)|²/50``."""

    def simulate(self, phi, primaries, generator):
        events = primaries.expand(phi.designs)
        sigma = (0.0025 + (height(phi)) / 50).sqrt()[:, None, None, None]
        return Events.of(events.truth, events.hits * (1 + sigma * torch.randn(events.hits.shape, generator=generator)))


@methods
def test_an_objective_that_is_no_mean_is_optimised(build):
    """A quantile width: 0.36 at the start, 0.05 at the optimum."""
    objective = Resolution(width="quantile")

    def score(events, phi):
        return objective(events, Reading()(events, phi), phi)

    search = build(calls=2560, events=128, most=1.0)
    pipeline = Pipeline(Counted(Spread()), bowl_design(), gun(), score, False)
    told = searched(search, pipeline, 8)
    found = float(height(pipeline.design.point(search.answer(pipeline.design))))
    assert (0.0025 + found / 50) ** 0.5 < 0.12
    assert told[0].objective.value == pytest.approx((0.0025 + 6.62 / 50) ** 0.5, rel=0.25)


class Layers(BlackBoxSimulator):
    """``y ~ N((n − 3)² / 4 + [material is not lead] + x², 0.2)``."""

    def simulate(self, phi, primaries, generator):
        assert bool((phi["n"] == phi["n"].round()).all()) and bool((phi["material"].amax(1) == 1).all())
        events = primaries.expand(phi.designs)
        level = (phi["n"][:, 0] - 3) ** 2 / 4 + (1 - phi["material"][:, 1]) + phi["x"][:, 0] ** 2
        noise = 0.2 * torch.randn(events.hits.shape, generator=generator)
        return Events.of(events.truth, level[:, None, None, None] + noise)


def layers():
    return Design(
        {
            "n": {"kind": "integer", "start": 6, "bounds": [1, 8]},
            "x": {"start": 0.6},
            "material": {"start": "iron", "options": ["iron", "lead", "copper"]},
        }
    )


@methods
def test_whole_numbers_and_categories_are_found(build):
    """Only designs that can be built are simulated; the best is three layers of lead, found to one layer."""
    search, pipeline = build(calls=200, window=1200), bowl_pipeline(Layers(), design=layers())
    searched(search, pipeline, 12)
    with torch.no_grad():
        pipeline.design.psi.copy_(search.answer(pipeline.design))
    found = pipeline.design.concrete(pipeline.design.snapped().buildable())
    assert found["material"]["value"] == "lead" and abs(found["n"]["value"] - 3) <= 1
    assert abs(found["x"]["value"]) < 0.4


@methods
@pytest.mark.parametrize("case", ["plain", "discrete", "no mean"])
def test_a_saved_state_continues_bit_for_bit(build, case):
    def made():
        if case == "discrete":
            return bowl_pipeline(Layers(), design=layers())
        return bowl_pipeline(additive=case == "plain")

    options = {"calls": 640, "events": 32} if case == "no mean" else {}
    whole, first = made(), made()
    through, begun = build(**options), build(**options)
    expected = searched(through, whole, 4)
    searched(begun, first, 2)
    file = io.BytesIO()
    torch.save({"search": begun.state_dict(), "design": first.design.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    second, resumed = made(), build(**options)
    resumed.load_state_dict(state["search"])
    second.design.load_state_dict(state["design"])
    kept = resumed.recorded(second, 3, 2, stream("cpu", 1)), begun.recorded(first, 3, 2, stream("cpu", 1))
    assert torch.equal(kept[0][1].hits, kept[1][1].hits)
    raw = [p.design.system.raw_of(k[0]) for p, k in zip((second, first), kept, strict=True)]
    assert all(torch.equal(raw[0][name], raw[1][name]) for name in raw[0])
    done = searched(resumed, second, 4, first=2)
    for mine, theirs in zip(done, expected[2:], strict=True):
        assert mine.objective == theirs.objective
        columns = [{k: v for k, v in row.columns.items() if k != "surrogate_seconds"} for row in (mine, theirs)]
        assert columns[0] == columns[1]
    assert torch.equal(second.design.psi, whole.design.psi)
    assert torch.equal(resumed.answer(second.design), through.answer(whole.design))


@methods
def test_a_state_before_the_first_step_is_that_of_a_new_search(build):
    fresh, loaded = build(), build()
    loaded.load_state_dict(fresh.state_dict())
    one, other = bowl_pipeline(), bowl_pipeline()
    assert searched(loaded, one, 1)[0].objective == searched(fresh, other, 1)[0].objective
    assert torch.equal(one.design.psi, other.design.psi)


def test_columns_of_the_search_do_not_hide_parameters_of_the_same_name():
    design = Design({"radius": {"start": 1.0}, "objective": {"start": 1.0}})
    primaries = UniformInputs((-1.0,), (1.0,))
    experiment = Experiment(design, Sum(), primaries, PriorBelief.fitting, MeanResponse(), Scripted())
    _, _, records = driven(experiment, 1)
    row = records[0].columns
    assert row["search/radius"] == pytest.approx(0.2)
    assert row["radius"] == pytest.approx(design.columns()["radius"])
    assert row["predicted_gain"] == 1.0 and row["simulator_calls"] == 40.0 + 64.0


class Sum(BlackBoxSimulator):
    """``y = radius + x``."""

    def simulate(self, phi, primaries, generator):
        events = primaries.expand(phi.designs)
        return Events.of(events.truth, events.hits + phi["radius"][:, :, None, None])


def test_steps_end_before_designs_fail_and_samples_keep_away_from_there():
    """Everything to the right of a wall fails: steps towards it stay before it, and fewer samples are lost there."""
    start = float(bowl_pipeline().design.psi.detach()[0, 0])
    wall = start + 0.15
    simulator = Bowl()
    pipeline = bowl_pipeline(simulator)
    limit = float(pipeline.design.point(torch.tensor([[wall, wall]]))["x"].detach()[0, 0])
    simulator.raises = lambda values: bool(values[0] > limit)
    search = Scripted(calls=200, back=0.3)
    visited, told = walked(search, 6, pipeline)
    assert float(visited[0][0, 0]) == pytest.approx(start + 0.1, abs=1e-5)  # nothing near has failed that it knows of
    lost = [row.columns["failed_designs"] / 200 for row in told]
    assert lost[1] > 0.15 and max(lost[3:]) < lost[1]
    assert all(float(psi[0, 0]) < wall + 0.02 for psi in visited)
    assert told[3].columns["predicted_gain"] == pytest.approx(0.3)  # that of the shortened step
    again = Scripted(calls=200)
    again.load_state_dict(search.state_dict())
    again.advance(pipeline, stream("cpu", 0, "again"))
    assert len(again.feasible.state()["good"]) > len(search.feasible.state()["good"])
