"""Gradients through noisy cuts against their closed form, the scan, and the detector as a whole."""

import json
import math

import pytest
import torch
from statistical import assert_mean

from mode_opt.design import Design, DesignPoint
from mode_opt.detectors.event_selection import Cut, HardSelection, NoisySelection, event_selection
from mode_opt.detectors.event_selection.__main__ import main
from mode_opt.detectors.event_selection.measure import hard, promised, recorded, resampled, significance
from mode_opt.detectors.event_selection.scan import scan
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.experiment import Effort, Experiment, VerificationEffort, optimise
from mode_opt.gradients import Pathwise, ScoreFunction
from mode_opt.gradients.relaxed import Relaxed
from mode_opt.gradients.straight_through import StraightThrough
from mode_opt.objectives import Significance, discovery_significance
from mode_opt.simulation import stream

CENTRES, SPREADS = (1.0, -0.5), (1.0, 0.8)  # of the observable: signal, background
NOISE, THRESHOLD = 0.7, 0.6
OBJECTIVE = Significance(60.0, 300.0, 0.1)


def gaussian_events(count, generator):
    """Two classes whose one observable is normal."""
    truth = (torch.arange(count) % 2 == 0).float().reshape(1, -1, 1)
    centre, spread = (b + (a - b) * truth for a, b in (CENTRES, SPREADS))
    return Events.of(truth, (centre + spread * torch.randn(truth.shape, generator=generator)).unsqueeze(-1))


def exact(threshold, noise=NOISE):
    """Z of the noisy cut and dZ/dt: ``eff = Phi((m − t)/√(σ² + τ²))``, gradients.md 4.6 and 4.9."""
    t = torch.tensor(threshold, dtype=torch.float64, requires_grad=True)
    width = [math.hypot(spread, noise) for spread in SPREADS]
    s, b = (
        rate * torch.special.ndtr((centre - t) / w)
        for rate, centre, w in zip((60.0, 300.0), CENTRES, width, strict=True)
    )
    z = discovery_significance(s, b, 0.1 * b)
    (slope,) = torch.autograd.grad(z, t)
    return z.item(), slope.item()


def batch_gradients(estimator, batches=150, count=1000, sign="above"):
    design = Design({"x": {"start": THRESHOLD, "bounds": [-3.0, 3.0]}})
    simulator, found = NoisySelection({"x": Cut(sign, NOISE)}), []
    for batch in range(batches):
        phi = design()
        primaries = gaussian_events(count, stream("cpu", 1, batch))
        loss = estimator.loss(simulator, design, primaries, lambda e, p: OBJECTIVE(e, None, p), stream("cpu", 2, batch))
        (by_psi,) = torch.autograd.grad(loss, design.psi)
        (by_phi,) = torch.autograd.grad(phi["x"].sum(), design.psi)
        found.append((by_psi / by_phi).squeeze())
    return torch.stack(found)


@pytest.mark.parametrize(
    "estimator",
    [ScoreFunction(), ScoreFunction(controls=False), StraightThrough(), Relaxed(noise=False)],
    ids=["score", "score without controls", "straight-through", "soft"],
)
def test_the_gradient_of_the_significance_is_that_of_the_noisy_cut(estimator):
    """4 standard errors, which are below 2 % of the gradient; Z is curved: 1000 events bias it by less."""
    found = batch_gradients(estimator)
    assert found.std().item() / len(found) ** 0.5 < 0.02 * abs(exact(THRESHOLD)[1])
    assert_mean(found, -exact(THRESHOLD)[1])


def test_the_noise_biases_the_gradient_of_the_hard_cut_by_what_the_closed_form_says():
    """Negative control: with this noise the gradient is not that of the hard cut."""
    noisy, sharp = exact(THRESHOLD)[1], exact(THRESHOLD, 0.0)[1]
    assert abs(noisy - sharp) > 0.2 * abs(sharp)


def test_plain_differentiation_of_hard_cuts_gives_nothing_and_is_refused():
    simulator = HardSelection({"x": Cut()})
    values = torch.tensor([[THRESHOLD]], requires_grad=True)
    events = simulator(DesignPoint(values, DesignPoint.of(x=0.0).layout), gaussian_events(50, None))
    assert not events.hits.requires_grad
    for refused in (simulator, NoisySelection({"x": Cut()})):
        with pytest.raises(ConfigurationError, match="Pathwise needs a differentiable simulator"):
            Pathwise().check(refused)


