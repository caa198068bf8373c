"""Curvature and tolerances against quadratic objectives whose Hessian is written down."""

import math
from dataclasses import replace

import pytest
import torch
from exact import Mirror, Reading, reading_experiment, sigma
from hypothesis import given, settings
from hypothesis import strategies as st
from quadratics import Quadratic
from toys import ClosedGauge, gun

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.experiment import Experiment
from mode_opt.experiment.tolerance import ToleranceEffort, allowed, tolerances
from mode_opt.objectives import Objective, Resolution


def experiment(objective: Objective, simulator=None, **start: float) -> Experiment:
    parameters = {
        "x": {"start": start.get("x", 0.0), "bounds": [-2.0, 2.0], "unit": "mm"},
        "y": {"start": start.get("y", 0.0), "bounds": [-0.5, 0.5], "unit": "cm"},  # half a range: 5 mm
    }
    return Experiment(Design(parameters).double(), simulator or Mirror(), gun(), Reading(), objective)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.2, 5.0), st.floats(0.2, 5.0), st.floats(-0.9, 0.9), st.floats(0.1, 10.0))
def test_a_known_hessian_gives_known_tolerances(a, b, correlation, percent):
    """J = 1 + ½ xᵀAx at its minimum: alone, L = ½ A_ii t²; along eigenvectors of S A S, L = ½ λ t²."""
    c = correlation * math.sqrt(a * b)
    found = tolerances(
        experiment(Quadratic([[a, c], [c, b]])), loss_percent=percent, effort=ToleranceEffort(events=8, batches=3)
    )
    scale = torch.tensor([2.0, 5.0], dtype=torch.float64)
    hessian = torch.tensor([[a, c], [c, b]], dtype=torch.float64) * scale[:, None] * scale
    torch.testing.assert_close(found.hessian, hessian, rtol=1e-9, atol=1e-9)
    assert found.objective.value == pytest.approx(1.0) and found.loss == pytest.approx(percent / 100)
    for entry, bend, unit in zip(found.parameters, (a, b), (1.0, 10.0), strict=True):  # mm, cm
        assert entry.deviation.value == pytest.approx(math.sqrt(2 * found.loss / bend) / unit)
        assert entry.spread.value == pytest.approx(math.sqrt(found.loss / bend) / unit)  # half of the loss each
        assert entry.curvature.value == pytest.approx(bend * unit**2)
    expected = torch.linalg.eigvalsh(hessian).flip(0)
    for direction, value in zip(found.directions, expected.tolist(), strict=True):
        assert direction.curvature.value == pytest.approx(value)
        assert direction.deviation.value == pytest.approx(math.sqrt(2 * found.loss / value))
        vector = torch.tensor([direction.components["x"], direction.components["y"]], dtype=torch.float64)
        torch.testing.assert_close(hessian @ vector, value * vector, rtol=1e-6, atol=1e-6 * float(expected[0]))
        assert direction.kind == ("stiff" if direction.deviation.value < 1 else "free")


@given(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0), st.floats(0.01, 1.0))
def test_the_allowed_deviation_costs_the_loss(slope, curvature, loss):
    """The first t > 0 where b t + c t²/2 comes to the loss, also after a fall."""
    t = allowed(torch.tensor(slope, dtype=torch.float64), torch.tensor(curvature, dtype=torch.float64), loss).item()
    if math.isinf(t):
        assert slope**2 + 2 * curvature * loss <= 0 or (slope <= 0 and curvature <= 0)
    elif t < 1e9:
        assert t > 0 and slope * t + curvature * t**2 / 2 == pytest.approx(loss, rel=1e-6, abs=1e-9)
        before = torch.linspace(0, 0.999 * t, 50, dtype=torch.float64)
        assert (slope * before + curvature * before**2 / 2).max() < loss


def test_errors_are_those_of_the_batches():
    """Curvature A + ⟨hit⟩, hits of mean 1 and deviation ½: its mean and standard error are known."""

    class Noisy(Mirror):
        def forward(self, phi, primaries, generator=None):
            noise = torch.randn(primaries.hits.shape, generator=generator)
            return replace(primaries, hits=1.0 + 0.5 * noise).expand(phi.designs)

    subject = experiment(Quadratic([[1.0, 0.0], [0.0, 0.0]], noise=1.0), Noisy())
    pulls = []
    for seed in range(12):
        found = tolerances(subject, effort=ToleranceEffort(events=100, batches=10), seed=seed).parameters[0]
        assert found.curvature.standard_error == pytest.approx(0.5 / 1000**0.5, rel=0.9)
        pulls.append((found.curvature.value - 2.0) / found.curvature.standard_error)
        assert found.deviation.value == pytest.approx((2 * 0.01 / found.curvature.value) ** 0.5, rel=1e-6)
        relative = found.deviation.standard_error / found.deviation.value
        assert relative == pytest.approx(found.curvature.standard_error / found.curvature.value / 2, rel=0.1)
    assert sum(p * p for p in pulls) / 12 < 3.5 and max(map(abs, pulls)) < 5


