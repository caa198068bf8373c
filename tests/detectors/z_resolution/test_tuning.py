"""The recorded sample, its closed form, and the tuned scale and resolution on toys and data."""

import json

import pytest
import torch
from torch.distributions import Independent, Normal

from mode_opt.cli import main
from mode_opt.data import RootReader
from mode_opt.design import DesignPoint
from mode_opt.detectors.z_resolution import Likelihood, LineShape, Matching, closed_form, masses, recorded, z_resolution
from mode_opt.detectors.z_resolution.line_shape import Z_MASS
from mode_opt.detectors.z_resolution.recorded import DATA
from mode_opt.detectors.z_resolution.toys import bootstrap, toy_masses
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.events import Events
from mode_opt.objectives import Sinkhorn

WINDOW = (80e3, 100e3)
TRUTH = torch.tensor([0.999, 0.0203], dtype=torch.float64)


@pytest.mark.parametrize(
    ("sample", "window", "events", "mean", "factor"),
    [
        ("GG", WINDOW, 445, 90.45994, 1.008044),
        ("GG", (60e3, 120e3), 500, 89.12580, 1.023134),
        ("GT", WINDOW, 447, 90.49533, 1.007650),
        ("TT", WINDOW, 446, 90.56465, 1.006879),
    ],
)
def test_one_pair_of_each_event(sample, window, events, mean, factor):
    mass = masses(recorded(sample, window))
    assert len(mass) == events and float(mass.mean()) / 1e3 == pytest.approx(mean, abs=1e-5)
    assert closed_form(mass) == pytest.approx(factor, abs=1e-6)


def test_rows_repeat_events_and_the_first_row_of_each_is_another_reconstruction():
    """2304 rows, 500 events; unique before the selection leaves no GG pair at all."""
    reader = RootReader(DATA, {"mass": {"expression": "M", "unit": "GeV"}})
    first = reader.unique(["Run", "Event"])
    assert reader.entries == 2304 and len(first.read()) == 500
    cut = "(Q1 * Q2 < 0) & (M > 80) & (M < 100)"
    window = RootReader(DATA, {"mass": {"expression": "M", "unit": "GeV"}}, cut=cut)
    for every, count, factor in ((window, 1784, 1.007563), (window.unique(["Run", "Event"]), 448, 1.007418)):
        assert len(every.read()) == count and closed_form(masses(every)) == pytest.approx(factor, abs=1e-6)
    with pytest.raises(DataError, match="expected at least one"):
        RootReader(DATA, {"mass": "M"}, cut='Type == "GG"')._with(first._selection).read()


@pytest.mark.parametrize("blur", [0.0, 3.0])
def test_a_line_at_the_z_has_the_closed_form_as_its_optimum(blur):
    """All simulated masses at s m_Z: S = ½ (s m_Z − ⟨m⟩)² + const. whatever the blur, so 1/s = 1.008044."""
    objective = Sinkhorn(source="hits", recorded=recorded(), scales=(1000.0,), blur=blur, size=None, scaling=0.98)
    mass, unit = masses(recorded()), Z_MASS / 1000
    best = torch.tensor(1 / closed_form(mass), dtype=torch.float64)
    values = []
    for shift in (-0.01, 0.0, 0.01):
        scale = (best + shift).requires_grad_()
        hits = (scale * Z_MASS).expand(1, 40, 1, 1)
        belief = Independent(Normal(torch.zeros(1, 40, 1), torch.ones(1, 40, 1)), 1)
        value = objective(Events.of(torch.zeros(1, 40, 1), hits), belief, DesignPoint.of(scale=1.0))
        values.append(float(value.detach()))
        (slope,) = torch.autograd.grad(value, scale)
        assert float(slope) == pytest.approx(unit**2 * shift, abs=2e-3 * unit**2 * 0.01)
    assert values[0] - values[1] == pytest.approx((0.01 * unit) ** 2 / 2, rel=1e-3)
    if blur == 0:
        assert values[1] == pytest.approx(float((mass / 1000).var(correction=0)) / 2)


