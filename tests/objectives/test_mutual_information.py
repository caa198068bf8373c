"""Bounds on the mutual information against the Gaussian channel, where everything is known."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from statistical import assert_mean
from torch.distributions import Independent, LogNormal, Normal

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError, ShapeError
from mode_opt.events import Events
from mode_opt.objectives import ContrastiveInformation
from mode_opt.objectives.mutual_information import (
    Pairs,
    donsker_varadhan,
    info_nce,
    nguyen_wainwright_jordan,
    pairs_of,
    running_partition,
)

POINT = DesignPoint.of(x=0.0)
BOUNDS = [info_nce, nguyen_wainwright_jordan, donsker_varadhan]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def best_scores(rho, repeats, n, features=1, seed=0):
    """ln p(x|h)/p(x) of all pairs of ``repeats`` batches of correlated normal vectors, ``repeats x n x n``."""
    x = draw(repeats, n, features, seed=seed)
    h = rho * x + math.sqrt(1 - rho**2) * draw(repeats, n, features, seed=seed + 1)
    x, h, width = x.unsqueeze(2), h.unsqueeze(1), math.sqrt(1 - rho**2)
    return (Normal(rho * h, width).log_prob(x) - Normal(0.0, 1.0).log_prob(x)).sum(-1)


def all_pairs(scores):
    return pairs_of(scores, torch.ones(scores.shape[:-1], dtype=scores.dtype))


@settings(deadline=None, max_examples=8)
@given(st.floats(0.0, 0.9), st.integers(0, 50))
def test_with_the_best_critic_and_many_pairs_all_reach_the_information(rho, seed):
    """−½ ln(1 − ρ²), within four standard errors and the bias of InfoNCE, of order e^I/n."""
    scores = best_scores(rho, 40, 128, seed=seed)
    exact = -0.5 * math.log1p(-(rho**2))
    for bound, shift in ((info_nce, 0.0), (nguyen_wainwright_jordan, 1.0), (donsker_varadhan, 0.0)):
        found = bound(all_pairs(scores + shift))
        error = found.std().item() / math.sqrt(40)
        assert found.mean().item() == pytest.approx(exact, abs=4.5 * error + math.exp(2 * exact) / 128)


def test_the_bias_of_each_where_the_information_is_large():
    """Ten features, ρ = 0.9, I = 8.304, 128 events (published in the note: 4.73, unbiased with spread 1.1, 8.69)."""
    scores, exact = best_scores(0.9, 200, 128, 10), -5 * math.log(0.19)
    contrastive = info_nce(all_pairs(scores))
    assert contrastive.max() <= math.log(128)
    assert contrastive.mean().item() == pytest.approx(4.73, abs=0.03)
    assert contrastive.std().item() == pytest.approx(0.04, abs=0.01)
    assert_mean(nguyen_wainwright_jordan(all_pairs(1 + scores)), exact)
    upward = donsker_varadhan(all_pairs(scores))
    assert upward.mean().item() == pytest.approx(8.69, abs=0.1) and upward.mean().item() > exact + 0.2


@settings(deadline=None, max_examples=10)
@given(st.floats(0.1, 0.95), st.floats(0.2, 3.0), st.floats(-1.0, 1.0), st.integers(0, 50))
def test_a_bad_critic_stays_below(rho, scale, shift, seed):
    """A rescaled and shifted critic: InfoNCE and NWJ are bounds for any."""
    scores = scale * best_scores(rho, 40, 64, seed=seed) + shift
    exact = -0.5 * math.log1p(-(rho**2))
    for bound in (info_nce, nguyen_wainwright_jordan):
        found = bound(all_pairs(scores))
        assert found.mean().item() <= exact + 4.5 * found.std().item() / math.sqrt(40)


@given(st.integers(0, 1000), st.floats(0.1, 5.0))
def test_for_one_critic_donsker_and_varadhan_are_never_below(seed, scale):
    """ln z ≤ z/e for every z: which of the two needs which constant."""
    pairs = all_pairs(scale * draw(3, 5, 5, seed=seed))
    assert (donsker_varadhan(pairs) >= nguyen_wainwright_jordan(pairs) - 1e-12).all()


def test_they_agree_with_their_definitions():
    scores, weight = draw(5, 5), torch.rand(5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    joint = (weight * scores.diagonal()).sum() / weight.sum()
    total = [((weight * scores[i].exp()).sum() / weight.sum()).log() for i in range(5)]
    together = [(i, j) for i in range(5) for j in range(5) if i != j]
    norm = sum(weight[i] * weight[j] for i, j in together)
    partition = sum(weight[i] * weight[j] * scores[i, j].exp() for i, j in together) / norm
    pairs = pairs_of(scores, weight)
    torch.testing.assert_close(info_nce(pairs), joint - (weight * torch.stack(total)).sum() / weight.sum())
    torch.testing.assert_close(nguyen_wainwright_jordan(pairs), joint - partition / math.e)
    torch.testing.assert_close(donsker_varadhan(pairs), joint - partition.log())


@pytest.mark.parametrize("bound", BOUNDS)
def test_derivatives_with_respect_to_scores_and_weights(bound):
    scores = draw(4, 4).requires_grad_()
    weight = (draw(4, seed=1).abs() + 0.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, w: bound(pairs_of(s, w)), (scores, weight))
    zero = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(bound(pairs_of(scores, zero)), zero)
    up = bound(pairs_of(scores, zero.detach() + torch.tensor([0, 1e-7, 0, 0]).double()))
    assert slope[1].item() == pytest.approx((up - bound(pairs_of(scores, zero))).item() / 1e-7, rel=1e-4)


@pytest.mark.parametrize("bound", BOUNDS)
def test_scale_of_weights_and_extreme_scores(bound):
    scores, weight = draw(6, 6), draw(6, seed=1).abs()
    torch.testing.assert_close(bound(pairs_of(scores, 3 * weight)), bound(pairs_of(scores, weight)))
    if bound is not nguyen_wainwright_jordan:  # e^800 is no number, and its logarithm is
        torch.testing.assert_close(bound(pairs_of(scores + 800, weight)), bound(pairs_of(scores, weight)))
    with pytest.raises(NonFiniteError, match="NaN"):
        bound(pairs_of(scores * math.nan, weight))
    with pytest.raises(NonFiniteError, match="with weight"):
        bound(pairs_of(scores, 0 * weight))
    with pytest.raises(ShapeError, match="n x n"):
        pairs_of(scores[:5], weight)


def test_the_running_partition_changes_the_derivative_of_small_batches_only():
    """The gradient of batches of 4 pairs is biased; with the average over many batches it is that of them all."""
    theta = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    scores = best_scores(0.8, 4000, 4)
    pairs = all_pairs(scores)
    running = running_partition(pairs)
    for k in range(40):
        running = running_partition(all_pairs(best_scores(0.8, 4000, 4, seed=2 + 2 * k)), running, rate=0.05)
    long = running.exp().mean().log().expand(4000)

    def slope(bound):
        return torch.autograd.grad(bound(all_pairs(theta * scores)).mean(), theta)[0].item()

    whole = all_pairs(theta * best_scores(0.8, 1, 1500, seed=900))
    exact = torch.autograd.grad(donsker_varadhan(whole).sum(), theta)[0].item()
    biased, better = slope(donsker_varadhan), slope(partial(donsker_varadhan, running=long))
    assert abs(better - exact) < 0.35 * abs(biased - exact)
    torch.testing.assert_close(donsker_varadhan(pairs, long), donsker_varadhan(pairs))


def test_the_running_average_is_one():
    pairs, other = all_pairs(draw(3, 4, 4)), all_pairs(draw(3, 4, 4, seed=1))
    first = running_partition(pairs)
    expected = (0.9 * first.exp() + 0.1 * running_partition(other).exp()).log()
    torch.testing.assert_close(running_partition(other, first, 0.1), expected)


def channel(noise, count, seed=0, bias=0.0):
    """x ~ N(0, 1), h = x + σ e, and the exact posterior (with an error of ``bias`` in its mean)."""
    truth, moved = draw(1, count, 1, seed=seed), draw(1, count, 1, seed=seed + 1)
    hits = truth + noise * moved
    gain = 1 / (1 + noise**2)
    belief = Independent(Normal(gain * hits + bias, (noise**2 * gain) ** 0.5), 1)
    return Events.of(truth, hits.unsqueeze(2)), belief


@settings(deadline=None, max_examples=8)
@given(st.floats(0.4, 2.0), st.integers(0, 100))
def test_the_objective_knows_the_gaussian_channel(noise, seed):
    """I = ½ ln(1 + 1/σ²), dI/dσ = −1/(σ(1 + σ²)); the bias with k contrasts is of order e^I/k."""
    sigma = torch.tensor(noise, dtype=torch.float64, requires_grad=True)
    value = ContrastiveInformation(255)(*channel(sigma, 4000, seed), POINT)
    (slope,) = torch.autograd.grad(value.sum(), sigma)
    assert -value.item() == pytest.approx(0.5 * math.log1p(1 / noise**2), abs=0.05)
    assert slope.item() == pytest.approx(1 / (noise * (1 + noise**2)), rel=0.06)


def test_a_wrong_belief_gives_less_and_the_cap_is_the_logarithm():
    good, bad = (ContrastiveInformation()(*channel(0.5, 3000, bias=bias), POINT).item() for bias in (0.0, 0.4))
    assert good < bad - 0.1
    for contrasts in (1, 15):
        sharp = ContrastiveInformation(contrasts)(*channel(1e-4, 500), POINT).item()
        assert -sharp == pytest.approx(math.log(contrasts + 1), abs=0.02)
        assert -sharp <= math.log(contrasts + 1) + 1e-12


def test_the_objective_is_info_nce_of_all_pairs_where_all_events_are_contrasts():
    events, belief = channel(0.7, 20)
    weight = draw(1, 20, seed=9).abs()
    scores = belief.log_prob(events.truth.transpose(0, 1).unsqueeze(1)).squeeze(1)  # truth i, hits j
    expected = -info_nce(pairs_of(scores.unsqueeze(0), weight))
    torch.testing.assert_close(ContrastiveInformation(99)(events.reweighted(weight), belief, POINT), expected)


def test_units_of_the_truth_do_not_matter():
    """Contrasts keep the truth: the density of the exponential of x is that of x times a function of x."""
    events, belief = channel(0.7, 50)
    base = belief.base_dist
    other = Events.of(events.truth.exp(), events.hits)
    expected = ContrastiveInformation()(events, belief, POINT)
    found = ContrastiveInformation()(other, Independent(LogNormal(base.loc, base.scale), 1), POINT)
    torch.testing.assert_close(found, expected)
    single = Events.of(events.truth.float(), events.hits.float())
    narrow = Independent(Normal(base.loc.float(), base.scale.float()), 1)
    assert ContrastiveInformation()(single, narrow, POINT).item() == pytest.approx(expected.item(), abs=1e-5)


def test_score_function_and_pathwise_derivatives_agree():
    """h | x ~ N(x, σ²): through the hits of a fixed belief, and through weights with the score of their density."""
    count, noise = 40000, 0.8
    sigma = torch.tensor(noise, dtype=torch.float64, requires_grad=True)
    truth, moved = draw(1, count, 1), draw(1, count, 1, seed=1)

    def belief(hits):
        return Independent(Normal(hits / (1 + noise**2), noise / math.sqrt(1 + noise**2)), 1)

    hits = truth + sigma * moved
    events = Events.of(truth, hits.unsqueeze(2))
    objective = ContrastiveInformation(15)
    (path,) = torch.autograd.grad(objective(events, belief(hits), POINT).sum(), sigma)
    log_probability = Normal(truth, sigma).log_prob(hits.detach())[..., 0]
    weight = torch.exp(log_probability - log_probability.detach())
    value = objective(events.detach().reweighted(weight), belief(hits.detach()), POINT)
    (score,) = torch.autograd.grad(value.sum(), sigma)
    assert path.item() > 0.3 and score.item() == pytest.approx(path.item(), rel=0.1)


def test_what_cannot_be_used():
    with pytest.raises(ConfigurationError, match=r"objective\.contrasts"):
        ContrastiveInformation(0)
    with pytest.raises(NonFiniteError, match="at least two"):
        ContrastiveInformation()(*channel(1.0, 1), POINT)
    assert isinstance(all_pairs(draw(2, 2)), Pairs)
