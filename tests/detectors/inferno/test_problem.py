"""The problem against the note and the paper: densities, floors, the instrument."""

import pytest
import torch
from statistical import assert_mean
from torch.distributions import Exponential, Normal

from mode_opt.design import DesignPoint
from mode_opt.detectors.inferno import (
    BENCHMARKS,
    Instrument,
    MixtureSource,
    classifier_templates,
    exact_uncertainty,
    inferno,
    moved,
    reweighted,
)
from mode_opt.detectors.inferno.measure import measured, optimal_classifier
from mode_opt.errors import ConfigurationError
from mode_opt.experiment import Experiment
from mode_opt.simulation import stream

PUBLISHED = (14.71, 15.52, 15.65, 15.62, 16.89)
"""Analytic likelihood in table 1 of arXiv 1806.04743."""
COMPUTED = (14.705, 15.503, 15.635, 15.605, 16.877)
"""Independent integration of the same information."""


def log_density(x, y, z, mean, spreads, rate):
    return Normal(mean, spreads[0]).log_prob(x) + Normal(0.0, spreads[1]).log_prob(y) + Exponential(rate).log_prob(z)


def both(x, y, z):
    return log_density(x, y, z, 0.0, (1.0, 1.0), 2.0), log_density(x, y, z, 2.0, (5**0.5, 3.0), 3.0)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_floors_are_those_of_the_note_and_close_to_the_published_ones(benchmark):
    floor = exact_uncertainty(benchmark)
    assert floor == pytest.approx(COMPUTED[benchmark], abs=1e-3)
    assert floor == pytest.approx(PUBLISHED[benchmark], abs=0.02)
    assert floor == pytest.approx(exact_uncertainty(benchmark, fine=0.8), abs=1e-5)


def test_errors_of_the_measurement_cost():
    floors = [exact_uncertainty(2, (error, error)) for error in (0.0, 0.5, 1.0)]
    assert floors == sorted(floors) and floors[2] > 19
    assert exact_uncertainty(2, (1.0, 0.0)) != pytest.approx(exact_uncertainty(2, (0.0, 1.0)), rel=0.01)


def test_events_have_the_densities_of_the_paper():
    events = MixtureSource().sample(40_000, stream("cpu", 0))
    signal = events.truth[0, :, 0] > 0.5
    hits = events.hits[0, :, 0].double()
    for member, (mean, spreads, rate) in ((signal, (0.0, (1.0, 1.0), 2.0)), (~signal, (2.0, (5**0.5, 3.0), 3.0))):
        x, y, z = hits[member].unbind(-1)
        for values, centre, spread in ((x, mean, spreads[0]), (y, 0.0, spreads[1])):
            assert_mean(values, centre)
            assert_mean((values - centre) ** 2, spread**2)
        assert_mean(z, 1 / rate)
        assert_mean(z**2, 2 / rate**2)
    one, other = both(*hits.unbind(-1))
    belief = optimal_classifier(events, DesignPoint.of(share=0.5))
    torch.testing.assert_close(belief.mean[0, :, 0].double(), torch.sigmoid(one - other), atol=1e-5, rtol=1e-4)


def test_weights_and_moved_events_describe_the_same_background():
    """Means of a smooth function of the events under both kinds of scenario, within their errors."""
    events, phi = MixtureSource().sample(200_000, stream("cpu", 1)), DesignPoint.of(share=0.5)
    background = events.truth[0, :, 0] < 0.5
    mixture = MixtureSource().mixture
    for name, step in (("shift", 0.1), ("rate", 0.3)):
        slopes = []
        for pair in (moved, reweighted):
            low, high = (scenario(events, phi)[0] for scenario in pair(name, step, mixture))
            values = [e.weight[0] * torch.tanh(e.hits[0, :, 0].sum(-1)) for e in (low, high)]
            slopes.append((values[1] - values[0])[background] / (2 * step))
        assert_mean(slopes[0] - slopes[1], 0.0)
        assert slopes[0].mean().abs() > 5 * slopes[0].std() / len(slopes[0]) ** 0.5


def test_the_optimal_classifier_has_the_published_uncertainty():
    """In ten bins, benchmark 2: 24.93 (table 1)."""
    experiment = Experiment.of(inferno(), "sharp")
    bins = {"bins": classifier_templates(2, move=reweighted)}
    found = measured(experiment, optimal_classifier, bins, 100_000, 5)["bins"]
    assert 0 < found.standard_error < 0.6 and found.value == pytest.approx(24.93, abs=4 * found.standard_error)


def test_the_instrument_smears_each_coordinate_by_its_share():
    primaries = MixtureSource().sample(20_000, stream("cpu", 2))
    phi = DesignPoint.of(share=torch.tensor([[0.2], [0.5]]))
    hits = Instrument(0.5)(phi, primaries, stream("cpu", 3)).hits
    residual = (hits - primaries.hits)[:, :, 0]
    for row, share in enumerate((0.2, 0.5)):
        assert_mean(residual[row, :, 0] ** 2, (0.5 / share) ** 2)
        assert_mean(residual[row, :, 1] ** 2, (0.5 / (1 - share)) ** 2)
    assert residual[:, :, 2].eq(0).all()
    torch.testing.assert_close(residual[0, :, 0] * 0.2, residual[1, :, 0] * 0.5, atol=1e-5, rtol=1e-3)
    sharp = inferno().simulator("sharp")(phi, primaries, stream("cpu", 3))
    assert torch.equal(sharp.hits, primaries.hits.expand(2, -1, -1, -1))


@pytest.mark.parametrize("changes", [{"benchmark": 7}, {"error": -1.0}, {"width": 0.0}, {"network": {"bins": 1}}])
def test_settings_that_cannot_be_used(changes):
    with pytest.raises(ConfigurationError):
        Experiment.of(inferno(**changes))