def test_little_noise_is_no_noise_and_a_product_of_cuts_is_one_coin():
    events = Events.of(torch.zeros(1, 3, 1), torch.tensor([[1.0, 1.0], [1.0, 3.0], [0.0, 1.0]])[None, :, None, :])
    cuts = {"a": Cut("above", 1e-6), "b": Cut("below", 1e-6)}
    phi = DesignPoint.of(a=0.5, b=2.0)
    for simulator in (NoisySelection(cuts), HardSelection(cuts)):
        decided = simulator(phi, events, stream("cpu", 0)).hits
        assert decided[0, :, 0, -1].tolist() == [1.0, 0.0, 0.0] and torch.equal(decided[..., :-1], events.hits)
    cuts = {"a": Cut("above", 1.0), "b": Cut("below", "b_noise")}
    many = events.select(torch.zeros(20_000, dtype=torch.long))
    kept = NoisySelection(cuts)(DesignPoint.of(a=0.5, b=2.0, b_noise=2.0), many, stream("cpu", 0)).hits[0, :, 0, -1]
    assert_mean(kept, float(torch.special.ndtr(torch.tensor(0.5)) ** 2))


def test_the_noise_on_a_cut_may_be_a_design_parameter():
    design = Design({"x": {"start": 0.5, "bounds": [-3.0, 3.0]}, "tau": {"start": 0.7, "bounds": [0.1, 2.0]}})
    simulator = NoisySelection({"x": Cut("above", "tau")})
    events = gaussian_events(4000, stream("cpu", 0))
    loss = Relaxed(noise=False).loss(simulator, design, events, lambda e, p: OBJECTIVE(e, None, p), stream("cpu", 1))
    loss.backward()
    assert torch.isfinite(design.psi.grad).all() and (design.psi.grad != 0).all()


@pytest.mark.parametrize("threshold", [-1e4, -60.0, 60.0, 1e4])
@pytest.mark.parametrize("estimator", [ScoreFunction(), StraightThrough(), Relaxed(noise=False)])
def test_gradients_stay_finite_when_everything_or_nothing_passes(estimator, threshold):
    design = Design({"x": {"start": threshold, "bounds": [-2e4, 2e4]}})
    simulator, events = NoisySelection({"x": Cut("above", 0.1)}), gaussian_events(200, stream("cpu", 0))
    loss = estimator.loss(simulator, design, events, lambda e, p: OBJECTIVE(e, None, p), stream("cpu", 1))
    loss.backward()
    expected = 0.0 if threshold > 0 else -discovery_significance(torch.tensor(60.0), torch.tensor(300.0), 30.0).item()
    assert loss.item() == pytest.approx(expected, rel=1e-6) and torch.isfinite(design.psi.grad).all()


def test_an_event_without_a_hit_is_rejected():
    events = Events.of(torch.zeros(1, 2, 1), torch.full((1, 2, 1, 1), 5.0), torch.tensor([[[True], [False]]]))
    for simulator in (NoisySelection({"x": Cut("above", 1e-3)}), HardSelection({"x": Cut()})):
        assert simulator(DesignPoint.of(x=0.0), events, stream("cpu", 0)).hits[0, :, 0, -1].tolist() == [1.0, 0.0]


