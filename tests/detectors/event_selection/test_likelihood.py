"""The likelihood of the selection: closed forms, uncertainties that go through cuts, derivatives, extreme cuts."""

import json
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from statistical import assert_mean

from mode_opt.cli.compose import built, composed
from mode_opt.data import RootReader
from mode_opt.design import Design, DesignPoint
from mode_opt.detectors.event_selection import Accepted, Cut, HardSelection, NoisySelection, ScoreBins, event_selection
from mode_opt.detectors.event_selection.__main__ import main
from mode_opt.detectors.event_selection.counting import exclusion, expected_limit
from mode_opt.detectors.event_selection.detector import configured
from mode_opt.detectors.event_selection.features import DATA, SPECTRUM, Calibration, read_events
from mode_opt.detectors.event_selection.figures import Selection, figures
from mode_opt.detectors.event_selection.likelihood import FIGURES, bin_edges, counting, templates
from mode_opt.detectors.event_selection.measure import hard, recorded
from mode_opt.detectors.event_selection.observables import observable
from mode_opt.detectors.event_selection.scan import least_limit, scan
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.experiment import Experiment
from mode_opt.gradients import ScoreFunction
from mode_opt.gradients.relaxed import Relaxed
from mode_opt.gradients.straight_through import StraightThrough
from mode_opt.objectives import Constrained, ExpectedUpperLimit, Significance, discovery_significance
from mode_opt.objectives.statistics import Channel, NormFactor, Sample, ShapeSys, build, upper_limit
from mode_opt.reconstruction import normal
from mode_opt.simulation import stream

VALUES = {"start": 10.0, "depth": 16.0, "width": 12.0, "front": 0.8}
CERTAIN = {"uncertainty": 0.0, "tilt": 0.0, "spectral_index": 0.0, "statistical": False}


def double(*values):
    return [torch.tensor([value], dtype=torch.float64) for value in values]


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 100), st.floats(0.1, 1000), st.floats(0.01, 0.7))
def test_the_limit_of_a_count_is_that_of_the_likelihood(signal, background, relative):
    s, b, sigma = double(signal, background, relative * background)
    samples = [Sample("s", s, [NormFactor("mu")]), Sample("b", b, [ShapeSys("u", sigma)])]
    limit = upper_limit(build([Channel("c", samples)]))
    assert float(expected_limit(s, b, sigma)) == pytest.approx(float(limit), rel=1e-8)
    assert float(exclusion(limit * s, b, sigma)) == pytest.approx(1.959963984540054, rel=1e-8)


def test_without_signal_there_is_no_limit_and_a_background_is_needed():
    assert torch.isinf(expected_limit(*double(0.0, 1.0, 0.1))).all()
    with pytest.raises(NonFiniteError, match="not positive"):
        exclusion(*double(1.0, 0.0, 0.1))


def test_without_uncertainties_the_figures_are_closed_forms_of_the_counts():
    detector = event_selection(**CERTAIN)
    events = hard(detector, VALUES)
    s, b = (float(x) for x in detector.objective.yields(events)[:2])
    found = {name: float(r.value) for name, r in figures(Selection(CERTAIN, VALUES), "training", 2).items()}
    assert found["discovery"] == pytest.approx(-float(discovery_significance(*double(s, b))), rel=1e-6)
    assert found["plain"] == found["discovery"]
    assert found["limit"] == pytest.approx(float(expected_limit(*double(s, b, 1e-6 * b))), rel=1e-5)
    assert found["strength"] == pytest.approx((s + b) ** 0.5 / s, rel=1e-6)
    assert found["accepted"] == pytest.approx(s + b, rel=1e-6)


