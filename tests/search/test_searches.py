"""The searches on a bowl whose optimum is known: they find it, within the box, whatever fails."""

import math
import sys

import numpy as np
import pytest
import torch
from bowl import BEST, Bowl, OpenBowl, bowl_design, bowl_pipeline, height, searched
from toys import gun

from mode_opt.errors import ConfigurationError, SimulationError
from mode_opt.experiment import Effort, Experiment, VerificationEffort, optimise
from mode_opt.gradients import EvolutionStrategies, Pathwise
from mode_opt.objectives import DesignCost
from mode_opt.reconstruction import PriorBelief
from mode_opt.search import (
    BayesianOptimisation,
    CovarianceAdaptation,
    RandomSearch,
    StartPoint,
    TrustRegionBayesianOptimisation,
)

# Height at the start: (1.8)² + 2 (1.3)² = 6.6. Steps are those that a failure of the method would not survive.
FINDERS = {
    "bayesian": (lambda: BayesianOptimisation(events=10), 22, 0.1),
    "bayesian, two at a time": (lambda: BayesianOptimisation(events=10, candidates=2), 14, 0.1),
    "turbo": (lambda: TrustRegionBayesianOptimisation(events=10), 14, 0.15),
    "random, around the best": (lambda: RandomSearch(events=10), 150, 0.3),
    "random, in the box": (lambda: RandomSearch(events=10, proposals="sobol"), 150, 0.6),
    "cma_es": (lambda: CovarianceAdaptation(events=5), 40, 0.06),
    "start, then a search": (lambda: StartPoint(RandomSearch(events=10), CovarianceAdaptation(), steps=20), 60, 0.06),
}
SIMPLE = [
    lambda: BayesianOptimisation(events=4, initial=3),
    lambda: TrustRegionBayesianOptimisation(events=4, initial=3),
    lambda: RandomSearch(events=4),
    lambda: CovarianceAdaptation(events=4),
]


def reached(search, pipeline):
    return float(height(pipeline.design.point(search.answer(pipeline.design)).detach()))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", FINDERS)
def test_the_optimum_is_found(name, seed):
    build, steps, tolerance = FINDERS[name]
    search, pipeline = build(), bowl_pipeline()
    searched(search, pipeline, steps, seed)
    assert reached(search, pipeline) < tolerance


@pytest.mark.parametrize("build", [SIMPLE[0], SIMPLE[1], SIMPLE[2], SIMPLE[3]])
def test_without_bounds_the_box_is_around_the_start(build):
    """The optimum is 2.25 and 1.6 half widths of the start away: a small box keeps it out, except for CMA-ES."""
    search, pipeline = build(), bowl_pipeline(design=bowl_design(bounded=False))
    search.width = 0.5
    seen = []
    for index in range(12):
        searched(search, pipeline, index + 1, first=index)
        seen.append(search.told.psi)
    furthest = float((search.told.psi - search.start).abs().max())
    assert furthest <= 0.5 + 1e-6 or isinstance(search, CovarianceAdaptation)
    assert furthest > 0.1


@pytest.mark.parametrize("build", SIMPLE)
def test_bounded_parameters_stay_where_their_bounds_can_be_told_apart(build):
    search, pipeline = build(), bowl_pipeline()
    searched(search, pipeline, 12)
    assert float(search.told.psi.abs().max()) <= 2 + 1e-6


@pytest.mark.parametrize("build", SIMPLE)
def test_a_region_that_fails_is_survived_and_avoided_by_the_answer(build):
    """Designs beyond x = 0.5 raise or are NaN: the best of what can be built has x = 0.5, height 0.25."""
    for broken in ({"raises": lambda v: v[0] > 0.5}, {"is_nan": lambda v: v[0] > 0.5}):
        search, pipeline = build(), bowl_pipeline(Bowl(**broken))
        steps = searched(search, pipeline, 12 if hasattr(search, "surface") else 30)
        assert sum(step.columns["failed_designs"] for step in steps) == search.told.failures > 0
        notes = [note for step in steps for note in step.notes]
        assert any("overlap" in note or "NaN" in note for note in notes)
        assert float(pipeline.design.point(search.answer(pipeline.design))["x"]) < 0.8
        assert reached(search, pipeline) < 6.6


@pytest.mark.parametrize("build", SIMPLE)
def test_a_simulator_that_always_fails_is_reported(build):
    def overlapping(values: torch.Tensor) -> bool:
        return True

    with pytest.raises(SimulationError, match="volumes overlap"):
        searched(build(), bowl_pipeline(Bowl(raises=overlapping)), 3)


@pytest.mark.parametrize("build", SIMPLE)
def test_a_simulator_without_noise_is_searched_too(build):
    search, pipeline = build(), bowl_pipeline(Bowl(noise=0.0))
    searched(search, pipeline, 60 if isinstance(search, RandomSearch) else 12)
    assert reached(search, pipeline) < 4.0


@pytest.mark.parametrize("build", SIMPLE)
def test_the_global_random_numbers_are_left_alone(build):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    searched(build(), bowl_pipeline(), 5)
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002


