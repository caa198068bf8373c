"""The design problem: start, optimum against a scan, pattern recognition."""

import copy

import pytest
import torch

from mode_opt.detectors.cosmic_telescope import Layers, cosmic_telescope
from mode_opt.detectors.cosmic_telescope.recognition import recognition
from mode_opt.detectors.cosmic_telescope.scan import measured, scan
from mode_opt.experiment import Effort, Experiment, VerificationEffort, optimise


def test_the_start_is_the_recorded_telescope_and_any_design_costs_the_same():
    detector = cosmic_telescope()
    design = detector.design
    for change in ({}, {"radius": 180.0, "gap": [20.0, 70.0], "winding": [0.3, 0.6]}):
        design.assign(change)
        phi = design().detach()
        assert phi["price"].item() == pytest.approx(36_465, rel=1e-5)
        layers = Layers.of(phi)
        assert phi["channels"].item() == pytest.approx(layers.strips.sum().item(), rel=1e-5)
        shapes = detector.drawing(phi)
        assert [max(map(abs, box["y"])) for box in shapes[::2]] == pytest.approx((layers.radius[0] + 5).tolist())


@pytest.fixture(scope="module")
def found():
    """The detector after an optimisation, and its outcome."""
    detector = cosmic_telescope()
    effort = Effort(events=1024, warm_up=2, reconstruction_steps=1, designs=1, events_per_design=64)
    check = VerificationEffort(steps=10, batch=128, replicas=1, events=8000)
    rates = (3e-3, 0.1)
    return detector, optimise(Experiment.of(detector), 60, effort=effort, verification=check, learning_rates=rates)


def test_the_optimum_is_better_than_every_scanned_design(found):
    detector, outcome = found
    improvement = outcome.verification.improvement
    assert improvement.value > 10 * improvement.standard_error
    assert improvement.value / outcome.verification.initial.value == pytest.approx(0.155, abs=0.03)
    here = measured(detector, detector.design().detach(), 2000)
    best = scan(cosmic_telescope(), designs=200, events=2000)
    assert here < best[0].objective + 1e-4 and best[0].objective < 1.05 * here


def test_the_optimum_has_a_long_lever_arm_and_price_stops_it(found):
    """Two layers at the bore, the third where its scintillator costs as much as its lever arm gains."""
    detector, _ = found
    phi = detector.design().detach()
    assert phi["radius"].item() == pytest.approx(165.0, abs=0.5) and phi["gap"][0, 0].item() == pytest.approx(
        10.2, abs=0.5
    )
    assert 255 < Layers.of(phi).radius[0, -1].item() < 295
    assert phi["winding"][0].tolist() == pytest.approx([0.25, 0.75], abs=0.03)
    design = copy.deepcopy(detector.design)
    at = {}
    for gap in (60.0, 100.0, 119.0):
        design.assign({"gap": [float(phi["gap"][0, 0]), gap]})
        at[gap] = measured(detector, design().detach(), 20_000)
    assert at[100.0] < min(at[60.0], at[119.0])


def test_tracks_of_both_designs_are_recognised(found):
    detector, _ = found
    with torch.no_grad():
        for phi in (cosmic_telescope().design(), detector.design()):
            assert recognition(detector, phi, tracks=60).right > 0.95
