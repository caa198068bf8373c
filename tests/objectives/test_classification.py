"""Classification objectives against the closed forms of Gaussian scores, in value and derivative."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Independent, Normal

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives import AreaUnderCurve, CrossEntropy, PosteriorBound, SignalLoss
from mode_opt.objectives.classification import signal_efficiency, smooth_area, soft_threshold

POINT = DesignPoint.of(x=0.0)
NORMAL = Normal(0.0, 1.0)
OBJECTIVES = [AreaUnderCurve(source="hits"), SignalLoss(source="hits"), CrossEntropy(source="hits")]
BOTH = [*OBJECTIVES, CrossEntropy(source="hits", balanced=False)]


def gaussian(count, mean=0.0):
    """Scores at the centres of equal probabilities: a sample without noise."""
    p = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return mean + math.sqrt(2) * torch.erfinv(2 * p - 1)


def phi(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def sample(score, label, weight=None):
    """One design, one hit a event, whose only feature is the score."""
    events = Events.of(label.reshape(1, -1, 1).to(score.dtype), score.reshape(1, -1, 1, 1))
    return events if weight is None else events.reweighted(weight.reshape(1, -1))


def drawn(count=60, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    label = (torch.arange(count) % 3 == 0).to(dtype)
    score = label + torch.randn(count, generator=generator, dtype=dtype)
    return score, label, torch.rand(count, generator=generator, dtype=dtype) + 0.5


@settings(deadline=None, max_examples=15)
@given(st.floats(-2.0, 3.0), st.floats(0.1, 1.0))
def test_the_area_of_gaussians_and_its_slope(d, width):
    shift = torch.tensor(d, dtype=torch.float64, requires_grad=True)
    ones = torch.ones(1000, dtype=torch.float64)
    area = smooth_area(gaussian(1000) + shift, gaussian(1000), ones, ones, width)
    (slope,) = torch.autograd.grad(area, shift)
    scale = math.sqrt(2 + width**2)
    assert area.item() == pytest.approx(phi(d / scale), abs=1e-4)
    assert slope.item() == pytest.approx(math.exp(-((d / scale) ** 2) / 2) / math.sqrt(2 * math.pi) / scale, abs=2e-4)


def test_reference_areas():
    """objectives_and_ecosystem.md 1.8: sharp .760250 with slope .219696, smooth with width 1/2 .747507."""
    ones = torch.ones(2000, dtype=torch.float64)
    shift = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    area = smooth_area(gaussian(2000) + shift, gaussian(2000), ones, ones, 0.5)
    assert area.item() == pytest.approx(0.747507, abs=3e-5)
    sharp = smooth_area(gaussian(2000) + shift, gaussian(2000), ones, ones, 0.01)
    assert sharp.item() == pytest.approx(0.760250, abs=5e-5)
    assert torch.autograd.grad(sharp, shift)[0].item() == pytest.approx(0.219696, abs=2e-4)


@settings(deadline=None, max_examples=15)
@given(st.floats(0.0, 3.0), st.floats(0.02, 0.9), st.floats(0.1, 1.0))
def test_the_efficiency_of_gaussians_and_its_slope(d, accepted, width):
    """A shift of the background moves the cut along: only the implicit derivative knows."""
    up, back = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (d, 0.0))
    ones = torch.ones(4000, dtype=torch.float64)
    found = signal_efficiency(gaussian(4000) + up, gaussian(4000) + back, ones, ones, accepted, width)
    slopes = [slope.item() for slope in torch.autograd.grad(found, (up, back))]
    z = d / math.sqrt(1 + width**2) + NORMAL.icdf(torch.tensor(accepted, dtype=torch.float64)).item()
    slope = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi * (1 + width**2))
    assert found.item() == pytest.approx(phi(z), abs=1e-3)
    assert slopes == pytest.approx([slope, -slope], abs=2e-3)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.05, 0.95), st.floats(0.05, 0.5), st.sampled_from(["normal", "logistic"]))
def test_the_cut_keeps_its_share_and_has_the_right_derivatives(seed, accepted, width, kind):
    score, _, weight = drawn(12, seed)
    cut = soft_threshold(score, weight, accepted, width, kind)
    step = torch.special.ndtr if kind == "normal" else torch.sigmoid
    assert ((weight * step((score - cut) / width)).sum() / weight.sum()).item() == pytest.approx(accepted, abs=1e-12)
    inputs = score.requires_grad_(), weight.requires_grad_()
    slopes = torch.autograd.grad(soft_threshold(*inputs, accepted, width, kind), inputs)
    for index in range(2):
        for k in (0, 5):
            sides = [[tensor.detach().clone() for tensor in inputs] for _ in range(2)]
            for side, sign in zip(sides, (1, -1), strict=True):
                side[index][k] += sign * 1e-6
            up, down = (soft_threshold(*side, accepted, width, kind).item() for side in sides)
            tolerance = 1e-5 * (1 + slopes[index].abs().max().item() ** 2)
            assert slopes[index][k].item() == pytest.approx((up - down) / 2e-6, rel=1e-3, abs=tolerance)


def test_a_wide_gap_between_the_scores_leaves_finite_derivatives():
    score = torch.tensor([0.0, 0.1, 100.0, 100.1], dtype=torch.float64, requires_grad=True)
    cut = soft_threshold(score, torch.ones(4), 0.5, 0.01)
    assert 0.1 <= cut.item() <= 100.0
    assert torch.isfinite(torch.autograd.grad(cut, score)[0]).all()


@pytest.mark.parametrize("objective", BOTH)
def test_derivatives_by_central_differences(objective):
    inputs = [tensor.requires_grad_() if k != 1 else tensor for k, tensor in enumerate(drawn(20))]
    value = objective(sample(*inputs), None, POINT)
    slopes = torch.autograd.grad(value.sum(), (inputs[0], inputs[2]))
    for tensor, slope in zip((0, 2), slopes, strict=True):
        for k in (0, 7):
            sides = []
            for sign in (1, -1):
                moved = [x.detach().clone() for x in inputs]
                moved[tensor][k] += sign * 1e-6
                sides.append(objective(sample(*moved), None, POINT).item())
            assert slope[k].item() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("objective", BOTH)
def test_order_and_scale_of_the_weights_do_not_matter_and_integers_repeat(objective):
    score, label, weight = drawn()
    value = objective(sample(score, label, weight), None, POINT).item()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    shuffled = sample(score[order], label[order], 2 * weight[order])
    assert objective(shuffled, None, POINT).item() == pytest.approx(value, abs=1e-12)
    times = torch.arange(60) % 4
    repeated = sample(score.repeat_interleave(times), label.repeat_interleave(times))
    weighted = sample(score, label, times.double())
    assert objective(weighted, None, POINT).item() == pytest.approx(objective(repeated, None, POINT).item(), abs=1e-12)
    single = sample(*(tensor.float() for tensor in (score, label, weight)))
    found = objective(single, None, POINT)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_mixture_of_the_sample_does_not_matter(objective):
    score, label, weight = drawn()
    value = objective(sample(score, label, weight), None, POINT).item()
    richer = objective(sample(score, label, torch.where(label > 0, 5 * weight, weight)), None, POINT)
    assert richer.item() == pytest.approx(value, abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.3, 3.0))
def test_the_cross_entropy_is_least_at_the_ratio_of_the_densities(d):
    """Scores N(±d/2, 1): the logit is d x; scaled by 1 the slope of J vanishes, by anything else J is larger."""
    x, ones = gaussian(2000), torch.ones(2000, dtype=torch.float64)
    label = torch.cat([ones, 0 * ones])
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    scores = d * torch.cat([x + d / 2, x - d / 2])
    objective = CrossEntropy(source="hits")
    value = objective(sample(scale * scores, label), None, POINT)
    assert torch.autograd.grad(value.sum(), scale)[0].item() == pytest.approx(0.0, abs=2e-3)
    for factor in (0.7, 1.4):
        assert objective(sample(factor * scores, label), None, POINT).item() > value.item()


def test_a_bernoulli_belief_is_read_without_loss_of_digits():
    logits = torch.tensor([30.0, -30.0, 0.0, 2.0]).reshape(1, 4, 1)
    events = sample(torch.zeros(4), torch.tensor([0.0, 1.0, 1.0, 0.0]))
    belief = Independent(Bernoulli(logits=logits), 1)
    expected = (30 + 30 + math.log(2) + math.log1p(math.exp(2.0))) / 4
    assert CrossEntropy(balanced=False)(events, belief, POINT).item() == pytest.approx(expected)
    torch.testing.assert_close(
        CrossEntropy(balanced=False)(events, belief, POINT), PosteriorBound()(events, belief, POINT)
    )
    with pytest.raises(ConfigurationError, match="a Normal belief"):
        CrossEntropy()(events, Independent(Normal(logits, 1.0), 1), POINT)


def test_the_area_reads_the_belief_and_blocks_of_pairs_add_up(monkeypatch):
    score, label, weight = drawn()
    belief = Independent(Normal(score.reshape(1, -1, 1), 1.0), 1)
    events = sample(0 * score, label, weight)
    value = AreaUnderCurve()(events, belief, POINT)
    torch.testing.assert_close(value, AreaUnderCurve(source="hits")(sample(score, label, weight), None, POINT))
    monkeypatch.setattr("mode_opt.objectives.classification.PAIRS_AT_A_TIME", 100)
    torch.testing.assert_close(AreaUnderCurve()(events, belief, POINT), value)


@pytest.mark.parametrize("objective", BOTH)
def test_equal_scores_and_a_single_event_of_each_class(objective):
    for score, label in ((torch.ones(6), torch.tensor([1.0, 0, 0, 1, 0, 0])), (torch.zeros(2), torch.tensor([1.0, 0]))):
        score = score.double().requires_grad_()
        value = objective(sample(score, label.double()), None, POINT)
        (slope,) = torch.autograd.grad(value.sum(), score)
        assert torch.isfinite(value).all() and torch.isfinite(slope).all() and slope.abs().sum() > 0
    if isinstance(objective, AreaUnderCurve):
        assert value.item() == pytest.approx(0.5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_class_without_weight_and_a_score_that_is_not_finite_are_errors(objective):
    with pytest.raises(NonFiniteError, match="background has no event with weight"):
        objective(sample(torch.ones(3), torch.ones(3)), None, POINT)
    with pytest.raises(NonFiniteError, match="holds a NaN"):
        objective(sample(torch.tensor([1.0, math.nan]), torch.tensor([1.0, 0.0])), None, POINT)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: AreaUnderCurve(source="sight"), "objective.source"),
        (lambda: AreaUnderCurve(width=0.0), "objective.width"),
        (lambda: AreaUnderCurve(kind="hard"), "objective.kind"),
        (lambda: SignalLoss(accepted=1.0), "objective.accepted"),
        (lambda: CrossEntropy(source="truth"), "objective.source"),
    ],
)
def test_arguments_that_cannot_be_used(build, message):
    with pytest.raises(ConfigurationError, match=message):
        build()


def test_score_function_and_pathwise_derivatives_agree():
    """Signal N(m, 1): dJ/dm through the scores, and through weights that carry the score (x − m)."""
    count = 40000
    generator = torch.Generator().manual_seed(3)
    label = (torch.arange(count) % 2).double()
    noise = torch.randn(count, generator=generator, dtype=torch.float64)
    mean = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    objective = SignalLoss(accepted=0.3, source="hits", width=0.3)
    moved = noise + mean * label
    (path,) = torch.autograd.grad(objective(sample(moved, label), None, POINT).sum(), mean)
    fixed = moved.detach()
    log_probability = -((fixed - mean * label) ** 2) / 2
    weight = torch.exp(log_probability - log_probability.detach())
    (score,) = torch.autograd.grad(objective(sample(fixed, label, weight), None, POINT).sum(), mean)
    assert path.item() < -0.1 and score.item() == pytest.approx(path.item(), rel=0.05)
