import pytest
import torch
from statistical import assert_mean

from mode_opt.simulation.choices import Bernoulli, Categorical, Choices, Exponential, Gaussian, Lineages, Recording
from mode_opt.simulation.choices.twins import Noise, Noting, Twinned

N = 20_000


def uniforms(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def parameter(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def coin(p):
    return Bernoulli(p[0].expand(N))


def classes(p):
    return Categorical(torch.stack([p[0], p[0] ** 2, 1 - p[0] - p[0] ** 2]).expand(N, 3))


@pytest.mark.parametrize("law", [coin, classes])
def test_outcomes_are_where_the_relaxation_tends_to(law):
    mine = law(parameter(0.3))
    u = uniforms(N) if mine.width is None else uniforms(N, mine.width)
    hard = mine.hardened(u)
    sharp = mine.relaxed(u, 1e-3)
    assert ((hard - sharp).abs() < 1e-3).double().mean() > 0.99
    assert_mean(hard, mine.mean[0].detach())


@pytest.mark.parametrize("law", [coin, classes])
def test_numbers_given_the_outcome_keep_their_value_and_their_outcome(law):
    """They move by the same law as the region they are uniform in: the outcome at a displaced design is the same."""
    p, step = parameter(0.3), 1e-4
    mine = law(p)
    u = uniforms(N) if mine.width is None else uniforms(N, mine.width)
    outcome = mine.hardened(u)
    assert torch.equal(mine.given(outcome, u), u)
    tangent = torch.autograd.functional.jvp(lambda x: law(x).given(outcome, u), p.detach(), torch.ones(1).double())[1]
    displaced = law(p.detach() + step).hardened(u + step * tangent)
    assert torch.equal(displaced, outcome)


@pytest.mark.parametrize("law", [coin, classes])
def test_the_moving_region_gives_the_gradient_of_any_smooth_function(law):
    """E[g(u)] does not depend on p: E[g ∇ log p(outcome) + ∇g·∇ũ] = 0, for a g that mixes everything."""
    p = parameter(0.3)
    mine = law(p)
    u = uniforms(N) if mine.width is None else uniforms(N, mine.width)
    outcome = mine.hardened(u)

    def smooth(x):
        flat = x.reshape(N, -1)
        return (flat * torch.arange(1.0, flat.shape[1] + 1.0)).sum(1).sin() + flat[:, 0] ** 2

    one = torch.ones(1).double()
    score = torch.autograd.functional.jvp(lambda x: law(x).log_probability(outcome), p.detach(), one)[1]
    moved = torch.autograd.functional.jvp(lambda x: smooth(law(x).given(outcome, u)), p.detach(), one)[1]
    assert_mean(smooth(u) * score + moved, 0.0)
    assert abs((smooth(u) * score).mean()) > 10 * (smooth(u) * score).std() / N**0.5  # not zero by itself


@pytest.mark.parametrize(
    "law", [lambda p: Exponential(p[0].expand(N)), lambda p: Gaussian(p[0].expand(N), p[1].expand(N))]
)
def test_a_real_number_that_is_held_stays_where_it_is(law):
    p, step = parameter(0.8, 1.3), 1e-5
    u = uniforms(N).clamp(0.01, 0.99)
    one = torch.ones(2).double()
    tangent = torch.autograd.functional.jvp(lambda x: law(x).given(u), p.detach(), one)[1]
    before, after = law(p.detach()).transform(u), law(p.detach() + step).transform(u + step * tangent)
    assert torch.allclose(before, after, atol=1e-7)


def test_a_coin_that_is_certain_has_finite_numbers():
    for p in (0.0, 1.0):
        probability = parameter(p)
        law = Bernoulli(probability.expand(5))
        u = uniforms(5)
        (slope,) = torch.autograd.grad(law.given(law.hardened(u), u).sum(), probability)
        assert torch.isfinite(slope).all()


def test_noise_is_found_by_its_word_in_any_order():
    noise = Noise()
    assert noise.tangent(torch.tensor([3]), None) is None
    p = parameter(2.0)
    noise.note(torch.tensor([7, 3]), torch.tensor([0.5, 0.25], dtype=torch.float64) * p / 2.0, None)
    noise.note(torch.tensor([-5]), torch.tensor([1.0], dtype=torch.float64) * p / 2.0, None)
    tangent, found = noise.tangent(torch.tensor([[-5, 4], [3, 7]]), None)
    assert torch.equal(found, torch.tensor([[True, False], [True, True]])) and (tangent == 0).all()
    slopes = [torch.autograd.grad(t, p, retain_graph=True)[0].item() for t in tangent.flatten()]
    assert slopes == [0.5, 0.0, 0.125, 0.25]
    assert noise.tangent(torch.tensor([3]), 2) is None


def test_the_twin_of_a_run_that_made_more_choices_finds_its_own():
    """A loop that some lineages leave early: the twin draws the first choice of all, and its numbers move with p."""
    p = torch.tensor(0.4, requires_grad=True)
    noting = Noting(Recording(50))
    choices = Choices(Lineages.of_events(1, 50, 1), noting)
    first = choices.bernoulli(p.expand(1, 50))
    choices.bernoulli(p.expand(1, 50))
    twin = Twinned(noting.noise, 0.1)
    relaxed = Choices(Lineages.of_events(1, 50, 1), twin).bernoulli(p.detach().expand(1, 50))
    assert twin.shared and torch.equal((relaxed > 0.5).float(), first)
    assert torch.autograd.grad(relaxed.sum(), p)[0] != 0


def test_noting_records_like_recording_for_coins():
    p = torch.tensor(0.4, requires_grad=True)
    totals = []
    for recording in (Recording(50), Noting(Recording(50))):
        Choices(Lineages.of_events(1, 50, 1), recording).bernoulli(p.expand(1, 50))
        inner = recording.recording if isinstance(recording, Noting) else recording
        totals.append(inner.log_probability(p))
    assert torch.equal(*totals)
