"""What the recorded run holds, and what is found from it: geometry, tracks, the fit of the twin."""

import numpy as np
import pytest
import torch

from mode_opt.detectors.cosmic_telescope import accepted, cosmic_telescope, generated, reconstructed, struck
from mode_opt.detectors.cosmic_telescope.calibration import (
    EDGES,
    FREE,
    calibrate,
    half_width,
    recorded_design,
    residuals,
)
from mode_opt.detectors.cosmic_telescope.data import STRIPS
from mode_opt.detectors.cosmic_telescope.detector import configured
from mode_opt.detectors.cosmic_telescope.geometry import recorded_layers
from mode_opt.detectors.cosmic_telescope.lines import Layers
from mode_opt.detectors.cosmic_telescope.refit import clusters
from mode_opt.errors import ConfigurationError


def test_the_facts_of_the_file():
    event, layer, strip, energy = struck()
    assert (
        len(event) == 4808 and len(event.unique()) == 453 and energy.sum().item() == pytest.approx(7196.726, abs=0.01)
    )
    assert layer.bincount().tolist() == [1439, 1682, 1687]
    assert [int(strip[layer == k].max()) for k in range(3)] == list(STRIPS)
    tracks, pairs = generated(), reconstructed()
    assert len(tracks.truth) == 1000 and len(pairs.truth) == 224 and bool(accepted(pairs).all())
    residual, momentum = residuals(pairs.found, pairs.truth), pairs.momentum.numpy()
    assert half_width(residual) == pytest.approx([0.013017, 0.026658, 4.433, 1.999], rel=0.01)
    assert residual[:, 0].std() == pytest.approx(0.416, abs=0.001)
    assert (abs(residual[:, 0]) > 0.04).sum() == 12
    inside = np.digitize(momentum, EDGES[1:4])
    by_momentum = [half_width(residual[inside == k, 0]) for k in range(4)]
    assert by_momentum == pytest.approx([0.01578, 0.01124, 0.01036, 0.00899], rel=0.01)
    assert np.bincount(inside).tolist() == [77, 64, 46, 37]


def test_the_layers_that_strips_and_tracks_tell_are_the_start_design():
    layers, start = recorded_layers(), Layers.of(cosmic_telescope().design().detach())
    assert [layer.radius for layer in layers] == pytest.approx(start.radius[0].tolist(), abs=0.3)
    assert [layer.winding for layer in layers] == pytest.approx([0.511, 0.0, -0.468], abs=0.0015)
    assert [layer.pitch for layer in layers] == pytest.approx([10.28] * 3, abs=0.03)
    assert start.strips[0].tolist() == pytest.approx(STRIPS, abs=0.4)
    torch.testing.assert_close(start.radius, Layers.of(recorded_design()).radius)


def test_clusters_go_around_the_cylinder():
    found = clusters(torch.tensor([88, 1, 40, 41]), torch.tensor([1.0, 3.0, 2.0, 2.0]), 0)
    step = 2 * np.pi / 88
    assert sorted((round(cluster.place / step, 4), cluster.size) for cluster in found) == [(39.5, 2), (87.75, 2)]
    assert clusters(torch.tensor([5]), torch.tensor([0.3]), 1) == [(pytest.approx(4 * 2 * np.pi / 108), 1)]


def test_a_fit_of_the_strips_beats_the_recorded_reconstruction(own_tracks):
    """All events with two clusters in every layer, pairing chosen without the truth; φ more than twice as well."""
    tracks, complete = own_tracks
    assert len(tracks.truth) == complete == 339
    width = half_width(residuals(tracks.found, tracks.truth))
    assert width == pytest.approx([0.0056, 0.0138, 1.99, 1.00], rel=0.05)
    recorded = reconstructed()
    assert set(recorded.event.tolist()) <= set(tracks.event.tolist())


@pytest.mark.parametrize("reading", ["recorded", "strips"])
def test_the_twin_describes_the_widths_of_the_tracks(reading, own_tracks):
    sharing = configured()["readings"][reading]["sharing"]
    fit = calibrate(reconstructed() if reading == "recorded" else own_tracks[0], sharing, copies=50)
    errors = np.sqrt(np.diag(fit.covariance))
    declared = [configured()["readings"][reading][name] for name in FREE]
    assert (abs(fit.values - declared) < 0.5 * errors).all()
    assert fit.probability > 0.05
    pull = (fit.predicted - fit.observed) / fit.errors
    assert abs(pull).max() < 3.0
    if reading == "recorded":  # the half-width of φ that the twin is asked to reproduce
        assert fit.observed[0, 1] == pytest.approx(0.0130, abs=1e-4)
        assert abs(fit.predicted[0, 1] - fit.observed[0, 1]) < fit.errors[0, 1]


def test_a_reading_that_is_not_there():
    with pytest.raises(ConfigurationError, match=r"detector\.reading"):
        cosmic_telescope(reading="guess")