def test_the_incumbent_of_a_random_search_is_not_the_luckiest_value():
    """Pure noise: the best of 300 values is three errors too low, the mean of the incumbent's fresh values is not."""
    search, pipeline = RandomSearch(events=4), bowl_pipeline(Bowl(noise=100.0))
    step = searched(search, pipeline, 300)[-1]
    error = 100 / 4**0.5
    assert float(search.told.values.min()) < -2.2 * error
    assert step.columns["best_value"] > -1.0 * error


def test_the_penalty_of_constraints_counts():
    """A penalty for x above 0 moves the answer there."""
    search = BayesianOptimisation(events=10)
    pipeline = bowl_pipeline(penalty=lambda phi: 50 * phi["x"][:, 0].clamp_min(0).square())
    searched(search, pipeline, 22)
    assert -0.6 < float(pipeline.design.point(search.answer(pipeline.design))["x"]) < 0.25 < BEST[0]


def test_an_objective_that_is_no_mean_is_measured_with_the_jackknife():
    pipeline = bowl_pipeline(additive=False)
    step = searched(RandomSearch(events=400), pipeline, 1)[0]
    assert step.objective.standard_error == pytest.approx(0.3 / 20, rel=0.5)
    with pytest.raises(ConfigurationError, match="at least 2"):
        searched(RandomSearch(events=1), bowl_pipeline(additive=False), 1)


def test_the_error_of_a_mean_over_events_is_that_of_the_mean():
    step = searched(RandomSearch(events=400), bowl_pipeline(), 1)[0]
    assert step.objective.standard_error == pytest.approx(0.3 / 20, rel=0.15)
    assert step.objective.value == pytest.approx(6.62, abs=0.06)
    single = searched(RandomSearch(events=1), bowl_pipeline(), 1)[0]
    assert math.isnan(single.objective.standard_error)


def test_a_single_event_an_evaluation_leaves_the_noise_to_the_process():
    search, pipeline = BayesianOptimisation(events=1), bowl_pipeline()
    searched(search, pipeline, 20)
    assert any("noise" in name for name in search.surface.hyperparameters)
    assert reached(search, pipeline) < 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_a_start_is_found_and_gradients_take_over(seed):
    search = StartPoint(BayesianOptimisation(events=10), Pathwise(), steps=12, events=200)
    pipeline = bowl_pipeline(OpenBowl())
    steps = searched(search, pipeline, 60, seed)
    handed = [index for index, step in enumerate(steps) if any("the start is found" in note for note in step.notes)]
    assert len(handed) == 1 and handed[0] <= 11
    assert all("gradient_norm" in step.columns for step in steps[handed[0] + 1 :])
    assert reached(search, pipeline) < 1e-3


def test_a_search_within_an_experiment_is_optimised_and_verified():
    experiment = Experiment(
        bowl_design(), OpenBowl(), gun(), PriorBelief.fitting, DesignCost("x"), RandomSearch(events=2)
    )
    quick = VerificationEffort(steps=0, events=200, replicas=1, bins=2)
    outcome = optimise(experiment, 20, effort=Effort(warm_up=0), verification=quick)
    assert outcome.final["x"]["value"] < -0.9 < outcome.initial["x"]["value"]
    assert "best_value" in outcome.history[-1].columns


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: BayesianOptimisation(events=0), "gradient.events"),
        (lambda: BayesianOptimisation(box=-1.0), "gradient.box"),
        (lambda: BayesianOptimisation(candidates=1.5), "gradient.candidates"),
        (lambda: TrustRegionBayesianOptimisation(length=math.inf), "gradient.length"),
        (lambda: TrustRegionBayesianOptimisation(length=2.0), "at most 1.6"),
        (lambda: RandomSearch(proposals="grid"), "sobol or gaussian"),
        (lambda: CovarianceAdaptation(population=2), "gradient.population"),
        (lambda: StartPoint(search=EvolutionStrategies()), "gradient.search"),
        (lambda: StartPoint(then="adam"), "gradient.then"),
    ],
)
def test_options_that_cannot_be_used_are_refused(build, words):
    with pytest.raises(ConfigurationError, match=words):
        build()


def test_a_gradient_that_the_simulator_cannot_give_is_refused_before_the_search():
    with pytest.raises(ConfigurationError, match="black box"):
        searched(StartPoint(then=Pathwise()), bowl_pipeline(), 1)


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cma", None)
    with pytest.raises(ConfigurationError, match=r"pip install mode-opt\[cma\]"):
        CovarianceAdaptation()


@pytest.mark.parametrize("build", SIMPLE)
def test_a_design_with_fewer_free_parameters_begins_anew(build):
    """As after moving to values that can be built."""
    from mode_opt.design import Design

    search = build()
    searched(search, bowl_pipeline(), 4)
    line = Design({"x": {"start": -0.8, "bounds": [-2, 2]}, "y": {"start": 0.8, "bounds": [-2, 2], "free": False}})
    pipeline = bowl_pipeline(design=line)
    searched(search, pipeline, 12, first=4)
    assert search.told.psi.shape[1] == 1
    assert reached(search, pipeline) < 6.6 - 1.0