def test_the_scan_finds_what_a_loop_over_all_thresholds_finds():
    generator = torch.Generator().manual_seed(3)
    truth = (torch.rand(1, 60, 1, generator=generator) < 0.5).float()
    observed = torch.randn(1, 60, 1, 2, generator=generator) + torch.stack([truth, -truth], -1)
    weight = torch.rand(1, 60, generator=generator) + 0.5
    mask = torch.rand(1, 60, 1, generator=generator) < 0.95
    events, cuts = Events.of(truth, observed, mask, weight), {"a": Cut("above"), "b": Cut("below")}
    first, second = ([-9.0, *observed[0, :, 0, k].tolist()] for k in (0, 1))
    second[0] = 9.0
    simulator, best = HardSelection(cuts), 0.0
    grid = torch.cartesian_prod(torch.tensor(first), torch.tensor(second))
    for pair in grid.split(500):
        phi = DesignPoint.of(a=pair[:, :1], b=pair[:, 1:])
        best = max(best, -float(OBJECTIVE(simulator(phi, events), None, phi).min()))
    found = scan(OBJECTIVE, events, cuts, points=200)
    phi = DesignPoint.of(**found.thresholds)
    assert found.value == pytest.approx(best, rel=1e-5)
    assert -float(OBJECTIVE(simulator(phi, events), None, phi)) == pytest.approx(best, rel=1e-5)
    coarse = scan(OBJECTIVE, events, cuts, points=12, refinements=0)
    value = -float(OBJECTIVE(simulator(DesignPoint.of(**coarse.thresholds), events), None, phi))
    assert coarse.value == pytest.approx(value, rel=1e-5)
    with pytest.raises(ConfigurationError, match="points"):
        scan(OBJECTIVE, events, cuts, points=10_000)


def test_a_short_optimisation_improves_the_hard_cuts_of_the_held_out_half():
    detector, held_out = event_selection(), event_selection(sample="held_out")
    start = {name: entry["value"] for name, entry in detector.design.concrete(detector.design()).items()}
    outcome = optimise(
        Experiment.of(detector, gradient=ScoreFunction()),
        steps=60,
        effort=Effort(events=4000, warm_up=3, reconstruction_steps=1),
        verification=VerificationEffort(steps=2, replicas=1, events=4000),
        learning_rates=(1e-2, 0.1),
    )
    found = {name: entry["value"] for name, entry in outcome.final.items()}
    before, after = (significance(held_out.objective, hard(held_out, cuts)) for cuts in (start, found))
    assert outcome.verification.improvement.value > 10 * outcome.verification.improvement.standard_error / 4
    assert after > 3 * before and promised(detector, found) > 3 * promised(detector, start)


def test_bootstrap_errors_agree_with_the_scatter_of_the_yields():
    detector = event_selection()
    events = hard(detector, {"start": 10.0, "depth": 16.0, "width": 12.0, "front": 0.8})
    values = resampled(detector.objective, events)
    s, b, _ = (float(x) for x in detector.objective.yields(events))
    inputs = [torch.tensor(x, requires_grad=True) for x in (s, b)]
    slopes = torch.autograd.grad(discovery_significance(*inputs, 0.1 * inputs[1]), inputs)
    variance = sum(
        float(slope) ** 2 * rate**2 * (y / rate) * (1 - y / rate) / 4000
        for slope, rate, y in zip(slopes, (100, 1000), (s, b), strict=True)
    )
    assert float(values.std()) == pytest.approx(variance**0.5, rel=0.15)  # 400 resamplings: 3.5 %


def test_the_belief_learns_the_purity_of_the_selection():
    detector = event_selection()
    experiment, phi = (
        Experiment.of(detector, simulator="hard"),
        DesignPoint.of(start=10.0, depth=5.0, width=18.0, front=1.0),
    )
    events = detector.simulator("hard")(phi, recorded(detector))
    optimiser = torch.optim.Adam(experiment.reconstruction.parameters(), lr=0.2)
    for _ in range(100):
        optimiser.zero_grad()
        experiment.lesson(events, phi).backward()
        optimiser.step()
    belief = experiment.reconstruction(events, phi).mean[0, :, 0].detach()
    selected, photon = events.hits[0, :, 0, -1] > 0.5, events.truth[0, :, 0]
    for side in (selected, ~selected):
        assert belief[side].mean().item() == pytest.approx(photon[side].mean().item(), abs=0.01)


def test_the_expression_of_a_run_is_printed(tmp_path, capsys):
    design = {name: {"final": 0.5} for name in ("start", "depth", "width", "front")}
    (tmp_path / "result.json").write_text(json.dumps({"design": design}))
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("(0.1 * (edep_gap[:, 0] + ") and "held_out showers: 0.00 ± 0.00" in printed.err
    assert main([str(tmp_path / "nothing")]) == 1 and "no final design" in capsys.readouterr().err
    assert main([]) == 2 and "RUN_DIR" in capsys.readouterr().err
