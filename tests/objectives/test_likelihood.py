"""Histograms of events, templates and the objectives on top of them."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Independent

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives import (
    DiscoverySignificance,
    ExpectedCLs,
    ExpectedUncertainty,
    ExpectedUpperLimit,
    discovery_significance,
)
from mode_opt.objectives.statistics import Templates, Variation, histogram, hypothesis_test, memberships, upper_limit

POINT = DesignPoint.of(x=0.0)
EDGES = (0.0, 1.0, 2.0, 3.0)
ALL = (DiscoverySignificance, ExpectedCLs, ExpectedUncertainty, ExpectedUpperLimit)
ERRORS = {"rate": {"background": 0.1}, "beam": {"signal": 0.03, "background": 0.02}}
SHAPES = {"energy": {"of": "both", "scale": 0.05}, "pedestal": Variation("background", shift=0.2)}


def belief_of(probability):
    return Independent(Bernoulli(probs=probability.unsqueeze(-1)), 1)


def sample(count=300, seed=0, shift=0.0, dtype=torch.float64, designs=1):
    """Signal around 2 and an exponential background; the observable is the only feature of the only hit."""
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(designs, count, 1, generator=generator) < 0.5).to(dtype)
    peak = 2 + 0.6 * torch.randn(designs, count, 1, generator=generator, dtype=dtype) + shift
    tail = -1.5 * torch.rand(designs, count, 1, generator=generator, dtype=dtype).log()
    x = torch.where(truth > 0.5, peak, tail)
    weight = 0.5 + torch.rand(designs, count, generator=generator, dtype=dtype)
    return Events.of(truth, x.unsqueeze(2), weight=weight)


def templates(**options):
    return Templates(**{"signal": 30.0, "background": 200.0, "edges": EDGES, "width": 0.3, "observable": 0, **options})


def value_of(objective, events):
    return objective(events, belief_of(torch.full(events.weight.shape, 0.5)), POINT)


def test_memberships_are_those_of_the_note():
    x = torch.tensor([0.3, 1.0], dtype=torch.float64, requires_grad=True)
    inner = memberships(x, [-9.0, 0.0, 1.0, 9.0], 0.1)[:, 1]
    (slope,) = torch.autograd.grad(inner.sum(), x)
    assert inner.tolist() == pytest.approx([0.998650, 0.5], abs=1e-6)
    assert slope.tolist() == pytest.approx([0.044318, -3.989423], abs=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-20, 20), min_size=1, max_size=9), st.one_of(st.none(), st.floats(1e-3, 10)), st.booleans())
def test_counts_are_conserved_and_hard_bins_are_histograms(values, width, single):
    x = torch.tensor([values], dtype=torch.float32 if single else torch.float64)
    weight = torch.linspace(0.1, 2.0, len(values), dtype=x.dtype)[None]
    counts, variances = histogram(x, weight, EDGES, width)
    assert counts.sum().item() == pytest.approx(weight.sum().item(), rel=1e-5) and (counts >= 0).all()
    if width is None:
        wanted = [[x < 1, (x >= 1) & (x < 2), x >= 2][k] for k in range(3)]
        torch.testing.assert_close(counts[0], torch.stack([(weight * w).sum() for w in wanted]))
        torch.testing.assert_close(variances[0], torch.stack([(weight**2 * w).sum() for w in wanted]))


def test_a_soft_bin_is_that_of_a_smeared_population():
    """N(0, 1) in [0, 1] with h = 0.5: 0.314453 (the note), derivative with respect to the mean in closed form."""
    u = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    mean = torch.zeros((), dtype=torch.float64, requires_grad=True)
    x = (math.sqrt(2) * torch.erfinv(2 * u - 1) + mean)[None]
    share = histogram(x, torch.full_like(x, 1 / 20000), [-9.0, 0.0, 1.0, 9.0], 0.5)[0][0, 1]
    (slope,) = torch.autograd.grad(share, mean)
    assert share.item() == pytest.approx(0.314453, abs=1e-5)
    normal, spread = torch.distributions.Normal(0.0, 1.0), math.sqrt(1.25)
    density = [normal.log_prob(torch.tensor(e / spread)).exp().item() / spread for e in (0.0, 1.0)]
    assert slope.item() == pytest.approx(density[0] - density[1], abs=1e-5)


@pytest.mark.parametrize("edges", [[1.0], [0.0, 0.0], [1.0, 0.5], [0.0, float("nan")]])
def test_edges_that_cannot_be_used(edges):
    with pytest.raises(ConfigurationError, match="edges"):
        templates(edges=edges)
    with pytest.raises(ConfigurationError, match="width"):
        templates(width=0.0)


def test_without_uncertainties_the_significance_has_the_closed_form():
    events = sample()
    model = templates()(events, belief_of(torch.full((1, 300), 0.5)))
    counts = model.nominal.reshape(2, 3)
    assert counts.sum(1).tolist() == pytest.approx([30.0, 200.0])
    z = discovery_significance(counts[0], counts[1]).square().sum().sqrt()
    assert value_of(DiscoverySignificance(templates()), events).item() == pytest.approx(-z.item(), rel=1e-9)
    sigma = (counts[0] ** 2 / counts.sum(0)).sum() ** -0.5
    assert value_of(ExpectedUncertainty(templates()), events).item() == pytest.approx(sigma.item(), rel=1e-9)
    limit = value_of(ExpectedUpperLimit(templates()), events)
    assert limit.item() == pytest.approx(upper_limit(model).item())
    level = value_of(ExpectedCLs(templates(), limit.item()), events)
    assert level.item() == pytest.approx(math.log(0.05), rel=1e-8)


def test_every_uncertainty_costs():
    events = sample()
    figures = [
        [value_of(kind(templates(**options)), events).item() for kind in ALL]
        for options in ({}, {"normalisation": ERRORS}, {"shapes": SHAPES}, {"statistical": True})
    ]
    for one in figures[1:]:
        assert all(more > less + 1e-4 for more, less in zip(one, figures[0], strict=True))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("statistical", [False, True])
def test_derivatives_through_hits_and_weights_agree_with_central_differences(kind, statistical):
    events = sample(120, seed=2)
    objective = kind(templates(normalisation=ERRORS, shapes=SHAPES, statistical=statistical, floor=1e-3))
    hits, weight = events.hits.clone().requires_grad_(), events.weight.clone().requires_grad_()
    slopes = torch.autograd.grad(value_of(objective, replace(events, hits=hits, weight=weight)).sum(), (hits, weight))
    generator = torch.Generator().manual_seed(3)
    for place, (slope, one) in enumerate(zip(slopes, (hits, weight), strict=True)):
        direction = torch.randn(one.shape, generator=generator, dtype=torch.float64)
        moved = []
        for eps in (1e-5, -1e-5):
            new = one.detach() + eps * direction
            changed = replace(events, hits=new) if place == 0 else replace(events, weight=new)
            moved.append(value_of(objective, changed).item())
        central = (moved[0] - moved[1]) / 2e-5
        assert (slope * direction).sum().item() == pytest.approx(central, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_scaled_and_permuted_events_and_single_precision_change_nothing(kind):
    events = sample()
    objective = kind(templates(normalisation=ERRORS, shapes=SHAPES, statistical=True))
    value = value_of(objective, events)
    heavier = value_of(objective, events.reweighted(torch.full_like(events.weight, 2.0)))
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    single = Events.of(events.truth.float(), events.hits.float(), weight=events.weight.float())
    found = value_of(objective, single)
    assert found.dtype == torch.float32 and value.dtype == torch.float64
    for other in (heavier, value_of(objective, events.select(order)), found.double()):
        assert other.item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_score_functions_and_pathwise_derivatives_agree(kind):
    """The mean of the signal moves: through the weights of the events, or through their hits."""
    count, slopes = 200_000, []
    events = replace(sample(count), weight=torch.ones(1, count, dtype=torch.float64))
    signal = events.truth[0, :, 0] > 0.5
    score = torch.where(signal, (events.hits[0, :, 0, 0] - 2) / 0.6**2, torch.zeros(()).double())
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    weighted = replace(events, weight=torch.exp(score * shift)[None])
    moved = replace(events, hits=events.hits + (shift * signal)[None, :, None, None])
    for one in (weighted, moved):
        value = value_of(kind(templates(normalisation=ERRORS, edges=(0.0, 1.0, 2.0, 3.0, 4.0))), one)
        slopes += torch.autograd.grad(value.sum(), shift)
    assert slopes[0] < 0 and slopes[0].item() == pytest.approx(slopes[1].item(), rel=0.05)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("statistical", [False, True])
def test_few_events_and_empty_bins_are_finite(kind, statistical):
    """One event of each class, equal weights; bins with neither signal nor background, hard and soft."""
    events = Events.of(torch.tensor([[[1.0], [0.0]]]), torch.tensor([[[[2.5]], [[0.2]]]]))
    for width in (None, 0.01, 0.5):
        objective = kind(templates(width=width, normalisation=ERRORS, statistical=statistical))
        hits, weight = events.hits.clone().requires_grad_(), events.weight.clone().requires_grad_()
        changed = replace(events, hits=hits, weight=weight)
        if kind is ExpectedUpperLimit and statistical:  # one event: an error of 100 % on the signal
            with pytest.raises(NonFiniteError, match="absorb any signal"):
                value_of(objective, changed)
            continue
        value = value_of(objective, changed)
        slopes = torch.autograd.grad(value.sum(), (hits, weight), allow_unused=True)
        assert value.isfinite().all() and all(slope is None or slope.isfinite().all() for slope in slopes)


def test_selections_belief_and_variations_of_hits_and_weights():
    events = sample()
    more = torch.cat([events.hits, events.hits * 1.1, events.hits * 0.9, torch.full_like(events.hits, 0.5)], 3)
    events = replace(events, hits=more)
    belief = belief_of(torch.sigmoid(events.hits[:, :, 0, 0] - 1))
    half = templates(selected=3)(events, belief)
    assert half.nominal.reshape(2, 3).sum(1).tolist() == pytest.approx([15.0, 100.0])
    probability = templates(observable="belief", edges=(0, 0.5, 1.0), width=None)(events, belief).nominal.reshape(2, 2)
    above = events.hits[0, :, 0, 0] >= 1
    signal = events.truth[0, :, 0] > 0.5
    wanted = 30 * (events.weight[0] * above * signal).sum() / (events.weight[0] * signal).sum()
    assert probability[0, 1].item() == pytest.approx(wanted.item())
    by_hits = templates(shapes={"e": {"of": "both", "features": (2, 1)}})(events, belief)
    by_scale = templates(shapes={"e": {"of": "both", "scale": 0.1}})(events, belief)
    torch.testing.assert_close(by_hits.up, by_scale.up)
    torch.testing.assert_close(by_hits.down, by_scale.down)
    by_weight = templates(shapes={"e": {"weights": (3, 3)}})(events, belief)
    torch.testing.assert_close(by_weight.up[0, 0, 3:], -0.5 * by_weight.nominal[0, 3:])
    assert by_weight.up[0, 0, :3].eq(0).all() and hypothesis_test(by_weight).observed.item() < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signal": 0.0}, "templates.signal"),
        ({"floor": -1.0}, "templates.floor"),
        ({"observable": "mass"}, "templates.observable"),
        ({"normalisation": {"rate": {"other": 0.1}}}, r"normalisation\.rate"),
        ({"normalisation": {"mu": {"signal": 0.1}}}, r"normalisation\.mu"),
        ({"shapes": {"mu": {"shift": 0.1}}}, r"templates\.shapes"),
        ({"shapes": {"e": {"of": "all"}}}, r"shapes\.e\.of"),
        ({"shapes": {"e": {"size": 1.0}}}, r"shapes\.e"),
    ],
)
def test_settings_that_cannot_be_used(options, message):
    with pytest.raises(ConfigurationError, match=message):
        templates(**options)


def test_classes_without_events_and_arguments_out_of_range():
    events = sample()
    with pytest.raises(NonFiniteError, match="the signal has no event with weight"):
        value_of(DiscoverySignificance(templates(boundary=2.0)), events)
    for build in (
        lambda: ExpectedUpperLimit(level=0.0),
        lambda: ExpectedUpperLimit(band=9.0),
        lambda: ExpectedCLs(strength=0.0),
        lambda: ExpectedCLs(band=7.0),
        lambda: ExpectedUncertainty(strength=-1.0),
    ):
        with pytest.raises(ConfigurationError, match="objective"):
            build()


def test_an_exclusion_beyond_the_smallest_number_still_has_a_slope():
    objective = ExpectedCLs(templates(signal=1e5, background=1e4))
    events = sample()
    weight = events.weight.clone().requires_grad_()
    value = value_of(objective, replace(events, weight=weight))
    (slope,) = torch.autograd.grad(value.sum(), weight)
    assert value.item() < -1000 and slope.isfinite().all() and slope.abs().sum() > 0