def test_both_methods_find_the_truth_of_toys_and_know_their_errors():
    """The small version of the toys of scripts/benchmarks/z_resolution.py: 16 toys of 445 events."""
    shape = LineShape()
    matching = Matching(shape, WINDOW, 1024)
    samples = [toy_masses(shape, WINDOW, 445, *TRUTH.tolist(), seed=seed) for seed in range(16)]
    likelihood = [Likelihood(shape, WINDOW, mass).fit() for mass in samples]
    best = torch.cat([fit.values for fit in likelihood])
    matches = [matching.fit(mass) for mass in samples]
    ours = torch.tensor([(match.scale, match.resolution) for match in matches], dtype=torch.float64)
    for found in (best, ours):
        assert bool(((found.mean(0) - TRUTH).abs() < 4 * found.std(0) / 4).all())
    pulls = (best - TRUTH) / torch.cat([fit.errors for fit in likelihood])
    assert bool((pulls.std(0) > 0.4).all()) and bool((pulls.std(0) < 1.8).all())
    # The same events: the two estimates differ by less than either does from the truth.
    assert bool(((ours - best).std(0) < 1.2 * ours.std(0)).all()) and bool((ours.std(0) < 2.5 * best.std(0)).all())
    drawn = [matching.fit(samples[0], weights) for weights in bootstrap(445, 20, 0)]
    errors = torch.tensor([(match.scale, match.resolution) for match in drawn], dtype=torch.float64).std(0)
    assert bool((errors / ours.std(0) > 0.4).all()) and bool((errors / ours.std(0) < 2.0).all())


def test_a_large_sample_leaves_no_bias_with_or_without_a_blur():
    shape = LineShape()
    mass = toy_masses(shape, WINDOW, 40_000, 1.003, 0.025, seed=5)
    for blur, scaling in ((0.0, 0.9), (2.0, 0.95)):
        match = Matching(shape, WINDOW, 4096, blur, scaling=scaling).fit(mass)
        assert match.scale == pytest.approx(1.003, abs=8e-4) and match.resolution == pytest.approx(0.025, abs=1.5e-3)


def test_recorded_pairs():
    """Sinkhorn and likelihood agree with each other within one error, and not with the closed form."""
    mass, shape = masses(recorded()), LineShape()
    match, fit = Matching(shape, WINDOW, 2048).fit(mass), Likelihood(shape, WINDOW, mass).fit()
    scale, resolution = fit.values[0].tolist()
    assert abs(match.scale - scale) < float(fit.errors[0, 0])
    assert abs(match.resolution - resolution) < float(fit.errors[0, 1])
    assert abs(1 / closed_form(mass) - scale) > 3 * float(fit.errors[0, 0])
    # The masses prefer muons that radiate; without it the scale makes up for the loss.
    silent = Likelihood(LineShape(radiation=False), WINDOW, mass)
    without = silent.fit().values[0].tolist()
    assert silent.value(*without) < Likelihood(shape, WINDOW, mass).value(scale, resolution) and without[0] < scale


def test_optimise_finds_it(tmp_path, capfd):
    words = ["detector=z_resolution", f"hydra.run.dir={tmp_path}", "quiet=true", "budget.steps=80"]
    words += ["verification.events=4000", "effort.validation_events=1024"]
    assert main(["optimise", *words]) == 0, capfd.readouterr().err
    result = json.loads((tmp_path / "result.json").read_text())
    match = Matching(LineShape(), WINDOW, 2048).fit(masses(recorded()))
    design = result["design"]
    assert design["scale"]["final"] == pytest.approx(match.scale, abs=1.5e-3)
    assert design["resolution"]["final"] == pytest.approx(match.resolution, abs=3e-3)
    assert result["objective"]["final"]["value"] < 0.05 < result["objective"]["initial"]["value"]
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": "TG"}, "detector.sample: got 'TG', expected one of GG"),
        ({"window": [1.0]}, "detector.window"),
        ({"line_shape": {"up": 2.0}}, "detector.line_shape.up"),
        ({"sinkhorn": {"blur": -1.0}}, "objective.blur"),
        ({"samples": 1}, "detector.samples"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        z_resolution(**changes)