def test_each_uncertainty_makes_every_figure_worse():
    plain = figures(Selection(CERTAIN, VALUES), "training", 2)
    for change in ({"uncertainty": 0.1}, {"tilt": 0.02}, {"spectral_index": 0.2}, {"statistical": True}):
        worse = figures(Selection(CERTAIN | change, VALUES), "training", 2)
        assert all(float(worse[name].value) > float(plain[name].value) for name in FIGURES), change
        assert worse["plain"].value == plain["plain"].value


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_tilted_response_is_that_of_tilted_showers(sign):
    """Observables, shares and decisions of the scenario, from the energies of the file."""
    detector = event_selection(groups=10, tilt=0.05)
    events, _ = Calibration(sign)(hard(detector, VALUES), DesignPoint.of(x=1.0))
    deposits = RootReader(DATA, ["edep_gap"], tree="showers").read()["edep_gap"][:8000].double()
    tilted = deposits * torch.linspace(1 - 0.05 * sign, 1 + 0.05 * sign, 50, dtype=torch.float64)
    start, depth, width, front = (observable(kind, kind)(tilted) for kind in ("start", "depth", "width", "front"))
    real = events.mask[0, :, 0]
    torch.testing.assert_close(events.hits[0, real, 0, 1], depth[real].float())
    shares = tilted.reshape(-1, 5, 10).sum(2) / tilted.sum(1, keepdim=True)
    torch.testing.assert_close(events.hits[0, real, 0, 4:9], shares[real].float())
    passed = (start > 10) & (depth > 16) & (width < 12) & (front < 0.8) & real
    assert torch.equal(events.hits[0, :, 0, -1] > 0.5, passed)
    assert 20 < int((passed != (hard(detector, VALUES).hits[0, :, 0, -1] > 0.5)).sum()) < 800
    with pytest.raises(ConfigurationError, match="sign"):
        Calibration(0)


def test_another_spectrum_keeps_the_number_of_showers_and_moves_their_depth():
    events = read_events({"depth": observable("depth", "x")}, spectral_index=0.3)
    photon = events.truth[0, :, 0] > 0.5
    depth, low, high = events.hits[0, :, 0, [0, *(index + 3 for index in SPECTRUM)]].unbind(-1)
    for kind in (photon, ~photon):
        real = kind & events.mask[0, :, 0]
        assert low[kind].mean() == pytest.approx(1, abs=1e-3) and high[kind].mean() == pytest.approx(1, abs=1e-3)
        assert (high * depth)[real].mean() > depth[real].mean() > (low * depth)[real].mean()


def varied_events(count, seed):
    """Two classes whose observable is normal, with a shift by 0.2 as its uncertainty."""
    generator = stream("cpu", 5, seed)
    truth = (torch.arange(count) % 2 == 0).float().reshape(1, -1, 1)
    observed = 1.5 * truth - 0.5 + torch.randn(truth.shape, generator=generator)
    spectrum = torch.ones_like(truth)
    return Events.of(truth, torch.cat([observed, observed - 0.2, observed + 0.2, spectrum, spectrum], -1).unsqueeze(2))


SELECTION = NoisySelection({"x": Cut("above", 0.7)}, (1, 2))
# The size of the sample of what passes in part is not the one of what passes by chance: σ² ~ Σ q².
LIMIT = ExpectedUpperLimit(counting(configured(statistical=False)))


def limit_of(events, phi):
    return LIMIT(events, normal(events.truth, torch.ones_like(events.truth)), phi)


def test_decisions_under_an_uncertainty_have_the_probability_of_the_varied_observable():
    events = SELECTION(DesignPoint.of(x=0.5), varied_events(40_000, 0), stream("cpu", 1))
    for column, shift in ((-3, -0.2), (-2, 0.2), (-1, 0.0)):
        passing = torch.special.ndtr((events.hits[0, :, 0, 0] + shift - 0.5) / 0.7)
        assert_mean(events.hits[0, :, 0, column] - passing, 0.0)


def gradients(estimator, batches, count=1500):
    design, found = Design({"x": {"start": 0.5, "bounds": [-3.0, 3.0]}}), []
    for batch in range(batches):
        events = varied_events(count, batch)
        loss = estimator.loss(SELECTION, design, events, limit_of, stream("cpu", 2, batch))
        found.append(torch.autograd.grad(loss, design.psi)[0].squeeze())
    return torch.stack(found), design


