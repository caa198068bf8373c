"""Nuisances that act on the events before they are reconstructed, their constraints, and bins of a network."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.distributions import Bernoulli, Independent

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives import ExpectedUncertainty, Miscalibration, Nominal, Robust, Spectrum, jackknife
from mode_opt.objectives.statistics import (
    Channel,
    HistoSys,
    NormFactor,
    NormSys,
    Sample,
    Settings,
    Templates,
    Variation,
    asimov_statistic,
    build,
    class_memberships,
    uncertainty,
)
from mode_opt.reconstruction import SummaryNetwork

POINT = DesignPoint.of(x=0.0)
STEP = 0.05


def events_of(count=400, seed=0, designs=1):
    """Two overlapping classes with two features; double precision."""
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(1, count, 1, generator=generator) < 0.4).double()
    hits = torch.randn(1, count, 1, 2, generator=generator, dtype=torch.float64) + 1.5 * truth.unsqueeze(-1)
    weight = 0.5 + torch.rand(1, count, generator=generator, dtype=torch.float64)
    return Events.of(truth, hits, weight=weight).expand(designs)


def reconstruct(events, phi):
    logits = events.hits[:, :, 0].sum(-1, keepdim=True) - 1 + phi.values.unsqueeze(1)
    return Independent(Bernoulli(logits=logits), 1)


def moved(change, of="background", feature=0):
    pair = [Miscalibration(feature, shift=sign * change) for sign in (-1, 1)]
    return {"of": of, "scenarios": pair}


def templates(**options):
    return Templates(**{"signal": 30.0, "background": 200.0, "floor": 1e-3, "shapes": {"e": moved(STEP)}, **options})


def network_of(events, phi=POINT, seed=0, bins=4):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SummaryNetwork.fitting(events, phi, bins=bins, hidden=8).double()


@pytest.mark.parametrize("of", ["background", "signal", "both"])
def test_a_scenario_gives_the_templates_of_the_events_that_it_makes(of):
    events = events_of()
    model = templates(shapes={"e": moved(STEP, of)})(events, reconstruct(events, POINT), POINT, reconstruct)
    nominal = model.nominal.reshape(2, 5)
    for sign, change in ((-1, model.down), (1, model.up)):
        other, phi = Miscalibration(0, shift=sign * STEP)(events, POINT)
        wanted = templates(shapes={})(other, reconstruct(other, phi)).nominal.reshape(2, 5) - nominal
        for row, name in enumerate(("signal", "background")):
            found = change[0, 0].reshape(2, 5)[row] if of == "both" else change.reshape(2, 5)[row]
            torch.testing.assert_close(found, wanted[row] if of in (name, "both") else 0 * found)


def test_designs_whose_classes_are_different_events_are_reconstructed_as_a_whole():
    one, other = events_of(seed=1), events_of(seed=2)
    both, phi = Events.cat([one, other], 0), DesignPoint.of(x=torch.tensor([[0.3], [-0.2]]))
    together = ExpectedUncertainty(templates()).judged(both, reconstruct(both, phi), phi, reconstruct)
    for index, alone in enumerate((one, other)):
        at = phi.design(index)
        value = ExpectedUncertainty(templates()).judged(alone, reconstruct(alone, at), at, reconstruct)
        assert together[index].item() == pytest.approx(value.item(), rel=1e-10)


def test_weights_and_what_is_read_from_hits_need_no_reconstruction():
    events = events_of()
    belief = reconstruct(events, POINT)
    fewer = Spectrum(at=(0.0,), factor=(0.9,)), Spectrum(at=(0.0,), factor=(1.1,))
    by_weight = templates(shapes={"rate": {"scenarios": fewer}})(events, belief, POINT)
    torch.testing.assert_close(by_weight.up[0, 0, 5:], 0.1 * by_weight.nominal[0, 5:])
    torch.testing.assert_close(by_weight.down, -by_weight.up)
    edges = (-1.0, 0.0, 1.0, 2.0)
    by_hits = templates(observable=0, edges=edges)(events, belief, POINT)
    shifted = templates(observable=0, edges=edges, shapes={"e": Variation(shift=STEP)})(events, belief)
    torch.testing.assert_close(by_hits.up, shifted.up)
    with pytest.raises(ConfigurationError, match="a call of judged"):
        ExpectedUncertainty(templates())(events, belief, POINT)
    with pytest.raises(ConfigurationError, match="events with their designs"):
        templates()(events, belief)


def test_derivatives_through_the_network_also_for_the_varied_events():
    """Along a direction of all weights, against central differences; with the varied belief detached they differ."""
    events = events_of()
    network = network_of(events)
    objective = ExpectedUncertainty(templates(observable="memberships", width=0.5, constraints={"e": None}))

    def value(detached=False):
        def again(changed, phi):
            belief = network(changed, phi)
            return belief if not detached else type(belief)(
                type(belief.mixture_distribution)(logits=belief.mixture_distribution.logits.detach()),
                belief.component_distribution,
            )  # fmt: skip

        return objective.judged(events, network(events, POINT), POINT, again).sum()

    weights = list(network.network.parameters())
    generator = torch.Generator().manual_seed(1)
    directions = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in weights]

    def slope(**options):
        found = torch.autograd.grad(value(**options), weights)
        return sum(float((g * d).sum()) for g, d in zip(found, directions, strict=True))

    def at(step):
        with torch.no_grad():
            for w, d in zip(weights, directions, strict=True):
                w += step * d
            result = value().item()
            for w, d in zip(weights, directions, strict=True):
                w -= step * d
        return result

    central = (at(1e-5) - at(-1e-5)) / 2e-5
    assert slope() == pytest.approx(central, rel=1e-5)
    assert abs(slope(detached=True) - central) > 0.05 * abs(central)


def two_bins(**settings):
    signal = Sample("s", torch.tensor([5.0, 10.0]), [NormFactor("mu")])
    shape = HistoSys("e", torch.tensor([48.0, 61.0]), torch.tensor([52.0, 59.0]))
    background = Sample("b", torch.tensor([50.0, 60.0]), [shape])
    return build([Channel("all", [signal, background])], "mu", {"e": Settings(**settings)} if settings else None)


@pytest.mark.parametrize("width", [None, 1.0, 3.0, 1e-3])
def test_the_constraint_is_what_is_asked_for(width):
    """σ(μ) of the inverse information in closed form, and the profile likelihood close to μ = 1."""
    model = two_bins(constrained=False) if width is None else two_bins(width=width)
    s, slope = torch.tensor([5.0, 10.0]).double(), torch.tensor([2.0, -1.0]).double()
    expected = torch.tensor([55.0, 70.0]).double()
    a, b, c = (s**2 / expected).sum(), (s * slope / expected).sum(), (slope**2 / expected).sum()
    c = c + (0 if width is None else width**-2)
    assert uncertainty(model).item() == pytest.approx((a - b**2 / c).item() ** -0.5, rel=1e-9)
    near = replace(model, nominal=model.nominal * 1e6, down=model.down * 1e6, up=model.up * 1e6)
    if width is None:  # with many events the likelihood is a parabola: q = (μ/σ)²
        q = asimov_statistic(near, 1e-3).item()
        assert math.sqrt(q) == pytest.approx(1e-3 / uncertainty(near, near.at(0.0)).item(), rel=1e-3)


def test_steps_and_constraints_scale_together():
    events, found = events_of(), []
    for step in (0.02, 0.04):
        for of_shape in ({"e": 0.2 / step}, {"e": None}):
            objective = ExpectedUncertainty(templates(shapes={"e": moved(step)}, constraints=of_shape))
            found.append(objective.judged(events, reconstruct(events, POINT), POINT, reconstruct).item())
    assert found[0] == pytest.approx(found[2], rel=2e-3) and found[1] == pytest.approx(found[3], rel=2e-3)
    assert found[1] > found[0] * 1.01
    tight = Templates(normalisation={"rate": {"background": 0.02}}, floor=1e-3)
    free = Templates(normalisation={"rate": {"background": 0.02}}, constraints={"rate": None}, floor=1e-3)
    values = [uncertainty(one(events, reconstruct(events, POINT))).item() for one in (free, tight)]
    assert values[0] > values[1] * 1.01


def test_ten_fixed_bins_of_the_note():
    """INFERNO's problem in ten bins of the optimal classifier without nuisances: σ(s) = 14.992."""
    f_s = [0.00722, 0.01025, 0.01388, 0.01919, 0.02767, 0.04263, 0.07296, 0.14986, 0.42510, 0.23124]
    f_b = [0.62022, 0.05959, 0.04181, 0.03556, 0.03363, 0.03454, 0.03864, 0.04840, 0.07048, 0.01713]
    signal = Sample("s", 50 * torch.tensor(f_s), [NormFactor("mu")])
    known = build([Channel("all", [signal, Sample("b", 1000 * torch.tensor(f_b))])], "mu")
    assert 50 * uncertainty(known).item() == pytest.approx(14.992, abs=5e-4)
    background = Sample("b", 1000 * torch.tensor(f_b), [NormSys("yield", 1 / 1.1, 1.1)])
    unknown = build([Channel("all", [signal, background])], "mu")
    assert 50 * uncertainty(unknown).item() > 15.5