def test_a_direction_without_curvature_is_free_and_a_saddle_falls():
    found = tolerances(experiment(Quadratic([[1.0, 1.0], [1.0, 1.0]])), effort=ToleranceEffort(events=8, batches=3))
    assert [d.kind for d in found.directions] == ["stiff", "free"]
    flat = found.directions[1].components
    assert flat["x"] * 2 + flat["y"] * 5 == pytest.approx(0.0, abs=1e-6)  # x + y stays
    saddle = tolerances(experiment(Quadratic([[1.0, 0.0], [0.0, -1.0]])), effort=ToleranceEffort(events=8, batches=3))
    assert [d.kind for d in saddle.directions] == ["stiff", "falling"]
    assert math.isinf(saddle.parameters[1].deviation.value) and math.isinf(saddle.parameters[1].spread.value)


def test_a_slope_without_curvature_is_a_slope():
    found = tolerances(
        experiment(Quadratic([[1.0, 0.0], [0.0, 0.0]], slope=(0.0, 0.1))), effort=ToleranceEffort(events=8, batches=3)
    )
    assert [d.kind for d in found.directions] == ["stiff", "sloping"]
    assert found.parameters[1].deviation.value == pytest.approx(0.01 / 0.1 / 10)  # L/b in cm
    gentle = tolerances(
        experiment(Quadratic([[1.0, 0.0], [0.0, 0.0]], slope=(0.0, 0.001))), effort=ToleranceEffort(events=8, batches=3)
    )
    assert [d.kind for d in gentle.directions] == ["stiff", "free"]  # ten millimetres, more than half the range


def test_a_slope_at_a_bound_counts_and_the_differences_stay_inside():
    """J falls towards x = 2, where the design stands: the way back costs b t + ½ A t²."""

    class Inside(Mirror):
        def forward(self, phi, primaries, generator=None):
            assert phi["x"].abs().max() <= 2.0 + 1e-9
            return super().forward(phi, primaries, generator)

    subject = experiment(Quadratic([[1.0, 0.0], [0.0, 1.0]], slope=(-4.0, 0.0), offset=10.0), Inside())
    subject.design.assign({"x": 2.0})
    found = tolerances(subject, effort=ToleranceEffort(events=8, batches=3))
    entry = found.parameters[0]
    x = entry.value
    assert entry.slope.value == pytest.approx(x - 4.0) and x == pytest.approx(2.0, abs=1e-4)
    loss, slope = 0.01 * (10 - 4 * x + x**2 / 2), abs(x - 4.0)
    assert entry.deviation.value == pytest.approx((math.sqrt(slope**2 + 2 * loss) - slope), rel=1e-5)
    assert entry.below.deviation == entry.deviation and not entry.below.stopped
    assert entry.above.stopped and entry.above.limit == "x" and entry.above.room == pytest.approx(2.0 - x, abs=1e-9)
    assert entry.held == ("x",) and [d.held for d in found.directions] == ["", "x"]


def test_the_gauge_around_its_best_point():
    """σ(x) = √(σ₀² + (x − 3)²/100): σ'' = 1/(100 σ₀) = 0.2 per mm², for J = rms at gain 1, up to noise of √n."""
    subject = reading_experiment(start=3.0)
    found = tolerances(
        subject,
        DesignPoint(torch.tensor([[3.0]]), subject.design.layout),
        effort=ToleranceEffort(events=2000, batches=6),
    )
    entry = found.parameters[0]
    assert entry.curvature.value == pytest.approx(0.2, rel=0.05)
    assert entry.deviation.value == pytest.approx(math.sqrt(2 * 0.01 * 0.05 / 0.2), rel=0.05)
    assert sigma(3.0 + entry.deviation.value) == pytest.approx(1.01 * sigma(3.0), rel=1e-3)


def test_a_bias_counts_also_where_the_optimisation_leaves_it_out():
    """Read 10 % high, J² = 0.1² + 1.1² σ²: J'' = 1.21 σ σ''/J at the best point, whatever ``bias_gradient``."""
    found = []
    for kept in (True, False):
        objective = Resolution(width="rms", bias_gradient=kept)
        subject = reading_experiment(start=3.0, gain=1.1, objective=objective)
        found.append(tolerances(subject, effort=ToleranceEffort(events=2000, batches=6)).parameters[0].curvature.value)
        assert objective.bias_gradient == kept
    assert found[0] == found[1] == pytest.approx(1.21 * 0.05 * 0.2 / (0.01 + 1.21 * 0.0025) ** 0.5, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"step": 0.6}, "step"),
        ({"batches": 2}, "batches"),
        ({"events": 0}, "events"),
        ({"calls": 10}, "calls"),
        ({"radius": 0.0}, "radius"),
        ({"method": "magic"}, "method"),
    ],
)
def test_bad_settings_are_refused(arguments, key):
    with pytest.raises(ConfigurationError, match=key):
        ToleranceEffort(**arguments)


def test_what_has_no_tolerance_is_refused():
    with pytest.raises(ConfigurationError, match="Pathwise"):
        tolerances(reading_experiment(ClosedGauge()), effort=ToleranceEffort("differences"))
    with pytest.raises(ConfigurationError, match="loss_percent"):
        tolerances(experiment(Quadratic([[1.0, 0.0], [0.0, 1.0]])), loss_percent=0.0)
    layers = Design({"n": {"kind": "integer", "start": 5, "bounds": [1, 9]}})
    with pytest.raises(ConfigurationError, match="integers"):
        tolerances(Experiment(layers, Mirror(), gun(), Reading(), Resolution()))
    with pytest.raises(NonFiniteError, match="is 0"):
        tolerances(
            experiment(Quadratic([[1.0, 0.0], [0.0, 1.0]], offset=0.0)), effort=ToleranceEffort(events=8, batches=3)
        )