def test_soft_cuts_have_the_derivative_of_the_limit_and_score_functions_agree():
    """Central differences of the soft selection; then the paired difference from it within 4 standard errors."""
    soft, design = gradients(Relaxed(noise=False), 25)
    step, values = 1e-2, []
    for sign in (1, -1):
        moved = Design({"x": {"start": 0.5, "bounds": [-3.0, 3.0]}})
        with torch.no_grad():
            moved.psi.copy_(design.psi + sign * step)
        args = (moved, varied_events(1500, 0), limit_of, stream("cpu", 2, 0))
        values.append(Relaxed(noise=False).loss(SELECTION, *args).item())
    assert soft[0].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=5e-3)
    drawn, _ = gradients(ScoreFunction(), 25)
    assert float(drawn.std()) / 25**0.5 < 0.15 * abs(float(soft.mean()))
    assert_mean(drawn - soft, 0.0)


@pytest.mark.parametrize("estimator", [ScoreFunction(), StraightThrough(), Relaxed(noise=False)])
def test_if_every_event_passes_the_limit_is_that_of_no_cut_and_its_gradient_finite(estimator):
    design = Design({"x": {"start": -60.0, "bounds": [-2e4, 2e4]}})
    loss = estimator.loss(SELECTION, design, varied_events(500, 0), limit_of, stream("cpu", 1))
    loss.backward()
    selected = torch.ones(1, 500, 1, 3)
    everything = varied_events(500, 0)
    everything = Events.of(everything.truth, torch.cat([everything.hits, selected], -1))
    assert loss.item() == pytest.approx(float(limit_of(everything, DesignPoint.of(x=0.0))), rel=1e-6)
    assert torch.isfinite(design.psi.grad).all()


@pytest.mark.parametrize("estimator", [ScoreFunction(), StraightThrough(), Relaxed(noise=False)])
def test_if_no_event_passes_there_is_no_discovery_and_the_limit_says_so(estimator):
    design = Design({"x": {"start": 1e4, "bounds": [-2e4, 2e4]}})
    arguments = SELECTION, design, varied_events(200, 0)
    discovery = FIGURES["discovery"](counting(configured()))
    loss = estimator.loss(
        *arguments, lambda e, p: discovery(e, normal(e.truth, torch.ones_like(e.truth)), p), stream("cpu", 1)
    )
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(design.psi.grad).all()
    with pytest.raises(NonFiniteError):
        estimator.loss(*arguments, limit_of, stream("cpu", 1))


def test_edges_of_the_score_fall_on_whole_numbers_and_have_derivatives():
    phi = DesignPoint.of(edge=torch.tensor([[-1.0]]), steps=torch.tensor([[0.5, 2.0, 1.0]]))
    score = torch.tensor([-2.0, -1.0, -0.5, 0.5, 1.5, 2.5, 4.5]).reshape(1, -1, 1)
    bins = ScoreBins(FIGURES["limit"](templates(configured(), bin_edges(3), 0.2)))
    placed = bins.placed(normal(score, torch.ones_like(score)), phi).mean.flatten()
    torch.testing.assert_close(placed, torch.tensor([-2.0, 0.0, 1.0, 1.5, 2.0, 3.0, 5.0]))
    events = HardSelection({"x": Cut()}, (1, 2))(DesignPoint.of(x=-9.0), varied_events(2000, 1))
    belief, layout = normal(events.hits[:, :, 0, :1], torch.ones_like(events.truth)), phi.layout

    def value(numbers):
        return bins.judged(
            events,
            belief,
            DesignPoint(numbers, layout),
            lambda e, p: normal(e.hits[:, :, 0, :1], torch.ones_like(e.truth)),
        )

    numbers = phi.values.clone().requires_grad_()
    (slope,) = torch.autograd.grad(value(numbers).sum(), numbers)
    for column in range(4):
        step = 1e-2 * torch.eye(4)[column]
        central = (value(phi.values + step) - value(phi.values - step)) / 2e-2
        assert slope[0, column].item() == pytest.approx(central.item(), rel=0.03, abs=2e-4)


def test_the_scan_for_the_limit_finds_what_a_loop_finds():
    truth = (torch.rand(1, 60, 1, generator=torch.Generator().manual_seed(3)) < 0.5).float()
    events = Events.of(
        truth, torch.randn(1, 60, 1, 1, generator=torch.Generator().manual_seed(4)) + truth.unsqueeze(-1)
    )
    objective, cuts, best = Significance(60.0, 300.0, 0.1), {"a": Cut()}, float("inf")
    for threshold in [-9.0, *events.hits.flatten().tolist()]:
        decided = HardSelection(cuts)(DesignPoint.of(a=threshold), events)
        s, b, floor = objective.yields(decided)
        b = b.maximum(floor).double()
        best = min(best, float(expected_limit(s, b, 0.1 * b)))
    found = scan(objective, events, cuts, points=200, figure=least_limit)
    assert -found.value == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("name", ["discovery", "limit", "strength"])