def test_bins_of_a_network_are_soft_or_hard():
    logits = torch.tensor([[1.0, 3.0, 2.5]], requires_grad=True)
    torch.testing.assert_close(class_memberships(logits, 0.5), torch.softmax(logits.double() / 0.5, -1))
    assert class_memberships(logits, None).tolist() == [[0.0, 1.0, 0.0]]
    torch.testing.assert_close(class_memberships(logits, 1e-3), class_memberships(logits))
    (slope,) = torch.autograd.grad(class_memberships(logits, 0.5)[0, 1], logits)
    assert slope[0, 1] > 0 > slope[0, 2]
    with pytest.raises(ConfigurationError, match="width"):
        class_memberships(logits, 0.0)


def test_counts_in_the_bins_of_a_summary_network():
    events = events_of()
    network = network_of(events)
    belief = network(events, POINT)
    hard = templates(observable="memberships", width=None, shapes={}, floor=1e-9)(events, belief)
    chosen = network(events, POINT).mixture_distribution.logits.argmax(-1)[0]
    signal = events.truth[0, :, 0] > 0.5
    for k in range(4):
        share = events.weight[0, (chosen == k) & signal].sum() / events.weight[0, signal].sum()
        assert hard.nominal[0, k].item() == pytest.approx(30 * share.item())
    soft = templates(observable="memberships", width=0.7, shapes={})(events, belief).nominal.reshape(2, 4)
    assert soft.sum(1).tolist() == pytest.approx([30.0, 200.0])
    with pytest.raises(ConfigurationError, match="a belief over bins"):
        templates(observable="memberships", shapes={})(events, reconstruct(events, POINT))


