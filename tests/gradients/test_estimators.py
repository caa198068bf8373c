import pytest
import torch
from statistical import assert_mean
from toys import ClosedGauge, Counter, Gauge, gun, network, one_parameter

from mode_opt.errors import ConfigurationError, SimulationError
from mode_opt.events import Events
from mode_opt.experiment import Experiment
from mode_opt.gradients import (
    Automatic,
    ControlVariate,
    FiniteDifferences,
    MeasureValued,
    Pathwise,
    PrunedAlternative,
    Relaxed,
    ScoreFunction,
    StraightThrough,
    WeightedEstimator,
)
from mode_opt.gradients.score_function import attached
from mode_opt.objectives import Resolution
from mode_opt.simulation import Chain, Counted, Promise, StochasticSimulator, stream

REPEATS, EVENTS = 300, 64


def mean_hit(events, phi):
    return events.hits[..., 0, 0].mul(events.weight).sum(-1) / events.weight.sum(-1)


def spread(events, phi):
    """⟨(hit/E − 1)²⟩, which is σ²(x) for the gauge."""
    square = (events.hits[..., 0, 0] / events.truth[..., 0] - 1) ** 2
    return (square * events.weight).sum(-1) / events.weight.sum(-1)


def gradients(estimator, simulator, design, score):
    values, slopes = [], []
    for k in range(REPEATS):
        generator = stream("cpu", 7, k)
        loss = estimator.loss(simulator, design, gun().sample(EVENTS, generator), score, generator)
        design.psi.grad = None
        loss.backward(inputs=[design.psi])
        values.append(loss.detach())
        slopes.append(design.psi.grad[0].clone())
    return torch.stack(values), torch.stack(slopes)


def slope_of_phi(design):
    """dφ/dψ, to turn closed forms in φ into what the estimators leave."""
    (slope,) = torch.autograd.grad(design()["x"].sum(), design.psi)
    return slope[0]


@pytest.mark.parametrize(
    ("estimator", "simulator"),
    [
        (Pathwise(), Gauge()),
        (ScoreFunction(), Gauge()),  # nothing recorded: the pathwise part alone
        (FiniteDifferences(step=0.02), ClosedGauge()),
        (Automatic(), Gauge()),
        (Automatic(), ClosedGauge()),
    ],
    ids=lambda part: type(part).__name__,
)
def test_continuous_noise_has_the_gradient_of_its_closed_form(estimator, simulator):
    design = one_parameter(start=1.5)
    values, slopes = gradients(estimator, simulator, design, spread)
    assert_mean(values, Gauge.floor**2 + (1.5 - Gauge.best) ** 2 / 100)
    assert_mean(slopes, 2 * (1.5 - Gauge.best) / 100 * slope_of_phi(design))


@pytest.mark.parametrize("estimator", [ScoreFunction(), FiniteDifferences(step=0.1), Automatic()])
def test_counts_have_the_gradient_of_their_rate(estimator):
    design = one_parameter(start=2.0)
    values, slopes = gradients(estimator, Counter(), design, mean_hit)
    assert_mean(values, 2.0)
    assert_mean(slopes, slope_of_phi(design))


class OwnMean(WeightedEstimator):
    """The baseline that published code sometimes uses: the batch mean, the own event included."""

    requires = Promise.STOCHASTIC

    def events(self, simulator, phi, primaries, generator):
        return attached(simulator(phi, primaries, generator))

    def factor(self, count):
        return 1.0


def test_the_batch_mean_as_baseline_makes_the_gradient_smaller():
    """The mean as baseline contains the event itself: E[g] = (n − 1)/n dJ/dψ. With n = 2 that is one half."""
    design = one_parameter(start=2.0)

    def few(estimator):
        slopes = []
        for k in range(1500):
            generator = stream("cpu", 11, k)
            loss = estimator.loss(Counter(), design, gun().sample(2, generator), mean_hit, generator)
            slopes.append(torch.autograd.grad(loss, design.psi)[0][0])
        return torch.stack(slopes)

    exact = slope_of_phi(design)
    assert_mean(few(OwnMean(controls=False)), 0.5 * exact)
    for baseline in ("none", "leave_one_out", "learned"):
        assert_mean(few(ScoreFunction(baseline)), exact)


def test_common_random_numbers_make_finite_differences_quiet():
    """Of a linear response the noise cancels: the spread of the slope is far below that of the values."""
    design = one_parameter(start=1.5)
    values, slopes = gradients(FiniteDifferences(step=0.01), ClosedGauge(), design, spread)
    independent = values.std() * (2 * EVENTS / EVENTS) ** 0.5 / 0.02  # what independent noise would give
    assert slopes.std() < 0.1 * independent


@pytest.mark.parametrize(
    ("estimator", "simulator"),
    [(Pathwise(), Counter()), (Pathwise(), ClosedGauge()), (ScoreFunction(), ClosedGauge())],
)
def test_a_wrong_pair_is_refused_with_both_names(estimator, simulator):
    with pytest.raises(ConfigurationError, match=type(simulator).__name__) as caught:
        estimator.check(simulator)
    assert type(estimator).__name__ in str(caught.value)


@pytest.mark.parametrize(
    "estimator", [ControlVariate(), StraightThrough(), Relaxed(), PrunedAlternative(), MeasureValued()]
)
def test_what_is_not_written_in_choices_is_refused_when_the_experiment_is_built(estimator):
    with pytest.raises(ConfigurationError, match=r"'Counter', expected a simulator written in random choices"):
        Experiment(one_parameter(), Counter(), gun(), network, Resolution(), estimator)
    estimator.check(Counted(Chain({"gauge": Gauge()})))  # differentiable: there is no choice to take over


class Forgetful(StochasticSimulator):
    def forward(self, phi, primaries, generator=None):
        return primaries.expand(phi.designs)


def test_a_stochastic_simulator_that_records_nothing_is_caught():
    generator = stream("cpu", 0)
    with pytest.raises(SimulationError, match="Forgetful is stochastic but recorded no log-probability"):
        ScoreFunction().loss(Forgetful(), one_parameter(), gun().sample(3, generator), mean_hit, generator)


def test_a_log_probability_of_minus_infinity_is_an_error_and_no_nan():
    events = Events.of(torch.ones(1, 2, 1), torch.ones(1, 2, 1, 1), log_probability=torch.tensor([[0.0, -torch.inf]]))
    with pytest.raises(SimulationError, match="1 of 2 events is not finite"):
        attached(events)


def test_the_step_must_be_positive():
    with pytest.raises(ConfigurationError, match=r"gradient\.step"):
        FiniteDifferences(step=0.0)