def test_objectives_of_the_command_line_are_those_of_the_detector(name):
    detector, chosen = event_selection(figure=name), built(composed([f"objective=event_selection_{name}"]).objective)
    events, phi = hard(detector, VALUES), DesignPoint.of(**VALUES)
    belief = normal(events.truth, torch.ones_like(events.truth))
    assert float(chosen(events, belief, phi)) == float(detector.objective(events, belief, phi))


def test_the_configurations_build_and_the_network_is_trained_for_either_goal():
    assert isinstance(built(composed(["detector=event_selection_limit"]).detector).objective, ExpectedUpperLimit)
    assert built(composed(["detector=event_selection_bins"]).detector).design.psi.shape == (1, 4)
    detector = built(composed(["detector=event_selection_network"]).detector)
    assert isinstance(detector.objective, Constrained) and isinstance(detector.objective.parts["accepted"], Accepted)
    assert len(detector.hit_names) == 3 * 14 + 5
    for goal in ("truth", "objective"):
        experiment = Experiment.of(detector, reconstruction_goal=goal)
        phi = detector.design().detach()
        events = detector.simulator("hard")(phi, recorded(detector).select(slice(1000)))
        loss = experiment.lesson(events, phi)
        loss.backward()
        slopes = [parameter.grad for parameter in experiment.reconstruction.parameters()]
        assert loss.isfinite() and all(slope.isfinite().all() and slope.abs().sum() > 0 for slope in slopes)
        value, _ = experiment.design_loss(1000, stream("cpu", 0))
        value.backward()
        assert (detector.design.psi.grad.isfinite() & (detector.design.psi.grad != 0)).all()
        detector.design.psi.grad = None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"figure": "cls"}, "detector.figure"),
        ({"network": {"hidden": 4}, "groups": 5}, "detector.figure: got 'significance'"),
        ({"network": {"hidden": 4}, "groups": 5, "figure": "limit"}, "edge, steps"),
        ({"groups": 7}, "a divisor of 50"),
        ({"tilt": 1.0}, "detector.tilt"),
        ({"spectral_index": -1.0}, "detector.spectral_index"),
    ],
)
def test_entries_that_cannot_be(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        event_selection(**changes)


@pytest.mark.parametrize(
    ("override", "message"), [("network.inputs=cells", "network.inputs"), ("groups=null", "detector.groups")]
)
def test_networks_without_inputs_are_refused(override, message):
    node = composed(["detector=event_selection_network", f"detector.{override}"]).detector
    with pytest.raises(Exception, match=message):
        built(node)


def test_the_figures_of_a_run_are_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mode_opt.detectors.event_selection.__main__.figures", partial(figures, groups=2))
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(
        "detector: {_target_: mode_opt.detectors.event_selection.event_selection, figure: limit, tilt: 0.01}\n"
    )
    (tmp_path / "result.json").write_text(json.dumps({"design": {n: {"final": v} for n, v in VALUES.items()}}))
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr()
    estimate = figures(Selection({"tilt": 0.01}, VALUES), "held_out", 2)["limit"].estimate()
    assert f"expected limit, held_out showers: {estimate.value:.3g} ± {estimate.standard_error:.2g}" in printed.err
    assert "Z of the hard cuts, training showers: " in printed.err and printed.out.startswith("(0.1 * (edep_gap")
    (tmp_path / "result.json").write_text(json.dumps({"design": {n: {"final": 0.5} for n in VALUES}}))
    assert main([str(tmp_path)]) == 0 and "no likelihood, held_out showers: " in capsys.readouterr().err
    (tmp_path / ".hydra" / "config.yaml").write_text("detector: {_target_: another.detector}\n")
    assert main([str(tmp_path)]) == 1 and "not a run of event_selection" in capsys.readouterr().err