def test_scenarios_inside_a_jackknife_and_inside_robust():
    events = events_of()
    network = network_of(events)
    objective = ExpectedUncertainty(templates(observable="memberships", width=0.5))
    belief = network(events, POINT)
    value = objective.judged(events, belief, POINT, network).item()
    found = jackknife(objective, events, belief, POINT, 5, network)
    kept = torch.arange(events.count) % 5 != 0
    first = events.select(kept)
    assert found.value.item() == pytest.approx(value)
    alone = objective.judged(first, network(first, POINT), POINT, network).item()
    assert found.left_out[0].item() == pytest.approx(alone, rel=1e-9)
    robust = Robust(objective, {"nominal": Nominal(), "gain": Miscalibration(0, 0.8)})
    changed, _ = Miscalibration(0, 0.8)(events, POINT)
    other = objective.judged(changed, network(changed, POINT), POINT, network).item()
    assert robust.judged(events, belief, POINT, network).item() == pytest.approx((value + other) / 2)


@pytest.mark.parametrize("conversion", ["none", "all"])
def test_the_example_of_the_page_is_a_configuration(conversion):
    page = (Path(__file__).parents[3] / "docs" / "objectives.md").read_text()
    written = page.partition("## Nuisances that change the events")[2].partition("```yaml\n")[2].partition("```")[0]
    content = OmegaConf.create(written)["objective"]["templates"]
    content["_target_"] = "mode_opt.objectives.statistics.Templates"
    made = instantiate(content, _convert_=conversion)
    low, high = made.shapes["pedestal"].scenarios
    assert (low.shift, high.shift, made.constraints) == (-0.05, 0.05, {"pedestal": 8.0})
    events = events_of()
    network = network_of(events)
    assert ExpectedUncertainty(made).judged(events, network(events, POINT), POINT, network).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"constraints": {"other": 1.0}}, r"constraints\.other"),
        ({"constraints": {"e": 0.0}}, r"constraints\.e"),
        ({"shapes": {"e": {"scenarios": [Nominal()]}}}, r"shapes\.e\.scenarios"),
        ({"shapes": {"e": {"scenarios": [1, 2]}}}, r"shapes\.e\.scenarios"),
        ({"shapes": {"e": {"shift": 0.1}}, "observable": "memberships"}, "where bins have no values"),
    ],
)
def test_settings_that_cannot_be_used(options, message):
    with pytest.raises(ConfigurationError, match=message):
        templates(**options)
